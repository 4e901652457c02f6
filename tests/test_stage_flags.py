"""The flags of the stages are the fields of their configs: each can be set, explains itself, and begins where its preset does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmfit.errors import UserError
from ulmfit.flags import parse
from ulmfit.models.arch import ArchConfig
from ulmfit.stage_flags import FinetuneFlags, PretrainFlags, RecipeFlags, StageFlags
from ulmfit.training.config import FinetuneConfig, PretrainConfig, StageConfig
from ulmfit.training.presets import FINETUNE_PRESETS, PRETRAIN_PRESETS, STAGE_PRESETS
from ulmfit.usage import usage

KINDS = (PretrainFlags, FinetuneFlags)
# A value for every field, other than that of any preset, and as it is typed.
OTHER = {
    "direction": ("backward", "backward"), "bs": ("7", 7), "seq_len": ("33", 33), "accumulate": ("3", 3),
    "schedule": ("cosine", "cosine"), "epochs": ("9", 9), "lr": ("3e-2", 0.03), "factor": ("1.5", 1.5),
    "group_factors": ("0.25 0.5 1 1", (0.25, 0.5, 1.0, 1.0)), "rise": ("0.4", 0.4), "div": ("12", 12.0),
    "div_final": ("77", 77.0), "moms": ("0.6 0.5 0.6", (0.6, 0.5, 0.6)), "sqr_mom": ("0.9", 0.9),
    "eps": ("1e-6", 1e-6), "wd": ("0.05", 0.05), "clip": ("0.7", 0.7), "label_smoothing": ("0.05", 0.05),
    "activation_reg": ("1.5", 1.5), "temporal_reg": ("0.5", 0.5), "patience": ("2", 2),
    "precision": ("fp32", "fp32"), "protocol": ("transductive", "transductive"), "valid_share": ("0.2", 0.2),
    "max_valid": ("7", 7), "min_batches": ("3", 3), "max_batches": ("999", 999),
    "seed": ("5", 5), "frozen_epochs": ("4", 4), "frozen_lr": ("0.3", 0.3), "input_p": ("0.31", 0.31),
    "output_p": ("0.32", 0.32), "hidden_p": ("0.33", 0.33), "embed_p": ("0.34", 0.34),
    "weight_p": ("0.35", 0.35), "drop_mult": ("0.9", 0.9), "n_labels": ("9", 9), "backbone": ("qrnn", "qrnn"),
    "emb_sz": ("48", 48), "n_hid": ("96", 96), "n_layers": ("5", 5),
}  # fmt: skip
SWITCHES = ("jitter", "decoupled_wd", "tie_weights", "out_bias")


def read(kind: type[StageFlags], *argv: str) -> Any:
    """Parse what stands after the folders."""
    places = ["corpus"] if kind is PretrainFlags else ["lm", "corpus"]
    return parse(kind, kind.stage.replace("_", "-"), [*places, *argv])


def leaves(config: Any) -> Iterator[tuple[Any, str]]:
    """List the fields of a config and of what is in it, each with its owner."""
    for field in fields(config):
        value = getattr(config, field.name)
        yield from leaves(value) if is_dataclass(value) else [(config, field.name)]


def value_of(config: Any, name: str) -> Any:
    """Find a field by its name, wherever it is."""
    return next(getattr(owner, name) for owner, field in leaves(config) if field == name)


def cases() -> list[tuple[type[StageFlags], str]]:
    return [(kind, name) for kind in KINDS for _, name in leaves(kind().config)]


@pytest.mark.parametrize("kind", KINDS)
def test_presets_set_the_defaults(kind: type[StageFlags]) -> None:
    assert read(kind).config == STAGE_PRESETS[kind.stage]["laptop"]
    for name, config in STAGE_PRESETS[kind.stage].items():
        for argv in (["--preset", name], [f"--preset={name}"]):
            flags = read(kind, *argv)
            assert (flags.config, flags.preset) == (config, name)


@pytest.mark.parametrize(("kind", "name"), [c for c in cases() if c[1] not in SWITCHES])
def test_every_field_is_a_flag(kind: type[StageFlags], name: str) -> None:
    typed, value = OTHER[name]
    before = kind().config
    after = read(kind, f"--{name.replace('_', '-')}", *typed.split()).config
    assert value_of(before, name) != value
    for owner, field in leaves(after):
        assert getattr(owner, field) == (value if field == name else value_of(before, field))


@pytest.mark.parametrize("preset", ["paper", "fastbook"])
@pytest.mark.parametrize(("kind", "name"), [c for c in cases() if c[1] in SWITCHES])
def test_a_switch_goes_both_ways_in_every_preset(
    kind: type[StageFlags], name: str, preset: str
) -> None:
    flag = name.replace("_", "-")
    for argv, value in (([f"--{flag}"], True), ([f"--no-{flag}"], False)):
        assert value_of(read(kind, "--preset", preset, *argv).config, name) is value


@pytest.mark.parametrize("kind", KINDS)
def test_what_may_be_none_is_set_by_none(kind: type[StageFlags]) -> None:
    none_able = {f.name for f in fields(StageConfig) if "None" in str(f.type)}
    assert {"clip", "rise", "patience", "moms"} <= none_able
    is_set = {name for name in none_able if getattr(FINETUNE_PRESETS["multifit"], name)}
    assert {"clip", "rise", "moms"} <= is_set
    for name in none_able:
        flag = f"--{name.replace('_', '-')}"
        assert getattr(read(kind, "--preset", "multifit", flag, "none").config, name) is None
    assert (
        read(kind, "--preset", "paper-code", "--group-factors", "none").config.group_factors == ()
    )
    assert read(kind, "--max-minutes", "none").max_minutes is None


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=6))
def test_any_tuple_of_numbers_is_read_as_it_was_written(values: list[float]) -> None:
    flags = read(PretrainFlags, "--group-factors", *map(repr, values), "--seed", "3")
    assert (flags.config.group_factors, flags.config.seed) == (tuple(values), 3)


def test_what_is_beside_the_config() -> None:
    flags = parse(
        FinetuneFlags,
        "finetune-lm",
        ["lm", "c", "--out", "o", "--restart", "--max-minutes", "2.5", "--threads", "3", "--json"],
    )
    assert (flags.lm, flags.corpus, flags.out, flags.threads) == ("lm", "c", Path("o"), 3)
    assert (flags.restart, flags.max_minutes, flags.json) == (True, 2.5, True)
    flags = read(PretrainFlags)
    assert (flags.restart, flags.max_minutes, flags.json, flags.threads) == (False, None, False, 0)


def test_a_factor_that_a_preset_would_overrule_is_refused() -> None:
    with pytest.raises(UserError, match="--group-factors none"):
        read(FinetuneFlags, "--preset", "paper-code", "--factor", "3")
    argv = ["--preset", "paper-code", "--factor", "3", "--group-factors"]
    assert read(FinetuneFlags, *argv, "none").config.plan().factor == 3
    assert read(FinetuneFlags, *argv, "1", "2").config.group_factors == (1, 2)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("--clip much", "--clip: 'much' is not a number, or none"),
        ("--bs 0.5", "--bs: '0.5' is not a whole number"),
        ("--moms 0.8 0.7", "--moms is (0.8, 0.7); allowed: three numbers"),
        ("--moms 0.8 x 0.8", "--moms: 'x' is not a number"),
        ("--group-factors 1 -1", "--group-factors"),
        ("--lr nan", "--lr is nan; allowed: above 0"),
        ("--epochs -1", "--epochs is -1; allowed: 1 or more"),
        ("--no-bs", "unknown flag --no-bs: did you mean '--bs'?"),
        ("--preset", "--preset"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_value_names_its_flag(kind: type[StageFlags], argv: str, says: str) -> None:
    with pytest.raises(UserError) as error:
        read(kind, *argv.split())
    assert says in str(error.value)


def test_out_is_none_of_the_inputs(tmp_path: Path) -> None:
    flags = replace(FinetuneFlags(), out=tmp_path / "x" / ".." / "lm")
    assert flags.folder("lm", "corpus") == flags.out
    with pytest.raises(UserError, match="is what is read"):
        flags.folder(str(tmp_path / "lm"), "corpus")


# --- help


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [60, 80, 200])
def test_help_explains_every_flag_and_fits(
    kind: type[StageFlags], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    said = usage(kind(), "a-verb")
    assert max(map(len, said.splitlines())) <= min(width, 100)
    entries = [line.split()[0] for line in said.splitlines() if line.startswith("  --")]
    switch = {"restart", "json", *SWITCHES}
    assert len(entries) == len(set(entries)) == len(list(leaves(kind().config))) + 6
    for _, name in leaves(kind().config):
        flag = name.replace("_", "-")
        assert (f"--[no-]{flag}" if name in switch else f"--{flag}") in entries
    text = " ".join(said.split())
    assert "Rows of a batch (Howard & Ruder 2018, 4.1)." in text
    assert "Factor of all five dropouts" in text
    if width == 80:
        assert said.count("\n") < 130


def test_help_shows_the_values_of_the_preset() -> None:
    said = usage(PretrainFlags.of_preset("paper"), "pretrain-lm")
    for shown in ("--lr 0.001 ", "--[no-]jitter (on)", "--patience none ", "preset paper:"):
        assert shown in said
    assert "--lr 0.005 " in usage(PretrainFlags(), "pretrain-lm")


def test_help_of_an_inherited_field_is_its_own_stages() -> None:
    assert "random weights need no protection" in " ".join(usage(PretrainFlags(), "").split())
    assert "random weights need no protection" not in " ".join(usage(FinetuneFlags(), "").split())


def test_help_lists_all_presets() -> None:
    said = " ".join(usage(FinetuneFlags(), "").split())
    assert set(PRETRAIN_PRESETS) == set(FINETUNE_PRESETS)
    assert all(name in said.partition("--restart")[0] for name in FINETUNE_PRESETS)


def test_recipe_takes_its_words_by_place() -> None:
    flags = parse(RecipeFlags, "recipe", ["diff", "paper", "fastbook", "--json"])
    assert asdict(flags) == {"action": "diff", "presets": ("paper", "fastbook"), "json": True}


def test_the_configs_are_those_of_the_stages() -> None:
    assert (type(PretrainFlags().config), type(FinetuneFlags().config)) == (
        PretrainConfig,
        FinetuneConfig,
    )
    assert isinstance(read(PretrainFlags, "--n-hid", "96").config.arch, ArchConfig)
