"""The stages by name. A new one is a line here, and its values in `STAGE_PRESETS` of training/presets.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ulmfit.stages.finetune_lm import finetune_lm
from ulmfit.stages.pretrain_lm import pretrain_lm
from ulmfit.stages.train_classifier import train_classifier
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.config import FinetuneConfig, PretrainConfig, StageConfig


@dataclass(frozen=True)
class Stage:
    """A function that makes an artefact of a corpus, and its config."""

    run: Callable[..., Any]
    config: type[StageConfig]
    needs_lm: bool = True
    """It begins from a language model, its first argument."""


STAGES = {
    "pretrain_lm": Stage(pretrain_lm, PretrainConfig, needs_lm=False),
    "finetune_lm": Stage(finetune_lm, FinetuneConfig),
    "train_classifier": Stage(train_classifier, ClassifierConfig),
}
