"""The --help of a verb: its flags with their defaults and help texts, in lines that fit the terminal.

In: a dataclass of flags as it is when none is given. The help text of a field is the string under it.
"""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from itertools import pairwise
from typing import Any

_COLUMN = 28  # where the help texts begin
_METAVARS = {"Path": "PATH", "int": "N", "float": "X", "": "TEXT"}


def usage(flags: Any, verb: str) -> str:
    """Write the help of a verb."""
    positional = [f for f in fields(flags) if is_positional(f)]
    words = " ".join(field.name.upper() for field in positional)
    head = [f"usage: ulmfit {verb} {words}".rstrip() + " [--FLAG VALUE ...]", ""]
    return "\n".join([*head, *_paragraph(_summary(flags), ""), "", *_sections(flags, "")])


def flag_name(field: Field[Any]) -> str:
    """Give the flag of a field."""
    return f"--{field.name.replace('_', '-')}"


def is_positional(field: Field[Any]) -> bool:
    """Tell arguments that are known by their place from flags."""
    return "Positional" in str(field.type)


def _sections(flags: Any, preset: str) -> Iterator[str]:
    """Yield the lines of a dataclass's flags, then those of the configs in it; `preset` is set inside these."""
    texts, inner = _help_texts(type(flags)), []
    for field in sorted(fields(flags), key=lambda field: not is_positional(field)):
        value = getattr(flags, field.name)
        if is_dataclass(value):
            inner.append(value)
        else:
            yield from _entry(_left(field, value, is_config=bool(preset)), texts[field.name])
    preset = preset or getattr(flags, "preset", "")
    for config in inner:
        yield ""
        yield from _paragraph(f"{_summary(config)} Values of preset {preset}:", "")
        yield from _sections(config, preset)


def _left(field: Field[Any], value: object, *, is_config: bool) -> str:
    """Write a flag with its default; with the kind of value it takes where it has none."""
    if is_positional(field):
        return field.name.upper()
    if isinstance(value, bool):
        no = "[no-]" if field.type == "bool" else ""
        state = (" (on)" if value else " (off)") if no else ""
        return f"--{no}{flag_name(field)[2:]}{state}"
    if value in (None, "", ()) and not is_config:
        shown = next(v for kind, v in _METAVARS.items() if kind in str(field.type))
    else:
        shown = written(value)
    return f"{flag_name(field)} {shown}"


def written(value: object) -> str:
    """Write a value as one would on the command line."""
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return " ".join(map(written, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _entry(left: str, text: str) -> list[str]:
    """Set a flag beside its help text, or above it where it is too long."""
    lines = _paragraph(text, " " * _COLUMN)
    if len(left) + 4 > _COLUMN:
        return [f"  {left}", *lines]
    return [f"  {left}".ljust(_COLUMN) + lines[0].lstrip(), *lines[1:]]


def _paragraph(text: str, indent: str) -> list[str]:
    width = max(_COLUMN + 20, min(100, shutil.get_terminal_size().columns))
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


def _summary(flags: Any) -> str:
    return " ".join((type(flags).__doc__ or "").split())


def _help_texts(kind: type) -> dict[str, str]:
    """Read the strings under the fields of a dataclass, inherited ones included; None is `none` on the command line."""
    texts: dict[str, str] = {}
    for base in reversed([k for k in kind.__mro__ if is_dataclass(k)]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        for line, below in pairwise(getattr(definition, "body", [])):
            match line, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(str(text))):
                    texts[name] = re.sub(r"\bNone\b", "none", " ".join(text.split()))
    return texts
