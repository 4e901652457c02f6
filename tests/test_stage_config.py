"""Stage configs: every value checked; the presets hold the published numbers literally."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest

import ulmfit
import ulmfit.training.config as module
from ulmfit import PRESETS, UserError
from ulmfit.cli import VERBS
from ulmfit.models.arch import ArchConfig
from ulmfit.stages.table import STAGES
from ulmfit.training.config import FinetuneConfig, PretrainConfig, StageConfig
from ulmfit.training.presets import (
    CLASSIFIER_PRESETS,
    FINETUNE_PRESETS,
    PRETRAIN_PRESETS,
    STAGE_PRESETS,
    stage_preset,
)
from ulmfit.training.schedules import rates


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("direction", "up"), ("bs", 0), ("seq_len", 1), ("accumulate", 0), ("schedule", "sgdr"), ("epochs", 0),
        ("lr", 0.0), ("factor", 0.5), ("group_factors", (1.0, 0.0)), ("rise", 0.0), ("rise", 1.0), ("div", 0.5),
        ("div_final", 0.0), ("moms", (0.8, 0.7)), ("moms", (0.8, 0.7, 1.0)), ("sqr_mom", 1.0), ("eps", 0.0),
        ("wd", -1.0), ("clip", 0.0), ("label_smoothing", 1.0), ("activation_reg", -1.0), ("temporal_reg", -1.0),
        ("patience", -1), ("precision", "fp16"), ("seed", -1), ("frozen_epochs", -1), ("frozen_lr", 0.0),
    ],
)  # fmt: skip
def test_a_wrong_value_names_the_flag_and_what_is_allowed(field: str, value: object) -> None:
    with pytest.raises(UserError, match=f"--{field.replace('_', '-')} is .*allowed: "):
        replace(FinetuneConfig(), **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bs", "32"), ("epochs", 1.5), ("seed", None), ("lr", "1e-2"), ("jitter", "no"),
        ("group_factors", ("a",)), ("direction", None), ("clip", (1.0,)), ("max_valid", True),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_in_one_line(field: str, value: object) -> None:
    with pytest.raises(UserError, match=f"--{field.replace('_', '-')} is .*allowed: values of the"):
        replace(FinetuneConfig(), **{field: value})


def test_numbers_of_numpy_become_pythons() -> None:
    config = FinetuneConfig(seed=np.int64(3), lr=np.float32(0.5), jitter=np.bool_(False))  # type: ignore[arg-type]
    assert json.loads(json.dumps(asdict(config)))["seed"] == 3
    assert (type(config.lr), config.lr, config.jitter) == (float, 0.5, False)


def test_a_dropout_is_checked_as_it_is_used() -> None:
    with pytest.raises(UserError, match=r"--weight-p 0.6 times --drop-mult 2"):
        FinetuneConfig(weight_p=0.6, drop_mult=2.0)


def test_a_config_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        PretrainConfig().lr = 1.0  # ty: ignore


@pytest.mark.parametrize("config", [StageConfig, PretrainConfig, FinetuneConfig])
def test_every_field_says_what_it_is(config: type) -> None:
    tree = ast.parse(Path(inspect.getfile(module)).read_text(encoding="utf-8"))
    body = next(
        n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == config.__name__
    ).body
    own = [n.target.id for n in body if isinstance(n, ast.AnnAssign)]
    told = [
        a.target.id
        for a, b in itertools.pairwise(body)
        if isinstance(a, ast.AnnAssign) and isinstance(b, ast.Expr)
    ]
    assert told == own
    assert set(own) <= {f.name for f in fields(config)}


# The published recipes of stage 2, column by column.
# Howard & Ruder 2018; imdb_scripts (fastai 0.7); ULMFit.ipynb (fastai 1); fastbook; MultiFiT.
SAME_DROPOUTS = {"input_p": 0.25, "output_p": 0.1, "weight_p": 0.2, "embed_p": 0.02, "hidden_p": 0.15}  # fmt: skip
PENALTIES = {"activation_reg": 2, "temporal_reg": 1, "sqr_mom": 0.99, "label_smoothing": 0}
PUBLISHED = {
    "paper": {
        "bs": 64, "seq_len": 70, "jitter": True, "lr": 0.004, "factor": 2.6, "group_factors": (), "frozen_epochs": 0,
        "schedule": "stlr", "direction": "auto", "patience": None, **PENALTIES,
    },
    "paper-code": {
        "bs": 64, "seq_len": 70, "jitter": True, "lr": 0.004, "group_factors": (1 / 6, 1 / 3, 1, 1 / 2), "epochs": 50,
        "frozen_epochs": 0, "clip": 0.3, "wd": 1e-7, "decoupled_wd": False, "drop_mult": 1, **SAME_DROPOUTS,
        "schedule": "clr", "patience": None, **PENALTIES,
    },
    "fastai-v1": {
        "bs": 256, "seq_len": 80, "jitter": False, "frozen_epochs": 1, "frozen_lr": 2e-2, "epochs": 10, "lr": 2e-3,
        "factor": 1, "clip": 0.1, "wd": 0.1, "decoupled_wd": True, "drop_mult": 1, **SAME_DROPOUTS,
        "schedule": "one_cycle", "moms": (0.8, 0.7, 0.8), **PENALTIES,
    },
    "fastbook": {
        "bs": 128, "seq_len": 80, "jitter": False, "frozen_epochs": 1, "frozen_lr": 2e-2, "epochs": 10, "lr": 2e-3,
        "factor": 1, "clip": None, "wd": 0.01, "decoupled_wd": True, "drop_mult": 0.3, **SAME_DROPOUTS,
        "schedule": "one_cycle", "moms": (0.8, 0.7, 0.8), "eps": 1e-5, **PENALTIES,
    },
    "multifit": {
        "bs": 20, "seq_len": 70, "jitter": False, "frozen_epochs": 1, "frozen_lr": 1e-2, "epochs": 20, "lr": 1e-3,
        "factor": 1, "clip": 0.12, "wd": 1e-7, "decoupled_wd": False, "drop_mult": 0.3, "input_p": 0.2,
        "output_p": 0.25, "weight_p": 0.15, "embed_p": 0.02, "hidden_p": 0.1, "schedule": "one_cycle",
        "moms": (0.8, 0.7, 0.8), **PENALTIES,
    },
}  # fmt: skip
# The curves' own numbers: cut or rise, ratio or div, beta 1 at the peak.
CURVES = {
    "paper": (0.1, 32, 0.7),
    "paper-code": (0.1, 32, 0.8),
    "fastai-v1": (0.3, 25, 0.7),
    "fastbook": (0.25, 25, 0.7),
    "multifit": (0.3, 25, 0.7),
}
# Backbone, emb_sz, n_hid, n_layers.
SIZES = {
    "paper": ("awd_lstm", 400, 1150, 3),
    "paper-code": ("awd_lstm", 400, 1150, 3),
    "fastai-v1": ("awd_lstm", 400, 1152, 3),
    "fastbook": ("awd_lstm", 400, 1152, 3),
    "multifit": ("qrnn", 400, 1550, 4),
}
# Stage 1: bs, seq_len, epochs, lr, drop_mult, wd, clip; the paper has a value for seq_len only.
STAGE_1 = {
    "paper-code": (64, 70, 12, 1e-3, 0.5, 1e-7, 0.3),
    "fastai-v1": (256, 80, 12, 1e-2, 0.1, 0.1, 0.1),
    "fastbook": (256, 80, 12, 1e-2, 0.1, 0.1, 0.1),
    "multifit": (50, 70, 10, 5e-3, 0.0, 1e-7, 0.12),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_stage_2_holds_the_published_values(name: str) -> None:
    config, expected = FINETUNE_PRESETS[name], PUBLISHED[name]
    assert {field: getattr(config, field) for field in expected} == expected
    shape = config.shape()
    assert (shape.rise, shape.div, shape.moms[1]) == CURVES[name]


@pytest.mark.parametrize("name", SIZES)
def test_stage_1_holds_the_published_values(name: str) -> None:
    config = PRETRAIN_PRESETS[name]
    arch = config.arch
    assert (arch.backbone, arch.emb_sz, arch.n_hid, arch.n_layers) == SIZES[name]
    assert arch.tie_weights
    assert config.seq_len in (70, 80)
    if name in STAGE_1:
        found = (config.bs, config.seq_len, config.epochs, config.lr, arch.drop_mult, config.wd, config.clip)  # fmt: skip
        assert found == STAGE_1[name]


def test_the_authors_pretraining_slowed_the_lower_layers() -> None:
    assert PRETRAIN_PRESETS["paper-code"].group_factors == (1 / 6, 1 / 3, 1, 1)


def test_every_preset_of_the_text_has_its_stages() -> None:
    for presets in STAGE_PRESETS.values():
        assert list(presets) == list(PRESETS)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_a_verb_and_a_public_name_with_presets_of_its_config(name: str) -> None:
    assert name.replace("_", "-") in VERBS
    assert getattr(ulmfit, name) is STAGES[name].run
    assert {type(config) for config in STAGE_PRESETS[name].values()} == {STAGES[name].config}


def test_every_stage_with_presets_is_in_the_table() -> None:
    assert list(STAGES) == list(STAGE_PRESETS)


def test_the_authors_backward_model_took_half_the_rate() -> None:
    forward, backward = (
        replace(CLASSIFIER_PRESETS["paper-code"], direction=name).phases(5)
        for name in ("forward", "backward")
    )
    assert [phase.lr for phase in backward] == [phase.lr / 2 for phase in forward]
    paper = replace(CLASSIFIER_PRESETS["paper"], direction="backward").phases(5)
    assert paper == CLASSIFIER_PRESETS["paper"].phases(5)


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_a_linear_part_is_as_loud_as_a_number_above_0(value: float) -> None:
    with pytest.raises(UserError, match="--linear is"):
        replace(CLASSIFIER_PRESETS["paper"], linear=value)


def test_the_schedule_from_scratch_is_a_flag_of_its_own() -> None:
    with pytest.raises(UserError, match="--schedule full --from-scratch"):
        replace(CLASSIFIER_PRESETS["paper"], schedule="from_scratch")


@pytest.mark.parametrize("name", PRESETS)
def test_the_rates_of_every_preset_can_be_drawn(name: str) -> None:
    for stage in STAGE_PRESETS:
        n_groups = PRETRAIN_PRESETS[name].arch.n_layers + 1
        for phase in stage_preset(stage, name).phases(4):
            for step in range(30):
                now = rates(phase, step, n_steps=30, n_groups=n_groups)
                assert max(now.lrs) > 0
                assert now.lrs[-1] > 0, "the embedding with the decoder always learns"


def test_stage_2_brings_its_dropouts_and_keeps_the_sizes() -> None:
    base = ArchConfig("qrnn", n_hid=1550, n_layers=4, out_bias=False)
    config = FINETUNE_PRESETS["multifit"]
    arch = config.regularised(base)
    assert (arch.backbone, arch.n_hid, arch.n_layers, arch.out_bias) == ("qrnn", 1550, 4, False)
    assert arch.dropout("output_p") == pytest.approx(0.25 * 0.3)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'fastbook'"):
        stage_preset("finetune_lm", "fastbok")


def test_the_pure_half_of_training_imports_nothing_heavy() -> None:
    code = (
        "import sys, ulmfit.training.presets, ulmfit.training.metrics;"
        "print([m for m in ('torch', 'fastai', 'spacy', 'pandas', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
