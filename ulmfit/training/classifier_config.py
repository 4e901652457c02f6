"""Every knob of stage 3 as a frozen dataclass. Imports nothing heavy.

The defaults are the paper's; where it says nothing, its authors' scripts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ulmfit.config import require
from ulmfit.errors import UserError
from ulmfit.models.arch import DROPOUTS, ArchConfig
from ulmfit.models.classifier_arch import ClassifierArch, PoolingConfig
from ulmfit.training.config import DIRECTIONS, StageConfig
from ulmfit.training.schedules import CLASSIFIER_SCHEDULES, Phase, Plan

if TYPE_CHECKING:
    from ulmfit.text.corpus import Corpus
    from ulmfit.text.holdout import Rows

REREAD = 10  # times that a document is read, from which on more dropout helps (docs/log.md)


@dataclass(frozen=True)
class ClassifierConfig(StageConfig):
    """Stage 3: the encoder of a fine-tuned language model becomes a classifier (Howard & Ruder 2018, 3.3)."""

    direction: str = "auto"
    """auto: that of the language model that is given, of `en` the forward one; forward, backward or both to insist on it."""
    schedule: str = "freez_discr_stlr"
    """How layer groups unfreeze, a row of the paper's table 7: full, full_discr, last, chain_thaw, freez, freez_discr, freez_stlr, freez_cos, freez_discr_stlr; or paper_code, fastai (1 and 2), one_cycle (all at once)."""
    epochs: int = 50
    """Epochs with all layers learning, after those that unfreeze (Howard & Ruder 2018, 5: 50)."""
    lr: float = 0.01
    """Peak learning rate of the head (Howard & Ruder 2018, 4.1)."""
    wd: float = 1e-6
    """Weight decay (imdb_scripts/train_clas.py)."""
    clip: float | None = 25.0
    """Largest norm of the gradient; None for no limit (imdb_scripts/train_clas.py)."""
    max_len: int | None = 1400
    """Tokens at a document's end that are pooled and learnt from; None for all (imdb_scripts/train_clas.py)."""
    input_p: float = 0.4
    """Dropout of the embedded text (Howard & Ruder 2018, 4.1, like the four below)."""
    output_p: float = 0.4
    """Dropout of the pooled vector."""
    hidden_p: float = 0.3
    """Dropout between recurrent layers."""
    embed_p: float = 0.05
    """Share of the vocabulary whose embedding is dropped from a chunk."""
    weight_p: float = 0.5
    """Dropout of the recurrent weights."""
    drop_mult: float = 1.0
    """Factor of these five dropouts."""
    reread_drop_mult: float | None = None
    """Their factor where a document is read ten times or more, all epochs together; None for the same."""
    adversarial: float = 0.0
    """Share of its length by which an embedded document is moved to where its loss grows, and learnt from once more, in twice the time (Miyato et al. 2017: some 0.016); 0: never."""
    head_p: float = 0.1
    """Dropout of the head's second block (imdb_scripts/train_clas.py)."""
    hidden_sizes: tuple[int, ...] = (50,)
    """Units of the head between pooled vector and labels (Howard & Ruder 2018, 3.3)."""
    class_weight: str = "none"
    """none, or balanced: rare labels weigh more, by the inverse of their share."""
    from_scratch: bool = False
    """Begin from random weights; only sizes and vocabulary are the language model's (table 7, from scratch)."""
    n_labels: int | None = None
    """Learn from so many labelled documents, drawn with the seed in the proportions of the labels; None for all."""
    enough_tokens: int | None = None
    """Tokens after which an epoch need not have `min_batches`: a few long documents, read again that often, are learnt by heart; None for no such limit."""
    few_labels: int | None = None
    """With fewer labelled documents to learn from, a linear teacher labels texts that have no label, and they are learnt from, too; None: never."""
    linear: float | None = None
    """How loud a linear model of n-grams (NB-SVM, learnt from the same documents) speaks beside the encoder, 1 for as loud, twice so where a teacher's lesson is learnt from or documents are long, four times where long documents have few labels; None: not at all."""

    backward_lr: float | None = None
    """Peak rate of a backward model; None for that of a forward one (imdb_scripts/old/train_clas.py halves it)."""

    def __post_init__(self) -> None:
        if self.schedule == "from_scratch":
            raise UserError("--schedule is 'from_scratch': the paper's row of this name is --schedule full --from-scratch")  # fmt: skip
        super().__post_init__()
        is_wide = self.max_len is None or self.max_len >= self.seq_len
        require(is_wide, "max_len", self.max_len, f"--seq-len ({self.seq_len}) or more, or none")
        backward = self.backward_lr
        require(backward is None or backward > 0, "backward_lr", backward, "above 0")
        is_sound = self.linear is None or 0 < self.linear < math.inf
        require(is_sound, "linear", self.linear, "a number above 0, or none")
        require(
            self.class_weight in ("none", "balanced"),
            "class_weight",
            self.class_weight,
            "none, balanced",
        )
        require(self.n_labels is None or self.n_labels >= 2, "n_labels", self.n_labels, "2 or more")
        require(0 <= self.adversarial < 1, "adversarial", self.adversarial, "0 or more, below 1")
        for name, least in (("few_labels", 2), ("enough_tokens", 1)):
            value = getattr(self, name)
            require(value is None or value >= least, name, value, f"{least} or more")
        again, highest = self.reread_drop_mult, max(getattr(self, name) for name in DROPOUTS)
        is_sound = again is None or (again >= 0 and again * highest < 1)
        require(is_sound, "reread_drop_mult", again, "0 or more, so that no dropout reaches 1")
        require(self.bs >= 2, "bs", self.bs, "2 or more: batch normalisation needs company")
        self.classifier(ArchConfig(), n_outputs=2)

    @staticmethod
    def directions() -> tuple[str, ...]:
        """List what `direction` may be."""
        return ("auto", *DIRECTIONS)

    @staticmethod
    def schedules() -> tuple[str, ...]:
        """List what `schedule` may be."""
        return tuple(CLASSIFIER_SCHEDULES)

    def curve(self) -> str:
        """Name the curve that the rates follow."""
        return CLASSIFIER_SCHEDULES[self.schedule].curve

    def plan(self) -> Plan:
        """Gather what a schedule needs, at the rate of the direction."""
        own = self.backward_lr if self.direction == "backward" else None
        return replace(super().plan(), lr=own or self.lr)

    def n_groups(self, lm: ArchConfig) -> int:
        """Count the layer groups: the embedding is one of its own, and the head."""
        return lm.n_layers + 2

    def phases(self, n_groups: int) -> tuple[Phase, ...]:
        """Lay out the training of a model with so many layer groups."""
        return CLASSIFIER_SCHEDULES[self.schedule].phases(replace(self.plan(), n_groups=n_groups))

    def classifier(
        self, lm: ArchConfig, *, n_outputs: int, n_readings: float = 1.0
    ) -> ClassifierArch:
        """Put a head on a language model's encoder, with the dropouts of this stage for documents that are read so often."""
        dropouts = {name: getattr(self, name) for name in DROPOUTS}
        again = self.reread_drop_mult
        drop_mult = self.drop_mult if again is None or n_readings < REREAD else again
        return ClassifierArch(
            n_outputs,
            replace(lm, **dropouts, drop_mult=drop_mult),
            hidden_sizes=self.hidden_sizes,
            head_p=self.head_p,
            pooling=PoolingConfig(bptt=self.seq_len, max_len=self.max_len),
        )

    def rows(self, corpus: Corpus) -> Rows:
        """Divide the labelled documents of a corpus as these settings say."""
        from ulmfit.text.holdout import labelled_rows

        if corpus.label_kind == "number" and self.class_weight == "balanced":
            raise UserError("--class-weight balanced weighs labels that are names, and these are numbers: leave it out")  # fmt: skip
        return labelled_rows(
            corpus,
            share=self.valid_share,
            seed=self.seed,
            max_valid=self.max_valid,
            n_labels=self.n_labels,
            protocol=self.protocol,
        )
