"""What an experiment will take, before it starts: a few real steps are measured, and multiplied by the tokens to read.

In: the planned runs and the prepared corpus. Out: an `Estimate`, with what it stands on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ulmfit.files import MANIFEST
from ulmfit.inference.pair import LanguageModelPair, Source
from ulmfit.models.arch import ArchConfig
from ulmfit.progress import duration
from ulmfit.reproduction.begun import directions_of, share_done
from ulmfit.reproduction.plan import Planned, Training, trainings
from ulmfit.stages.direction import resolve_direction
from ulmfit.text.corpus import Corpus
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.config import FinetuneConfig, PretrainConfig, StageConfig
from ulmfit.training.lesson import SURE, Lesson, asked
from ulmfit.training.memory import peak_gpu_mb, peak_mb
from ulmfit.training.pace import Pace, classifier_pace, lm_pace
from ulmfit.training.side_by_side import as_a_worker, is_worth_it

STAGES = ("pretrain_lm", "finetune_lm", "carry_over", "train_classifier")


@dataclass(frozen=True)
class StageEstimate:
    """What the trainings of one stage that are left will take."""

    stage: str
    n_trainings: int
    n_done: int
    """Of them finished."""
    tokens: float
    """Still to read, all epochs together; what a training has learnt that was interrupted is not read again."""
    seconds: float

    def __str__(self) -> str:
        name = self.stage.replace("_", "-")
        head = f"{name}: {self.n_trainings} training{'s' * (self.n_trainings > 1)}"
        done = f", {self.n_done} finished" if self.n_done else ""
        if not self.seconds:
            return f"{head}{done}"
        pace = f"{self.tokens / 1e6:,.2f} M tokens at {self.tokens / self.seconds:,.0f} tokens/s"
        return f"{head}{done}, about {duration(self.seconds)} ({pace})"


@dataclass(frozen=True)
class Estimate:
    """Time and memory of an experiment."""

    n_runs: int
    stages: tuple[StageEstimate, ...]
    answer_seconds: float
    """For the documents to be answered, all runs together."""
    memory_mb: float
    """The peak of this process while it measured, twice if two directions train at the same time, and without what a linear part needs for the seconds in which it learns; not a number where the system does not tell."""
    gpu_mb: float
    """The same on the GPU, if there is one."""

    @property
    def seconds(self) -> float:
        """All that is left."""
        return sum(stage.seconds for stage in self.stages) + self.answer_seconds

    def __str__(self) -> str:
        head = f"to do: {self.n_runs} run{'s' * (self.n_runs != 1)}"
        answers = f"answers: about {duration(self.answer_seconds)}"
        sizes = {"": self.memory_mb, " on the GPU": self.gpu_mb}
        known = (f", {mb:,.0f} MB of memory{where}" for where, mb in sizes.items() if mb > 0)
        total = f"about {duration(self.seconds)} in all{''.join(known)}"
        basis = (
            "an estimate from a few steps on this machine as busy as it is now; baselines, early stopping "
            "and reading the texts are not in it"
        )
        return "\n".join([head, *map(str, self.stages), answers, f"{total}: {basis}"])


def estimate(
    planned: Sequence[Planned],
    out: Path,
    *,
    corpus: Corpus,
    lm: Source | None,
    split: str,
    restart: bool = False,
) -> Estimate:
    """Measure the pace of each stage that has something left to do, and add up; `restart` leaves all to do."""
    every, archs = trainings(planned), archs_of(planned, lm)
    gauge = _Gauge(corpus, lm, archs)
    is_done = {t: not restart and (out / t.folder / MANIFEST).is_file() for t in every}
    numbers = Counter(t.stage for t in every)
    rows = []
    for stage in (name for name in STAGES if numbers[name]):
        left = [t for t in every if t.stage == stage and not is_done[t]]
        costs = [gauge.cost(t, None if restart else out / t.folder) for t in left]
        tokens, seconds = (sum(column) for column in zip(*costs)) if costs else (0.0, 0.0)
        rows.append(
            StageEstimate(stage, numbers[stage], numbers[stage] - len(left), tokens, seconds)
        )
    unanswered = [p for p in planned if not is_done[p.classifier]]
    answers = sum(gauge.answers(p.classifier, split) for p in unanswered)
    n_processes = max(gauge.n_processes(t.config) for t in every)
    return Estimate(len(unanswered), tuple(rows), answers, n_processes * peak_mb(), peak_gpu_mb())


def of_stage1(training: Training, out: Path, *, corpus: Corpus) -> StageEstimate:
    """Measure the pace of a stage 1 by itself."""
    assert isinstance(training.config, PretrainConfig)
    gauge = _Gauge(corpus, None, {training: training.config.arch})
    return StageEstimate(training.stage, 1, 0, *gauge.cost(training, out / training.folder))


def archs_of(planned: Sequence[Planned], lm: Source | None) -> dict[Training, ArchConfig]:
    """Find the sizes of each training: those that its run's stage 1 makes, or of the language model given."""
    given = (lm.forward if isinstance(lm, LanguageModelPair) else lm) if lm is not None else None
    found: dict[Training, ArchConfig] = {}
    for each in planned:
        if each.lm is not None and isinstance(each.lm.config, PretrainConfig):
            arch = each.lm.config.arch
        else:
            assert given is not None
            arch = given.parts.arch
        found |= {training: arch for training in (each.lm, each.classifier) if training}
    return found


PaceKey = tuple[str, ArchConfig, bool]


def pace_key(training: Training, arch: ArchConfig) -> PaceKey:
    """Name what a pace depends on: the stage, the sizes, and whether layers are frozen for a while."""
    config = training.config
    n_groups = config.n_groups(arch)
    freezes = not all(all(p.is_trainable(n_groups)) for p in config.phases(n_groups))
    return type(config).__name__, arch, freezes


class _Gauge:
    """The pace of each stage, measured once and when it is first asked for."""

    def __init__(
        self, corpus: Corpus, lm: Source | None, archs: Mapping[Training, ArchConfig]
    ) -> None:
        self.corpus, self.archs = corpus, archs
        self.is_both = lm is not None and resolve_direction(lm, "auto") == "both"
        self.lm = lm.forward if isinstance(lm, LanguageModelPair) else lm
        self._paces: dict[PaceKey, Pace] = {}

    def cost(self, training: Training, out: Path | None) -> tuple[float, float]:
        """Give the tokens and the seconds that a training will still take, whose result will be `out`, or begins anew."""
        config = training.config
        if training.stage == "carry_over":
            return 0.0, 0.0
        pace, tokens = self._pace(training), 0.0
        n_groups = config.n_groups(self.archs[training])
        learnt, measured, n_batches = self._rows(config, n_groups)
        phases, seconds = config.phases(n_groups), 0.0
        for phase in phases:
            tokens += phase.epochs * learnt
            seconds += phase.epochs * (
                learnt * pace.learning(phase, n_groups) + measured * pace.reading
            )
        n_directions = self._directions(config)
        n_epochs = sum(phase.epochs for phase in phases)
        left = [1.0] * n_directions
        if out is not None:
            folders = directions_of(out) if n_directions == 2 else [out]
            left = [1 - share_done(f, n_batches=n_batches, n_epochs=n_epochs) for f in folders]
        together = max if self.n_processes(config) == 2 else sum
        return sum(left) * tokens, seconds * together(left)

    def answers(self, training: Training, split: str) -> float:
        """Give the seconds that a classifier takes to answer."""
        config = training.config
        assert isinstance(config, ClassifierConfig)
        tokens = n_tokens(self.corpus, self.corpus.rows(split))
        if not tokens:
            tokens = n_tokens(self.corpus, config.rows(self.corpus).valid)
        return tokens * self._pace(training).reading * self._directions(config)

    def _pace(self, training: Training) -> Pace:
        key = pace_key(training, self.archs[training])
        if key not in self._paces:
            self._paces[key] = self._measured(training)
        return self._paces[key]

    def n_processes(self, config: StageConfig) -> int:
        """Count the directions that train at the same time."""
        return self._directions(config) if is_worth_it(self.corpus) else 1

    def _measured(self, training: Training) -> Pace:
        with as_a_worker() if self.n_processes(training.config) == 2 else nullcontext():
            return self._pace_of(training)

    def _pace_of(self, training: Training) -> Pace:
        config = training.config
        if isinstance(config, ClassifierConfig):
            return classifier_pace(self.corpus, config, arch=self.archs[training])
        assert isinstance(config, (PretrainConfig, FinetuneConfig))
        return lm_pace(self.corpus, config, lm=self.lm)

    def _rows(self, config: StageConfig, n_groups: int) -> tuple[float, float, int]:
        """Count the tokens that an epoch learns from, those it is measured on, and its batches."""
        rows, size = config.rows(self.corpus), config.epoch_size()
        if isinstance(config, ClassifierConfig):
            pool = asked(self.corpus, rows, config)
            any_sure = pool[: round(SURE * len(pool))]  # which they will be is not known yet
            lesson = Lesson(any_sure, any_sure)
            size = lesson.epoch_size(self.corpus, config, rows, n_groups=n_groups)
            rows = lesson.added_to(rows)
        learnt, measured = n_tokens(self.corpus, rows.train), n_tokens(self.corpus, rows.valid)
        n_whole = (
            -(-len(rows.train) // config.bs)
            if isinstance(config, ClassifierConfig)
            else -(-learnt // (config.bs * config.seq_len))
        )
        most = size.most(n_whole)
        n_batches = n_whole if most is None else most
        return learnt * n_batches / max(1, n_whole), measured, n_batches

    def _directions(self, config: StageConfig) -> int:
        is_both = self.is_both if config.direction == "auto" else config.direction == "both"
        return 2 if is_both else 1


def n_tokens(corpus: Corpus, rows: np.ndarray) -> int:
    """Count the tokens of some documents."""
    return int((corpus.offsets[rows + 1] - corpus.offsets[rows]).sum())
