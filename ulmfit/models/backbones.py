"""The backbones by name: how to build each encoder, and the published sizes and dropouts.

A new one is a function (arch, n_vocab) -> Encoder and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ulmfit.errors import UserError, nearest
from ulmfit.models.arch import ArchConfig
from ulmfit.models.awd_lstm import awd_lstm
from ulmfit.models.encoder import Encoder
from ulmfit.models.qrnn import qrnn


@dataclass(frozen=True)
class Backbone:
    """A kind of encoder and the architecture it was published with."""

    build: Callable[[ArchConfig, int], Encoder]
    arch: ArchConfig


BACKBONES: dict[str, Backbone] = {
    # fastai 2.8, language model: the paper's sizes and dropouts, with 1152 for 1150.
    "awd_lstm": Backbone(awd_lstm, ArchConfig()),
    # MultiFiT (Eisenschlos et al. 2019): four layers of 1550; dropouts as in its released configuration.
    "qrnn": Backbone(
        qrnn,
        ArchConfig(
            backbone="qrnn",
            n_hid=1550,
            n_layers=4,
            input_p=0.2,
            output_p=0.25,
            hidden_p=0.1,
            embed_p=0.02,
            weight_p=0.15,
            drop_mult=0.3,
        ),
    ),
}


def build_encoder(arch: ArchConfig, n_vocab: int) -> Encoder:
    """Build the encoder that `arch` names, with fresh weights from torch's random generator."""
    if arch.backbone not in BACKBONES:
        raise UserError(f"no backbone {arch.backbone!r}: {nearest(arch.backbone, BACKBONES)}")
    return BACKBONES[arch.backbone].build(arch, n_vocab)
