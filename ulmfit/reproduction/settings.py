"""Settings as one writes them, `stage3.schedule=chain_thaw`, applied to the configs of a recipe.

In: a Recipe and settings. Out: another Recipe. The type of a field says how its value is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from ulmfit.errors import UserError, nearest
from ulmfit.recipe import Recipe

SHORT = {"stage1": "pretrain_lm", "stage2": "finetune_lm", "stage3": "train_classifier"}
_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}
_TRUTH = {"true": True, "false": False}
Config = TypeVar("Config")


def apply_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Change the fields that the settings name, one after the other."""
    for setting in settings:
        path, equals, value = setting.partition("=")
        stage, *names = path.strip().split(".")
        if not equals or not names:
            raise UserError(
                f"--set {setting!r} is no setting: write stage3.schedule=chain_thaw, text.max_vocab=8000 or the like"
            )
        stage = SHORT.get(stage, stage)
        known = [field.name for field in fields(recipe)]
        if stage not in known:
            raise UserError(
                f"--set {setting}: no stage {stage!r}: {nearest(stage, [*SHORT, *known])}"
            )
        config = _changed(getattr(recipe, stage), names, value.strip(), setting)
        recipe = replace(recipe, **{stage: config})
    return recipe


def stage_of(setting: str) -> str:
    """Name the stage that a setting is about."""
    stage = setting.partition(".")[0].strip()
    return SHORT.get(stage, stage)


def full_name(setting: str) -> str:
    """Name the field that a setting is about."""
    path = setting.partition("=")[0].strip()
    return f"{stage_of(path)}.{path.partition('.')[2]}"


def _changed(config: Config, names: Sequence[str], value: str, setting: str) -> Config:
    """Replace a field, or one of a config inside."""
    name, *inner = names
    known = [field.name for field in fields(config)]  # ty: ignore[invalid-argument-type]
    if name not in known:
        raise UserError(f"--set {setting}: no field {name!r}: {nearest(name, known)}")
    before = getattr(config, name)
    if is_dataclass(before) != bool(inner):
        what = f"name one of {', '.join(f.name for f in fields(before))}" if is_dataclass(before) else "it has no fields"  # fmt: skip
        raise UserError(f"--set {setting}: {name} is {'a config' if not inner else 'a value'}: {what}")  # fmt: skip
    if inner:
        changed = _changed(before, inner, value, setting)
    else:
        changed = _read(get_type_hints(type(config))[name], value, setting)
    return replace(config, **{name: changed})  # ty: ignore[invalid-argument-type]


def _read(kind: Any, value: str, setting: str) -> Any:
    """Read a value of a type: several numbers stand beside each other with spaces or commas."""
    options = get_args(kind)
    if NoneType in options:
        if value == "none":
            return None
        kind = next(option for option in options if option is not NoneType)
        options = get_args(kind)
    if get_origin(kind) is tuple:
        words = [] if value == "none" else value.replace(",", " ").split()
        return tuple(_read(options[0], word, setting) for word in words)
    try:
        return _TRUTH[value.lower()] if kind is bool else kind(value)
    except (KeyError, ValueError):
        raise UserError(f"--set {setting}: {value!r} is not {_KINDS[kind]}") from None
