"""The flags of the three stages, and of `recipe`. The fields of the stages' configs are flags, too."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ulmfit.config import require
from ulmfit.errors import UserError
from ulmfit.flags import Positional, Positionals, Switch
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.config import FinetuneConfig, PretrainConfig, StageConfig
from ulmfit.training.presets import (
    CLASSIFIER_PRESETS,
    FINETUNE_PRESETS,
    PRETRAIN_PRESETS,
    stage_preset,
)


@dataclass(frozen=True)
class StageFlags:
    """What every stage can be told beside its config."""

    out: Path | None = None
    """The folder to write. The same command again goes on where an interrupted one stopped."""
    preset: str = "laptop"
    """Where the flags below get their defaults from: paper, paper-code, fastai-v1, fastbook, multifit, laptop or tiny."""
    restart: Switch = False
    """Begin anew: forget an interrupted run, replace a finished model of other settings."""
    max_minutes: float | None = None
    """Stop after so many minutes; the same command again goes on."""
    threads: int = 0
    """Threads for the large matrix products; 0 leaves the choice to torch."""
    json: Switch = False
    """Print the manifest as JSON on stdout."""
    config: StageConfig = field(default_factory=StageConfig)

    stage: ClassVar[str]

    def __post_init__(self) -> None:
        require(self.threads >= 0, "threads", self.threads, "0 or more")
        minutes = self.max_minutes
        require(minutes is None or minutes > 0, "max_minutes", minutes, "above 0")
        begun = stage_preset(self.stage, self.preset)
        ours = self.config
        if ours.factor != begun.factor and ours.group_factors == begun.group_factors != ():
            raise UserError(
                f"--factor has no effect beside the --group-factors of preset {self.preset}: "
                f"add --group-factors none"
            )

    @classmethod
    def of_preset(cls, name: str) -> StageFlags:
        """Give the defaults that a preset stands for."""
        return cls(preset=name, config=stage_preset(cls.stage, name))

    def folder(self, *inputs: str) -> Path:
        """Return where to write, which must be said and must not be what is read."""
        verb = self.stage.replace("_", "-")
        if self.out is None:
            raise UserError(f"{verb}: no --out: name the folder to write, such as --out runs/lm")
        if self.out.resolve() in [Path(path).resolve() for path in inputs]:
            raise UserError(f"{verb}: --out {self.out} is what is read: choose another folder")
        return self.out


@dataclass(frozen=True)
class PretrainFlags(StageFlags):
    """Train a language model from random weights on the text of a corpus, and write its folder."""

    corpus: Positional = ""
    """The folder of a corpus (see `ulmfit prepare`). It comes before the flags."""
    config: PretrainConfig = PRETRAIN_PRESETS["laptop"]

    stage: ClassVar[str] = "pretrain_lm"


@dataclass(frozen=True)
class FinetuneFlags(StageFlags):
    """Let a pretrained language model go on learning, on the text of a corpus, and write its folder."""

    lm: Positional = ""
    """The folder of a language model, or the name of a pretrained one: en, wt103-fwd or wt103-bwd."""
    corpus: Positional = ""
    """The folder of a corpus (see `ulmfit prepare`). Both come before the flags."""
    config: FinetuneConfig = FINETUNE_PRESETS["laptop"]

    stage: ClassVar[str] = "finetune_lm"


@dataclass(frozen=True)
class ClassifierFlags(StageFlags):
    """Turn the encoder of a fine-tuned language model into a classifier of a corpus's labels, and write its folder."""

    lm: Positional = ""
    """The folder of a language model that was fine-tuned on the corpus."""
    corpus: Positional = ""
    """The folder of a corpus with labels (see `ulmfit prepare`). Both come before the flags."""
    config: ClassifierConfig = CLASSIFIER_PRESETS["laptop"]

    stage: ClassVar[str] = "train_classifier"


@dataclass(frozen=True)
class RecipeFlags:
    """Show what a preset sets, or in what presets differ: `recipe show laptop`, `recipe diff paper fastbook`."""

    action: Positional = ""
    """show or diff."""
    presets: Positionals = ()
    """One preset to show, two to compare."""
    json: Switch = False
    """Print the result as JSON on stdout."""
