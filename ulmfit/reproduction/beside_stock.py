"""Where the time of an experiment went, and beside it what stock fastai would need for the same tokens.

In: finished trainings with their histories. Out: a row a stage; stock's seconds are a measured pace times the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ulmfit.errors import UserError
from ulmfit.history import EpochRow, read_history
from ulmfit.inference.pair import LanguageModelPair, Source
from ulmfit.models.arch import ArchConfig
from ulmfit.reproduction.estimate import STAGES, PaceKey, archs_of, n_tokens, pace_key
from ulmfit.reproduction.plan import Planned, Training, trainings
from ulmfit.reproduction.results import Result
from ulmfit.text.corpus import Corpus
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.config import FinetuneConfig, PretrainConfig
from ulmfit.training.pace import Pace
from ulmfit.training.side_by_side import is_worth_it
from ulmfit.training.stock import stock_classifier_pace, stock_lm_pace


@dataclass(frozen=True)
class StageTime:
    """What one stage took, all its trainings together."""

    stage: str
    """With "answers" for the finished classifiers'."""
    tokens: int
    """Of both directions, if there are two."""
    seconds: float
    """Ours; directions that were trained at the same time count once."""
    stock_seconds: float
    """What fastai's model, loss and optimiser would take for as many, one direction after the other."""


def require_stock(arch: ArchConfig) -> None:
    """Refuse what stock fastai has no counterpart for, before the trainings take their time."""
    if arch.backbone != "awd_lstm":
        raise UserError(f"--stock measures fastai's AWD-LSTM, and this language model is a {arch.backbone.upper()}: leave it out")  # fmt: skip


def beside_stock(
    planned: Sequence[Planned],
    results: Sequence[Result],
    out: Path,
    *,
    corpus: Corpus,
    lm: Source | None,
) -> tuple[StageTime, ...]:
    """Add up the tokens and seconds of each stage, and measure stock's pace on the machine as it is now."""
    every = trainings(planned)
    stock = _Stock(corpus, lm, archs_of(planned, lm))
    rows = []
    for stage in STAGES:
        of_stage = [t for t in every if t.stage == stage]
        times = [stock.training(t, out / t.folder) for t in of_stage if _histories(out / t.folder)]
        if times:
            rows.append(_sum(stage.replace("_", "-"), times))
    answers = [stock.answers(p, result) for p, result in zip(planned, results)]
    return *rows, _sum("answers", answers)


def _sum(stage: str, times: Sequence[tuple[int, float, float]]) -> StageTime:
    tokens, seconds, stock_seconds = zip(*times)
    return StageTime(stage, sum(tokens), sum(seconds), sum(stock_seconds))


def _histories(folder: Path) -> list[list[EpochRow]]:
    """Read the epochs of each direction; none where nothing was learnt."""
    return [list(read_history(path)) for path in sorted(folder.rglob("history*.csv"))]


class _Stock:
    """Stock's pace in each stage, measured when it is first asked for."""

    def __init__(
        self, corpus: Corpus, lm: Source | None, archs: Mapping[Training, ArchConfig]
    ) -> None:
        self.corpus, self.archs = corpus, archs
        self.lm = lm.forward if isinstance(lm, LanguageModelPair) else lm
        self._paces: dict[PaceKey, Pace] = {}

    def training(self, training: Training, folder: Path) -> tuple[int, float, float]:
        """Give the tokens of a training, its seconds, and stock's."""
        config, pace = training.config, self._pace(training)
        n_groups = config.n_groups(self.archs[training])
        phases, histories = config.phases(n_groups), _histories(folder)
        epochs = [row for history in histories for row in history]
        ours = [sum(row.seconds for row in history) for history in histories]
        stock = sum(row.tokens * pace.learning(phases[row.phase - 1], n_groups) for row in epochs)
        together = max if is_worth_it(self.corpus) else sum
        return sum(row.tokens for row in epochs), together(ours), stock

    def answers(self, planned: Planned, result: Result) -> tuple[int, float, float]:
        """Give the tokens of the answered documents, the seconds of the answers, and stock's."""
        config, corpus = planned.classifier.config, self.corpus
        assert isinstance(config, ClassifierConfig)
        rows = corpus.rows(result.split)
        answered = rows if len(rows) else config.rows(corpus).valid
        tokens = n_tokens(corpus, answered) * (2 if result.direction == "both" else 1)
        return tokens, result.answer_seconds, tokens * self._pace(planned.classifier).reading

    def _pace(self, training: Training) -> Pace:
        key = pace_key(training, self.archs[training])
        if key not in self._paces:
            self._paces[key] = self._measured(training)
        return self._paces[key]

    def _measured(self, training: Training) -> Pace:
        config = training.config
        if isinstance(config, ClassifierConfig):
            return stock_classifier_pace(self.corpus, config, arch=self.archs[training])
        assert isinstance(config, (PretrainConfig, FinetuneConfig))
        return stock_lm_pace(self.corpus, config, lm=self.lm)
