"""The rows of the paper's ablations, tables 4 to 7, as settings of a recipe.

The rates of table 7 are those of section 5: 0.01 for rows with discr, 0.001 for all others. All rows but
the last stop early there; after how many epochs the paper does not say, so `PATIENCE` is ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PATIENCE = 5


@dataclass(frozen=True)
class Row:
    """One row of a table: what is different about its training."""

    name: str = ""
    """In the table's words; empty for the recipe as it is."""
    settings: tuple[str, ...] = ()
    is_pretrained: bool = True
    """Whether it begins from the language model that is given."""
    is_finetuned: bool = True
    """Whether stage 2 takes place."""

    @property
    def folder(self) -> str:
        """A name for its folder."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")


AS_IT_IS = Row()


def _stage2(schedule: str, factor: float) -> tuple[str, ...]:
    return (
        f"stage2.schedule={schedule}",
        f"stage2.factor={factor}",
        *("stage2.group_factors=none", "stage2.rise=none", "stage2.div=none", "stage2.div_final=none"),
        *("stage2.moms=none", "stage2.frozen_epochs=0"),
    )  # fmt: skip


def _stage3(schedule: str, lr: float, *more: str) -> tuple[str, ...]:
    return (
        f"stage3.schedule={schedule}",
        f"stage3.lr={lr}",
        *("stage3.factor=2.6", "stage3.group_factors=none", "stage3.rise=none", "stage3.div=none"),
        *("stage3.div_final=none", "stage3.moms=none", f"stage3.patience={PATIENCE}", *more),
    )  # fmt: skip


TABLES: dict[int, tuple[Row, ...]] = {
    4: (Row("without pretraining", is_pretrained=False), Row("with pretraining")),
    5: (
        # Of a language model that is given, only what stage 2 does can be without dropout, or with all of it.
        Row("vanilla LM", ("stage1.arch.drop_mult=0", "stage2.drop_mult=0")),
        Row("AWD-LSTM LM", ("stage1.arch.drop_mult=1", "stage2.drop_mult=1")),
    ),
    6: (
        Row("no LM fine-tuning", is_finetuned=False),
        Row("full", _stage2("flat", 1.0)),
        Row("full + discr", _stage2("flat", 2.6)),
        Row("full + discr + stlr", _stage2("stlr", 2.6)),
    ),
    7: (
        Row("from scratch", _stage3("full", 0.001, "stage3.from_scratch=true")),
        Row("full", _stage3("full", 0.001)),
        Row("full + discr", _stage3("full_discr", 0.01)),
        Row("last", _stage3("last", 0.001)),
        Row("chain-thaw", _stage3("chain_thaw", 0.001)),
        Row("freez", _stage3("freez", 0.001)),
        Row("freez + discr", _stage3("freez_discr", 0.01)),
        Row("freez + stlr", _stage3("freez_stlr", 0.001)),
        Row("freez + cos", _stage3("freez_cos", 0.001)),
        Row("freez + discr + stlr", _stage3("freez_discr_stlr", 0.01, "stage3.patience=none")),
    ),
}
NEEDS_LM = (4, 6)
"""Tables that say nothing without a language model that has been pretrained on other texts."""
