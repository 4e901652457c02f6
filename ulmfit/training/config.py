"""Every knob of the language model's two stages, and what stage 3 shares with them, as frozen dataclasses.

The defaults are the paper's; where it says nothing, its authors' scripts. The string under a field
is its help text and its source. Published sets of values are in presets.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from ulmfit.config import require
from ulmfit.errors import UserError
from ulmfit.files import field_types, fits
from ulmfit.models.arch import DROPOUTS, ArchConfig
from ulmfit.text.epochs import EpochSize
from ulmfit.training.schedules import (
    SCHEDULES,
    SHAPES,
    Momenta,
    Phase,
    Plan,
    Shape,
)

if TYPE_CHECKING:
    from ulmfit.text.corpus import Corpus
    from ulmfit.text.holdout import Rows

DIRECTIONS = ("forward", "backward", "both")
PRECISIONS = ("auto", "fp32", "bf16")
_MOMS = "three numbers, at least 0 and below 1"
PROTOCOLS = ("clean", "transductive", "as_published")  # each one sees more than the one before


def least_clean(*protocols: str) -> str:
    """Choose, among protocols, the one that has seen most of the test documents; one that is not known counts as clean."""
    return max((p for p in protocols if p in PROTOCOLS), key=PROTOCOLS.index, default="clean")


def require_config(config: object, *kinds: type[StageConfig], stage: str) -> None:
    """Refuse what is none of these kinds of configs, the last of which is the stage's own."""
    if not isinstance(config, kinds):
        raise UserError(
            f"config is a {type(config).__name__}: ulmfit.{kinds[-1].__name__}(...) or "
            f"ulmfit.training.presets.stage_preset({stage!r}, 'tiny') gives one"
        )


@dataclass(frozen=True)
class StageConfig:
    """What all stages share; the defaults are those of stage 2."""

    direction: str = "forward"
    """forward, backward (each document reversed), or both, one model each (Howard & Ruder 2018, 3.3)."""
    bs: int = 64
    """Rows of a batch (Howard & Ruder 2018, 4.1)."""
    seq_len: int = 70
    """Tokens of a row, through which the gradient flows back (Howard & Ruder 2018, 4.1)."""
    accumulate: int = 1
    """Batches whose gradients are added up before a step; more than 1 stands in for a larger bs."""
    schedule: str = "stlr"
    """stlr (slanted triangular; Howard & Ruder 2018, 3.2), clr (fastai 0.7), one_cycle (fastai 1 and 2), cosine or flat."""
    epochs: int = 25
    """Epochs with all layers learning (paper: tuned on the task; imdb_scripts/finetune_lm.py: 25)."""
    lr: float = 0.004
    """Peak learning rate of the top layer group (Howard & Ruder 2018, 4.1)."""
    factor: float = 2.6
    """Each layer group learns this many times slower than the one above (Howard & Ruder 2018, 3.2)."""
    group_factors: tuple[float, ...] = ()
    """Instead of factor: one multiple of lr for each layer group, bottom first (fastai 0.7); a language model's last is the embedding."""
    rise: float | None = None
    """Share of a phase before the peak, cut_frac or pct_start; by default the schedule's own. clr takes the nearest 1 / n."""
    div: float | None = None
    """Peak rate / first rate, the paper's ratio; by default the schedule's own."""
    div_final: float | None = None
    """Peak rate / last rate; by default the schedule's own. stlr and clr end where they began."""
    moms: Momenta | None = None
    """Adam's beta 1 at the start, the peak and the end; by default the schedule's own (Howard & Ruder 2018, 4.1: 0.7)."""
    sqr_mom: float = 0.99
    """Adam's beta 2 (Howard & Ruder 2018, 4.1)."""
    eps: float = 1e-8
    """Adam's epsilon (torch, as in the authors' scripts; fastai 2.8: 1e-5)."""
    wd: float = 1e-7
    """Weight decay (imdb_scripts/finetune_lm.py; the paper says nothing)."""
    decoupled_wd: bool = False
    """Shrink the weights themselves (Loshchilov & Hutter 2019; fastai 1 and 2), not by the gradient (L2; fastai 0.7)."""
    clip: float | None = 0.3
    """Largest norm of the gradient; None for no limit (imdb_scripts/finetune_lm.py)."""
    label_smoothing: float = 0.0
    """Share of the truth spread evenly over the vocabulary, in stage 3 over the labels."""
    activation_reg: float = 2.0
    """Weight of the penalty on large activations, AR's alpha (Merity et al. 2018; all of fastai)."""
    temporal_reg: float = 1.0
    """Weight of the penalty on jumps between steps, TAR's beta (Merity et al. 2018; all of fastai)."""
    patience: int | None = None
    """Epochs in a row that may be no better before training stops and goes back to the best; None trains them all (paper)."""
    precision: str = "auto"
    """auto (bf16 where the processor multiplies it natively), fp32 or bf16."""
    protocol: str = "clean"
    """clean (test documents are never read), transductive (their text is learnt from, as in the paper) or as_published (their labels choose the classifier as well, as in fastai's notebooks: no clean test result)."""
    valid_share: float = 0.1
    """Share of the documents held out to measure on, where the corpus has no valid split (imdb_scripts/create_toks.py)."""
    max_valid: int | None = None
    """Documents held out at most, however many their share would be; None for no limit."""
    min_batches: int | None = None
    """Batches of an epoch at least: texts too few for them are read again and again; None reads each once."""
    max_batches: int | None = None
    """Batches of an epoch at most: of more text each epoch reads another random part; None reads everything."""
    seed: int = 0
    """Seed of weights, batches, dropout and of the documents held out."""

    def __post_init__(self) -> None:
        self._check_types()
        for name, allowed in {
            "direction": self.directions(),
            "schedule": self.schedules(),
            "precision": PRECISIONS,
            "protocol": PROTOCOLS,
        }.items():
            value = getattr(self, name)
            require(value in allowed, name, value, ", ".join(allowed))
        for name in ("bs", "accumulate", "epochs"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        require(self.seq_len >= 2, "seq_len", self.seq_len, "2 or more")
        for name in ("lr", "eps"):
            value = getattr(self, name)
            require(0 < value < math.inf, name, value, "above 0 and finite")
        for name in ("wd", "activation_reg", "temporal_reg", "seed"):
            value = getattr(self, name)
            require(0 <= value < math.inf, name, value, "0 or more")
        for name in ("sqr_mom", "label_smoothing"):
            value = getattr(self, name)
            require(0 <= value < 1, name, value, "at least 0 and below 1")
        require(0 < self.valid_share < 1, "valid_share", self.valid_share, "above 0 and below 1")
        require(self.clip is None or self.clip > 0, "clip", self.clip, "above 0")
        require(self.patience is None or self.patience >= 0, "patience", self.patience, "0 or more")
        for name in ("max_valid", "min_batches", "max_batches"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "1 or more")
        least, most = self.min_batches or 1, self.max_batches
        require(
            most is None or least <= most, "max_batches", most, f"{least} (--min-batches) or more"
        )
        self._check_rates()

    def _check_types(self) -> None:
        """Refuse values of another type than their field's; numpy's numbers become Python's, as JSON needs them."""
        hints = field_types(type(self))
        for f in fields(self):
            value = getattr(self, f.name)
            if getattr(value, "ndim", None) == 0:
                value = value.item()
                object.__setattr__(self, f.name, value)
            allowed = _MOMS if f.name == "moms" else f"values of the type {f.type}"
            require(fits(value, hints[f.name]), f.name, value, allowed)

    def _check_rates(self) -> None:
        require(self.factor >= 1, "factor", self.factor, "1 or more")
        multiples = self.group_factors
        require(all(m > 0 for m in multiples), "group_factors", multiples, "numbers above 0")
        # The curves that rise in a line must rise for a while.
        lowest = 0.0 if self.curve() not in ("stlr", "clr") else 1e-3
        rise = self.shape().rise
        require(lowest <= rise < 1, "rise", rise, f"at least {lowest:g} and below 1")
        for name in ("div", "div_final"):
            value = getattr(self.shape(), name)
            require(value >= 1, name, value, "1 or more")
        moms = self.shape().moms
        is_triple = len(moms) == 3 and all(0 <= m < 1 for m in moms)
        require(is_triple, "moms", moms, _MOMS)

    @staticmethod
    def directions() -> tuple[str, ...]:
        """List what `direction` may be."""
        return DIRECTIONS

    @staticmethod
    def schedules() -> tuple[str, ...]:
        """List what `schedule` may be."""
        return tuple(SCHEDULES)

    def curve(self) -> str:
        """Name the curve that the rates follow."""
        return self.schedule

    def shape(self) -> Shape:
        """Complete what is given of the curve's shape with the schedule's own."""
        given = {n: getattr(self, n) for n in ("rise", "div", "div_final", "moms")}
        return replace(SHAPES[self.curve()], **{n: v for n, v in given.items() if v is not None})

    def rows(self, corpus: Corpus) -> Rows:
        """Divide the documents of a corpus as these settings say."""
        return self._lm_rows(corpus)

    def _lm_rows(self, corpus: Corpus, n_labels: int | None = None) -> Rows:
        from ulmfit.text.holdout import lm_rows  # numpy: a config alone needs none

        return lm_rows(
            corpus,
            share=self.valid_share,
            seed=self.seed,
            max_valid=self.max_valid,
            n_labels=n_labels,
            protocol=self.protocol,
        )

    def epoch_size(self) -> EpochSize:
        """Say how many batches an epoch has."""
        return EpochSize(self.min_batches, self.max_batches)

    def plan(self) -> Plan:
        """Gather what a schedule needs."""
        return Plan(
            self.epochs,
            self.lr,
            factor=self.factor,
            group_factors=self.group_factors,
            shape=self.shape(),
        )

    def n_groups(self, lm: ArchConfig) -> int:
        """Count the layer groups on top of a language model's sizes: its layers, and the decoder."""
        return lm.n_layers + 1

    def phases(self, n_groups: int) -> tuple[Phase, ...]:
        """Lay out the training of a model with so many layer groups."""
        return SCHEDULES[self.schedule](replace(self.plan(), n_groups=n_groups))


@dataclass(frozen=True)
class PretrainConfig(StageConfig):
    """Stage 1: a language model from random weights, on general text. The paper gives only its sizes."""

    jitter: bool = True
    """Vary seq_len from batch to batch (Merity et al. 2018, 4.1; fastai 0.7). fastai 1 and 2 do not."""
    epochs: int = 12
    """Epochs (imdb_scripts/README.md, its example command)."""
    lr: float = 0.001
    """Peak learning rate (imdb_scripts/README.md, its example command)."""
    factor: float = 1.0
    """Each layer group learns this many times slower than the one above; random weights need no protection."""
    arch: ArchConfig = field(default_factory=lambda: ArchConfig(n_hid=1150, drop_mult=0.5))
    """The model: sizes of the paper, 4.1; dropouts of imdb_scripts/old/pretrain_lm.py."""


@dataclass(frozen=True)
class FinetuneConfig(StageConfig):
    """Stage 2: a pretrained language model goes on learning, on the text of the task."""

    direction: str = "auto"
    """auto: that of the language model that is given, of `en` the forward one; forward, backward or both to insist on it."""
    jitter: bool = True
    """Vary seq_len from batch to batch (Merity et al. 2018, 4.1; fastai 0.7). fastai 1 and 2 do not."""
    frozen_epochs: int = 0
    """Epochs before all others in which only the embedding and the decoder learn (paper: none; fastai 1 and 2: 1)."""
    frozen_lr: float = 0.02
    """Peak learning rate of those epochs (fastbook, chapter 10)."""
    input_p: float = 0.25
    """Dropout of the embedded text (imdb_scripts/finetune_lm.py, like the four below)."""
    output_p: float = 0.1
    """Dropout of the last layer before the decoder."""
    hidden_p: float = 0.15
    """Dropout between layers."""
    embed_p: float = 0.02
    """Share of the vocabulary whose embedding is dropped from a batch."""
    weight_p: float = 0.2
    """Dropout of the recurrent weights."""
    drop_mult: float = 1.0
    """Factor of all five dropouts; smaller where there is more text."""
    n_labels: int | None = None
    """Read only so many labelled documents, those that stage 3 draws with the same seed; None for all texts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.frozen_epochs >= 0, "frozen_epochs", self.frozen_epochs, "0 or more")
        require(self.frozen_lr > 0, "frozen_lr", self.frozen_lr, "above 0")
        require(self.n_labels is None or self.n_labels >= 2, "n_labels", self.n_labels, "2 or more")
        self.regularised(ArchConfig())

    @staticmethod
    def directions() -> tuple[str, ...]:
        """List what `direction` may be."""
        return ("auto", *DIRECTIONS)

    def rows(self, corpus: Corpus) -> Rows:
        """Divide the documents of a corpus as these settings say."""
        return self._lm_rows(corpus, self.n_labels)

    def regularised(self, arch: ArchConfig) -> ArchConfig:
        """Give the pretrained model's architecture the dropouts of this stage."""
        names = (*DROPOUTS, "drop_mult")
        return replace(arch, **{name: getattr(self, name) for name in names})

    def plan(self) -> Plan:
        """Gather what a schedule needs, the epochs with a frozen encoder included."""
        plan = super().plan()
        return replace(plan, frozen_epochs=self.frozen_epochs, frozen_lr=self.frozen_lr)
