"""Configuration: every value checked, every preset whole."""

from __future__ import annotations

import ast
import itertools
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path

import pytest

import ulmfit.config as config
from ulmfit import PRESETS, TextConfig, UserError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tokenizer", "moses"), ("rules", "all"), ("min_freq", 0), ("max_vocab", 8), ("sp_type", "word"),
        ("on_empty", "ignore"), ("label_kind", "stars"), ("vocab_splits", ()), ("vocab_splits", ("dev",)),
    ],
)  # fmt: skip
def test_a_wrong_value_names_the_flag_and_what_is_allowed(field: str, value: object) -> None:
    with pytest.raises(UserError, match=f"--{field.replace('_', '-')} is .*allowed: "):
        replace(TextConfig(), **{field: value})


def test_a_config_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        TextConfig().min_freq = 1  # ty: ignore


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_found_by_name(name: str) -> None:
    assert config.preset(name) is PRESETS[name]


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'fastbook'"):
        config.preset("fastbok")


def test_every_field_says_what_it_is() -> None:
    tree = ast.parse(Path(config.__file__).read_text(encoding="utf-8"))
    body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "TextConfig").body
    told = {
        field.target.id
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }
    assert told == {field.name for field in fields(TextConfig)}
