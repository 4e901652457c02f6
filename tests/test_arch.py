"""The architecture as a value: published sizes, and refusals that name the flag."""

from __future__ import annotations

import pytest
from fastai.text.models.awdlstm import awd_lstm_lm_config

from ulmfit.errors import UserError
from ulmfit.models.arch import DROPOUTS, ArchConfig
from ulmfit.models.backbones import BACKBONES, build_encoder


def test_defaults_are_fastais() -> None:
    arch = ArchConfig()
    for name in ("emb_sz", "n_hid", "n_layers", "tie_weights", "out_bias", *DROPOUTS):
        assert getattr(arch, name) == awd_lstm_lm_config[name], name


def test_drop_mult_multiplies_every_dropout() -> None:
    assert ArchConfig(drop_mult=0.5).dropout("weight_p") == 0.1
    assert not any(ArchConfig(drop_mult=0).dropout(name) for name in DROPOUTS)


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"hidden_p": 0.6, "drop_mult": 2.0}, "--hidden-p"),
        ({"weight_p": -0.1}, "--weight-p"),
        ({"drop_mult": -1.0}, "--drop-mult"),
        ({"n_layers": 0}, "--n-layers"),
    ],
)
def test_refuses_impossible_values(values: dict[str, float], flag: str) -> None:
    with pytest.raises(UserError, match=flag):
        ArchConfig(**values)


def test_sizes_go_from_embedding_to_embedding() -> None:
    assert ArchConfig().layer_sizes() == ((400, 1152), (1152, 1152), (1152, 400))
    assert ArchConfig(n_layers=1).layer_sizes() == ((400, 400),)


def test_unknown_backbone_offers_the_nearest() -> None:
    with pytest.raises(UserError, match="awd_lstm"):
        build_encoder(ArchConfig(backbone="awdlstm"), 20)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_is_registered_under_its_own_name(name: str) -> None:
    assert BACKBONES[name].arch.backbone == name
