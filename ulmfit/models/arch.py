"""The architecture of a backbone as one frozen value: sizes, dropouts, and how the decoder is tied.

What a language model and the classifier made from it must agree on. Imports nothing heavy.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from ulmfit.errors import UserError

SIZES = ("emb_sz", "n_hid", "n_layers")
DROPOUTS = ("input_p", "output_p", "hidden_p", "embed_p", "weight_p")


@dataclass(frozen=True)
class ArchConfig:
    """A recurrent language model: embedding, a stack of recurrent layers, a decoder."""

    backbone: str = "awd_lstm"
    """awd_lstm (Merity et al. 2018; the paper's model) or qrnn (Bradbury et al. 2017; MultiFiT)."""
    emb_sz: int = 400
    """Width of the embedding and of the last layer (Howard & Ruder 2018, 4.1)."""
    n_hid: int = 1152
    """Units of the other layers (fastai 2.8; the paper says 1150, a multiple of 8 is faster)."""
    n_layers: int = 3
    """Recurrent layers (Howard & Ruder 2018, 4.1)."""
    input_p: float = 0.25
    """Dropout of the embedded text, one mask for all steps (fastai 2.8, language model)."""
    output_p: float = 0.1
    """Dropout of the last layer before the decoder, one mask for all steps (fastai 2.8)."""
    hidden_p: float = 0.15
    """Dropout between layers, one mask for all steps (fastai 2.8)."""
    embed_p: float = 0.02
    """Share of the vocabulary whose embedding is dropped from a batch (fastai 2.8)."""
    weight_p: float = 0.2
    """Dropout of the recurrent weights, one mask a batch (fastai 2.8)."""
    drop_mult: float = 1.0
    """Factor of all five dropouts; 0 switches them off."""
    tie_weights: bool = True
    """Let the decoder use the embedding as its weight (Press & Wolf 2017)."""
    out_bias: bool = True
    """Give the decoder a bias."""

    def __post_init__(self) -> None:
        for name in SIZES:
            if getattr(self, name) < 1:
                raise UserError(f"{_flag(name)} is {getattr(self, name)}; allowed: 1 or more")
        if self.drop_mult < 0:
            raise UserError(f"--drop-mult is {self.drop_mult}; allowed: 0 or more")
        for name in DROPOUTS:
            if not 0 <= self.dropout(name) < 1:
                raise UserError(
                    f"{_flag(name)} {getattr(self, name)} times --drop-mult {self.drop_mult} is "
                    f"{self.dropout(name):g}; a dropout is at least 0 and below 1"
                )

    def dropout(self, name: str) -> float:
        """Give the dropout `name` as it is used: multiplied by `drop_mult`."""
        return getattr(self, name) * self.drop_mult

    def layer_sizes(self) -> tuple[tuple[int, int], ...]:
        """List (inputs, units) of the recurrent layers, bottom first."""
        widths = (self.emb_sz, *[self.n_hid] * (self.n_layers - 1), self.emb_sz)
        return tuple(itertools.pairwise(widths))


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
