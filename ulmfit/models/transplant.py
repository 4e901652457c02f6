"""Weights of one vocabulary -> weights of another: a known token keeps its row, a new one gets the mean row.

Pure: tensors and tokens in, new tensors and a report out. What Howard & Ruder 2018, 3.2 leaves to the code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ulmfit import markup
from ulmfit.errors import UserError
from ulmfit.models.weights import DECODER_BIAS, DECODER_WEIGHT, EMBEDDING
from ulmfit.text.vocab import FAKE

ROWS_PER_TOKEN = (EMBEDDING, DECODER_WEIGHT, DECODER_BIAS)  # the tensors whose rows are tokens
_EXAMPLES = 8


@dataclass(frozen=True)
class Tokens:
    """How many tokens share a fate, and the first of them."""

    count: int
    examples: tuple[str, ...]

    @classmethod
    def of(cls, tokens: Sequence[str]) -> Tokens:
        """Count tokens and keep the first few."""
        return cls(len(tokens), tuple(tokens[:_EXAMPLES]))

    def __str__(self) -> str:
        more = " ..." if self.count > len(self.examples) else ""
        return f"{self.count:,}" + (f" ({' '.join(self.examples)}{more})" if self.count else "")


@dataclass(frozen=True)
class TransplantReport:
    """What became of the tokens; xxfake entries are not counted."""

    kept: Tokens
    """In both vocabularies: with their own row."""
    new: Tokens
    """Only in the target: with the mean row."""
    dropped: Tokens
    """Only in the source: gone."""

    @property
    def kept_share(self) -> float:
        """Share of the target's tokens that keep their row."""
        return self.kept.count / max(1, self.kept.count + self.new.count)

    def __str__(self) -> str:
        return (
            f"{self.kept.count:,} tokens keep their weights ({self.kept_share:.1%} of the new vocabulary), "
            f"{self.new} are new and get the mean weights, {self.dropped} are dropped"
        )

    def _repr_html_(self) -> str:
        fates = {"kept": self.kept, "new: mean row": self.new, "dropped": self.dropped}
        rows = ((fate, part.count, markup.tokens(part.examples)) for fate, part in fates.items())
        return markup.table(("", "tokens", "first of them"), rows)


@dataclass(frozen=True, eq=False)
class Transplanted:
    """The weights for the target vocabulary, and what happened on the way."""

    weights: dict[str, Tensor]
    report: TransplantReport


def transplant(
    weights: Mapping[str, Tensor], source: Sequence[str], target: Sequence[str]
) -> Transplanted:
    """Carry the weights of a language model over from the `source` to the `target` vocabulary.

    The tensors that know nothing of tokens are passed on as they are.
    """
    known = {token: i for i, token in enumerate(source) if token != FAKE}
    rows = torch.tensor([known.get(token, len(source)) for token in target])
    moved = {
        name: take_rows(tensor, rows, n_vocab=len(source)) if name in ROWS_PER_TOKEN else tensor
        for name, tensor in weights.items()
    }
    return Transplanted(moved, compare(source, target))


def take_rows(tensor: Tensor, rows: Tensor, *, n_vocab: int) -> Tensor:
    """Pick rows of a tensor; row `n_vocab` stands for the mean of all."""
    if len(tensor) != n_vocab:
        raise UserError(
            f"the weights have rows for {len(tensor):,} tokens and the vocabulary has {n_vocab:,}: "
            "they do not belong together; give the vocabulary that was saved with the weights"
        )
    return torch.cat([tensor, tensor.mean(0, keepdim=True)])[rows]


def compare(source: Iterable[str], target: Iterable[str]) -> TransplantReport:
    """Say which tokens two vocabularies share."""
    old = dict.fromkeys(token for token in source if token != FAKE)
    new = dict.fromkeys(token for token in target if token != FAKE)
    return TransplantReport(
        kept=Tokens.of([token for token in new if token in old]),
        new=Tokens.of([token for token in new if token not in old]),
        dropped=Tokens.of([token for token in old if token not in new]),
    )
