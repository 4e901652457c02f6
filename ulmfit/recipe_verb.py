"""The verb `recipe`: what a preset sets, from text to the last stage, and in what two presets differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ulmfit.config import preset
from ulmfit.errors import UserError, nearest
from ulmfit.flags import parse
from ulmfit.output import print_result, table
from ulmfit.stage_flags import RecipeFlags
from ulmfit.training.presets import STAGE_PRESETS, stage_preset
from ulmfit.usage import written

_N_PRESETS = {"show": 1, "diff": 2}
_USAGE = "as in `ulmfit recipe show laptop` or `ulmfit recipe diff paper fastbook`"


def recipe(argv: Sequence[str]) -> None:
    """Print the values of a preset, or the differences of two."""
    flags = parse(RecipeFlags, "recipe", argv)
    action, names = flags.action, flags.presets
    if action not in _N_PRESETS:
        raise UserError(f"recipe: no action {action!r}: {nearest(action, _N_PRESETS)}, {_USAGE}")
    if len(names) != _N_PRESETS[action]:
        raise UserError(
            f"recipe {action}: {len(names)} presets given, {_N_PRESETS[action]} needed, {_USAGE}"
        )
    columns = [_values(name) for name in names]
    rows = {
        field: [column[field] for column in columns]
        for field in columns[0]
        if action == "show" or len({column[field] for column in columns}) > 1
    }
    if flags.json:
        return print_result({field: dict(zip(names, values)) for field, values in rows.items()})
    lines = [(field, *map(written, values)) for field, values in rows.items()]
    print_result(table([("", *names), *lines]))


def _values(name: str) -> dict[str, Any]:
    """Name every value of a preset by its path; what the schedule supplies counts as set."""
    found = {f"text.{field}": value for field, value in asdict(preset(name)).items()}
    for stage in STAGE_PRESETS:
        config = stage_preset(stage, name)
        content = {**asdict(config), **asdict(config.shape())}
        inner = content.pop("arch", {})
        found |= {f"{stage}.{field}": value for field, value in content.items()}
        found |= {f"{stage}.arch.{field}": value for field, value in inner.items()}
    return found
