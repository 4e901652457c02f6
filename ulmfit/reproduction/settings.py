"""Settings as one writes them, `stage3.schedule=chain_thaw`, applied to the configs of a recipe.

In: a Recipe and settings. Out: another Recipe. The type of a field says how its value is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from ulmfit.errors import UserError, nearest
from ulmfit.recipe import Recipe

SHORT = {"stage1": "pretrain_lm", "stage2": "finetune_lm", "stage3": "train_classifier"}
_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}
_TRUTH = {"true": True, "false": False}
Config = TypeVar("Config")


@dataclass(frozen=True)
class _Setting:
    names: tuple[str, ...]
    """Of the field, and before it those of the configs that it lies in."""
    value: str
    written: str


def apply_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Change the fields that the settings name; those of a stage all at once, so that one may need another."""
    of_stage: dict[str, list[_Setting]] = {}
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
        of_stage.setdefault(stage, []).append(_Setting(tuple(names), value.strip(), setting))
    configs: dict[str, Any] = {}
    for stage, given in of_stage.items():
        try:
            configs[stage] = _changed(getattr(recipe, stage), given)
        except UserError as error:
            said = str(error)
            raise UserError(said if said.startswith("--set") else f"--set {' '.join(each.written for each in given)}: {said}") from None  # fmt: skip
    return replace(recipe, **configs)


def stage_of(setting: str) -> str:
    """Name the stage that a setting is about."""
    stage = setting.partition(".")[0].strip()
    return SHORT.get(stage, stage)


def full_name(setting: str) -> str:
    """Name the field that a setting is about."""
    path = setting.partition("=")[0].strip()
    return f"{stage_of(path)}.{path.partition('.')[2]}"


def _changed(config: Config, settings: Sequence[_Setting]) -> Config:
    """Replace fields, or those of a config inside."""
    known = [field.name for field in fields(config)]  # ty: ignore[invalid-argument-type]
    changes: dict[str, Any] = {}
    inside: dict[str, list[_Setting]] = {}
    for each in settings:
        name, *inner = each.names
        if name not in known:
            raise UserError(f"--set {each.written}: no field {name!r}: {nearest(name, known)}")
        before = getattr(config, name)
        if is_dataclass(before) != bool(inner):
            what = f"name one of {', '.join(f.name for f in fields(before))}" if is_dataclass(before) else "it has no fields"  # fmt: skip
            raise UserError(f"--set {each.written}: {name} is {'a config' if not inner else 'a value'}: {what}")  # fmt: skip
        if inner:
            inside.setdefault(name, []).append(replace(each, names=tuple(inner)))
        else:
            changes[name] = _read(get_type_hints(type(config))[name], each.value, each.written)
    changes |= {name: _changed(getattr(config, name), group) for name, group in inside.items()}
    return replace(config, **changes)  # ty: ignore[invalid-argument-type]


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
