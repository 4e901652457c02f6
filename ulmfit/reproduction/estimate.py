"""What an experiment will take, before it starts: a few real steps are measured, and multiplied by the tokens to read.

In: the planned runs and the prepared corpus. Out: an `Estimate`, with what it stands on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ulmfit.files import MANIFEST
from ulmfit.inference.pair import LanguageModelPair, Source
from ulmfit.models.arch import ArchConfig
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
        head = f"to do: {self.n_runs} run{'s' * (self.n_runs > 1)}"
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
    planned: Sequence[Planned], out: Path, *, corpus: Corpus, lm: Source | None, split: str
) -> Estimate:
    """Measure the pace of each stage that has something left to do, and add up."""
    every = trainings(planned)
    gauge = _Gauge(corpus, lm, arch_of(every, lm))
    is_done = {t: (out / t.folder / MANIFEST).is_file() for t in every}
    numbers = Counter(t.stage for t in every)
    rows = []
    for stage in (name for name in STAGES if numbers[name]):
        left = [t for t in every if t.stage == stage and not is_done[t]]
        costs = [gauge.cost(t, out / t.folder) for t in left]
        tokens, seconds = (sum(column) for column in zip(*costs)) if costs else (0.0, 0.0)
        rows.append(
            StageEstimate(stage, numbers[stage], numbers[stage] - len(left), tokens, seconds)
        )
    unanswered = [p for p in planned if not is_done[p.classifier]]
    answers = sum(gauge.answers(p.classifier, split) for p in unanswered)
    n_processes = max(gauge.n_processes(t.config) for t in every)
    return Estimate(len(planned), tuple(rows), answers, n_processes * peak_mb(), peak_gpu_mb())


def of_stage1(training: Training, out: Path, *, corpus: Corpus) -> StageEstimate:
    """Measure the pace of a stage 1 by itself."""
    gauge = _Gauge(corpus, None, arch_of([training], None))
    return StageEstimate(training.stage, 1, 0, *gauge.cost(training, out / training.folder))


def arch_of(every: Sequence[Training], lm: Source | None) -> ArchConfig:
    """Find the sizes of the encoder: those of the language model given, or that stage 1 makes."""
    if lm is not None:
        return (lm.forward if isinstance(lm, LanguageModelPair) else lm).parts.arch
    return next(t.config.arch for t in every if isinstance(t.config, PretrainConfig))


class _Gauge:
    """The pace of each stage, measured once and when it is first asked for."""

    def __init__(self, corpus: Corpus, lm: Source | None, arch: ArchConfig) -> None:
        self.corpus, self.arch = corpus, arch
        self.is_both = lm is not None and resolve_direction(lm, "auto") == "both"
        self.lm = lm.forward if isinstance(lm, LanguageModelPair) else lm
        self._paces: dict[str, Pace] = {}

    def cost(self, training: Training, out: Path) -> tuple[float, float]:
        """Give the tokens and the seconds that a training will still take, whose result will be `out`."""
        config = training.config
        if training.stage == "carry_over":
            return 0.0, 0.0
        pace, tokens = self._pace(config), 0.0
        learnt, measured, n_batches = self._rows(config)
        n_groups = config.n_groups(self.arch)
        phases, seconds = config.phases(n_groups), 0.0
        for phase in phases:
            tokens += phase.epochs * learnt
            seconds += phase.epochs * (
                learnt * pace.learning(phase, n_groups) + measured * pace.reading
            )
        n_directions = self._directions(config)
        folders = directions_of(out) if n_directions == 2 else [out]
        n_epochs = sum(phase.epochs for phase in phases)
        left = [
            1 - share_done(folder, n_batches=n_batches, n_epochs=n_epochs) for folder in folders
        ]
        together = max if self.n_processes(config) == 2 else sum
        return sum(left) * tokens, seconds * together(left)

    def answers(self, training: Training, split: str) -> float:
        """Give the seconds that a classifier takes to answer."""
        config = training.config
        assert isinstance(config, ClassifierConfig)
        tokens = n_tokens(self.corpus, self.corpus.rows(split)) or self._rows(config)[1]
        return tokens * self._pace(config).reading * self._directions(config)

    def _pace(self, config: StageConfig) -> Pace:
        kind = type(config).__name__
        if kind not in self._paces:
            self._paces[kind] = self._measured(config)
        return self._paces[kind]

    def n_processes(self, config: StageConfig) -> int:
        """Count the directions that train at the same time."""
        return self._directions(config) if is_worth_it(self.corpus) else 1

    def _measured(self, config: StageConfig) -> Pace:
        with as_a_worker() if self.n_processes(config) == 2 else nullcontext():
            return self._pace_of(config)

    def _pace_of(self, config: StageConfig) -> Pace:
        if isinstance(config, ClassifierConfig):
            return classifier_pace(self.corpus, config, arch=self.arch)
        assert isinstance(config, (PretrainConfig, FinetuneConfig))
        return lm_pace(self.corpus, config, lm=self.lm)

    def _rows(self, config: StageConfig) -> tuple[float, float, int]:
        """Count the tokens that an epoch learns from, those it is measured on, and its batches."""
        rows, size = config.rows(self.corpus), config.epoch_size()
        if isinstance(config, ClassifierConfig):
            pool = asked(self.corpus, rows, config)
            any_sure = pool[: round(SURE * len(pool))]  # which they will be is not known yet
            lesson = Lesson(any_sure, any_sure)
            size = lesson.epoch_size(self.corpus, config, rows, n_groups=config.n_groups(self.arch))
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


def duration(seconds: float) -> str:
    """Write a time as a person would say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
