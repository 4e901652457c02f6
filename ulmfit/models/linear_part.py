"""A linear model of tokens and of up to four in a row, which speaks beside the encoder: what single words give away.

In: documents as ids. Out: logits to be added to the encoder's, and what each token gave to them. A document's
logits depend on it alone, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ulmfit.errors import UserError

LONGEST = 4  # tokens of an n-gram
_STORED = {"grams": (np.int64, 1), "weights": (np.float32, 2), "bias": (np.float32, 1)}


@dataclass(frozen=True, eq=False)
class LinearPart:
    """Weights of n-grams; what counts is that a document has one, not how often."""

    n_vocab: int
    grams: np.ndarray
    """(n,) int64, ascending: a token's id, or n_vocab * (1 + key of all tokens but the last) + the last one's id."""
    weights: np.ndarray
    """(n, n_outputs) float32."""
    bias: np.ndarray
    """(n_outputs,) float32."""

    def logits(self, documents: Sequence[np.ndarray]) -> np.ndarray:
        """Give (n_documents, n_outputs) float32."""
        places, _, grams = self._known(documents)
        once = np.unique(places * len(self.grams) + grams)
        places, grams = np.divmod(once, max(1, len(self.grams)))
        added = [
            np.bincount(places, weights=column[grams], minlength=len(documents))
            for column in self.weights.T
        ]
        return (self.bias + np.stack(added, axis=1)).astype(np.float32)

    def token_parts(self, ids: np.ndarray) -> np.ndarray:
        """Say what each token gave, (n_tokens, n_outputs): all of it and the bias are the logits.

        Places that hold the same n-gram share its weight, and so do its tokens.
        """
        _, firsts, grams = self._known([ids])
        lengths = self._lengths(self.grams[grams])
        times = np.bincount(grams, minlength=1)[grams]
        shares = self.weights[grams] / (times * lengths)[:, None]
        parts = np.zeros((len(ids), len(self.bias)))
        for place in range(LONGEST):
            reaches = lengths > place
            np.add.at(parts, firsts[reaches] + place, shares[reaches])
        return parts

    def times(self, factor: float) -> LinearPart:
        """Let it speak louder or less loud."""
        weights, bias = (np.float32(factor * values) for values in (self.weights, self.bias))
        return replace(self, weights=weights, bias=bias)

    def to_bytes(self) -> bytes:
        """Give what is to be stored."""
        return save({name: np.ascontiguousarray(getattr(self, name)) for name in _STORED})

    @classmethod
    def from_bytes(cls, content: bytes, *, n_vocab: int, n_outputs: int, where: str) -> LinearPart:
        """Take what was stored, and refuse what belongs to another vocabulary or to other labels."""
        try:
            arrays = load(content)
        except (SafetensorError, ValueError, KeyError) as error:
            raise UserError(
                f"{where} is not a safetensors file ({error}): train it again"
            ) from error
        if {name: (array.dtype, array.ndim) for name, array in arrays.items()} == _STORED:
            part = cls(n_vocab, **arrays)
            if part._is_sound(n_outputs):
                return part
        raise UserError(f"{where} is not the linear part of this classifier: train it again")

    def _is_sound(self, n_outputs: int) -> bool:
        grams = self.grams
        is_known = not len(grams) or 0 <= grams[0] <= grams[-1] < key_bounds(self.n_vocab)[-1]
        shapes = self.weights.shape, self.bias.shape
        return (
            shapes == ((len(grams), n_outputs), (n_outputs,))
            and bool(is_known and (np.diff(grams) > 0).all())
            and bool(np.isfinite(self.weights).all() and np.isfinite(self.bias).all())
        )

    def _known(self, documents: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find the n-grams that have a weight: their documents, their first tokens, and their numbers."""
        longest = int(self._lengths(self.grams[-1:]).sum())
        each = n_grams(documents, n_vocab=self.n_vocab, longest=max(1, longest))
        places, firsts, keys = (np.concatenate(parts) for parts in zip(*each))
        grams = np.searchsorted(self.grams, keys)
        is_known = np.append(self.grams, -1)[grams] == keys
        return places[is_known], firsts[is_known], grams[is_known]

    def _lengths(self, keys: np.ndarray) -> np.ndarray:
        """Say of how many tokens n-grams are."""
        return 1 + np.searchsorted(key_bounds(self.n_vocab), keys, side="right")


def key_bounds(n_vocab: int) -> list[int]:
    """Give the first key that is too large for an n-gram of 1, 2, ... tokens: as many as have room in 64 bits."""
    bounds = [n_vocab]
    while len(bounds) < LONGEST and (bound := n_vocab * (1 + bounds[-1])) < 2**63:
        bounds.append(bound)
    return bounds


def n_grams(
    documents: Sequence[np.ndarray], *, n_vocab: int, longest: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """List all n-grams, length by length: the document of each, the place of its first token in all of them, and its key."""
    ids = np.concatenate([np.empty(0, np.int64), *documents]).astype(np.int64)
    owners = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
    reach = np.append(owners, np.full(longest, -1))
    firsts, keys = np.arange(len(ids)), ids
    yield owners, firsts, keys
    for more in range(1, longest):
        goes_on = reach[firsts + more] == owners[firsts]
        firsts = firsts[goes_on]
        keys = n_vocab * (1 + keys[goes_on]) + ids[firsts + more]
        yield owners[firsts], firsts, keys
