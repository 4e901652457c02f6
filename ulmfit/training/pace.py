"""How fast a Learner trains on this machine, measured on a few real steps of which nothing is kept.

In: a Learner. Out: seconds a token, when all of it learns and when only its top does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from fastai.callback.core import Callback, CancelFitException

from ulmfit.inference.language_model import LanguageModel
from ulmfit.models.arch import ArchConfig
from ulmfit.models.artefact import LanguageModelParts
from ulmfit.models.manifest import Fingerprints, LanguageModelManifest, Provenance, arch_fingerprint
from ulmfit.models.parts import TextPipeline
from ulmfit.text.corpus import Corpus
from ulmfit.training.alone import alone
from ulmfit.training.callbacks import FollowPhases
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.classifier_learner import ClassifierLearner, classifier_learner
from ulmfit.training.config import FinetuneConfig, PretrainConfig
from ulmfit.training.learner import StageLearner
from ulmfit.training.lm_learner import LMLearner, Start, lm_learner
from ulmfit.training.schedules import Phase

SECONDS = 1.5  # of measuring, for each way to freeze
SLOW = 3.0  # seconds of a first step after which warming up is not what takes them
FORWARD = 1 / 3  # of a step's work: the backward pass does twice as much


@dataclass(frozen=True)
class Pace:
    """Seconds a token."""

    whole: float
    """While all layers learn."""
    top: float
    """While only the top layer group does."""
    reading: float
    """Without learning."""

    def learning(self, phase: Phase, n_groups: int) -> float:
        """In a phase: between the two, by the layer groups down to which the gradient flows."""
        deepest = phase.is_trainable(n_groups)[::-1]
        depth = max(place for place, learns in enumerate(deepest) if learns)
        return self.top + (self.whole - self.top) * depth / max(1, n_groups - 1)


def lm_pace(
    corpus: Corpus, config: PretrainConfig | FinetuneConfig, *, lm: LanguageModel | None = None
) -> Pace:
    """Measure a language model's training, of one direction, with random weights in its sizes."""
    with alone():
        return _pace(lm_like(corpus, config, lm=lm))


def classifier_pace(corpus: Corpus, config: ClassifierConfig, *, arch: ArchConfig) -> Pace:
    """Measure a classifier's training, of one direction, on an encoder of random weights."""
    with alone():
        return _pace(classifier_like(corpus, config, arch=arch))


def lm_like(
    corpus: Corpus, config: PretrainConfig | FinetuneConfig, *, lm: LanguageModel | None
) -> LMLearner:
    """Build a forward language model of these sizes with random weights: a pace depends on nothing else."""
    if isinstance(config, PretrainConfig):
        arch = config.arch
    else:
        arch = config.regularised(ArchConfig() if lm is None else lm.parts.arch)
    return lm_learner(corpus, Start(arch), config=replace(config, direction="forward"))


def classifier_like(
    corpus: Corpus, config: ClassifierConfig, *, arch: ArchConfig
) -> ClassifierLearner:
    """Build a forward classifier on an encoder of these sizes with random weights."""
    own = replace(config, direction="forward", from_scratch=True, n_labels=None, few_labels=None)
    return classifier_learner(corpus, _sizes(corpus, arch), config=own)


def _sizes(corpus: Corpus, arch: ArchConfig) -> LanguageModelParts:
    """Stand in for a language model of which only the sizes count."""
    text = TextPipeline.of(corpus)
    prints = Fingerprints(corpus.vocab.fingerprint, text.fingerprint, arch_fingerprint(arch), "")
    made = Provenance("a measurement")
    manifest = LanguageModelManifest(arch, len(corpus.vocab), made, prints, files={}, versions={})
    return LanguageModelParts(corpus.folder, manifest, corpus.vocab, text, {})


def _pace(learn: StageLearner) -> Pace:
    """Measure both ways to freeze, if the schedule freezes at all."""
    n_groups, phases = len(learn.model.layer_groups()), learn.phases()
    whole = _measured(learn, replace(phases[-1], epochs=1, n_unfrozen=None, only=None))
    reading = whole * FORWARD
    if all(all(phase.is_trainable(n_groups)) for phase in phases):
        return Pace(whole, whole, reading)
    top = _measured(learn, replace(phases[0], epochs=1, n_unfrozen=1, only=None))
    return Pace(whole, top, reading)


def _measured(learn: StageLearner, phase: Phase) -> float:
    clock = _Clock()
    learn.dls.train.epoch = learn.dls.train.epoch  # a pass that was broken off begins again
    follow = FollowPhases(
        [phase], accumulate=learn.config.accumulate, first_epoch=learn.dls.train.epoch
    )
    with learn.no_bar(), learn.no_logging(), learn.threads():
        learn.fit(1, cbs=[follow, clock])
    return seconds_a_token(clock.steps)


class _Clock(Callback):
    """Take the time of training steps, and end when it is known well enough."""

    learn: Any

    order, run_valid = 80, False

    def __init__(self) -> None:
        self.steps: list[tuple[float, int]] = []
        self._began_at = 0.0

    def before_train(self) -> None:
        """Start the clock."""
        self._began_at = now()

    def after_batch(self) -> None:
        """Note a step, and see whether it was the last one that is needed."""
        time_now = now()
        self.steps.append((time_now - self._began_at, self.learn.n_tokens()))
        self._began_at = time_now
        if is_enough(self.steps):
            raise CancelFitException

    def before_validate(self) -> None:
        """Leave the measurement out: the whole epoch was shorter than the time to measure."""
        raise CancelFitException


def now() -> float:
    """Tell the time, in seconds, once the GPU has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def is_enough(steps: Sequence[tuple[float, int]]) -> bool:
    """Say whether steps, each with its seconds and its tokens, tell the pace well enough."""
    return steps[0][0] > SLOW or sum(seconds for seconds, _ in steps[1:]) > SECONDS


def seconds_a_token(steps: Sequence[tuple[float, int]]) -> float:
    """Divide the time by the tokens, without the first step, which warms up, where there are more."""
    counted = steps[1:] or steps
    return sum(seconds for seconds, _ in counted) / max(1, sum(tokens for _, tokens in counted))
