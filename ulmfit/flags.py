"""argv read into a dataclass of flags. Imported when a verb runs, not for `ulmfit --help`.

A field is a flag, the fields of its `config` are flags too, and a preset supplies the defaults. A flag that
is wrong is one line that names it.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from itertools import chain, dropwhile, takewhile
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from ulmfit.errors import UserError, nearest
from ulmfit.usage import flag_name, is_positional, usage, written

Flags = TypeVar("Flags")
Positional = Annotated[str, tyro.conf.Positional]
Positionals = Annotated[tuple[str, ...], tyro.conf.Positional]
# Off unless it is given; any other flag that is on or off also has its --no-..., since a preset may set it.
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Repeated = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]  # --flag A --flag B
_FRAME = re.compile(
    r"[\u2500-\u257f]|^\s*-{3,}\s*$"
)  # tyro's boxes; where the encoding has none, rules of hyphens
_NUMBERS: dict[Any, str] = {int: "a whole number", float: "a number"}
_registry = ConstructorRegistry()


def parse(flags: type[Flags], verb: str, argv: Sequence[str]) -> Flags:
    """Read the flags of a verb; `--preset` sets the defaults of those that are not given."""
    of_preset = getattr(flags, "of_preset", None)
    default = of_preset(_preset_of(argv, getattr(flags, "preset", ""))) if of_preset else flags()
    if {"-h", "--help"} & set(argv):
        print(usage(default, verb))
        raise SystemExit(0)
    parsed, unknown = _run_tyro(default, verb, argv)
    if unknown:
        first = unknown[0]
        if first.startswith("-"):
            raise UserError(f"{verb}: unknown flag {first}: {nearest(first, _names(default))}")
        raise UserError(
            f"{verb}: {first!r} is one argument too many; a name with spaces needs quotes"
        )
    return parsed


def _run_tyro(default: Flags, verb: str, argv: Sequence[str]) -> tuple[Flags, list[str]]:
    """Let tyro parse; what it would draw as a box becomes one line."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), _registry:
            return tyro.cli(
                type(default),
                prog=f"ulmfit {verb}",
                args=list(argv),
                default=default,
                config=(tyro.conf.OmitArgPrefixes,),
                return_unknown_args=True,
            )
    except SystemExit:
        raise UserError(
            f"{verb}: {_first_paragraph(said.getvalue())} (see ulmfit {verb} --help)"
        ) from None


def _first_paragraph(box: str) -> str:
    """Take the message out of the frame that tyro draws: what stands between the title and the first rule."""
    lines = [_FRAME.sub("", line).split() for line in box.splitlines()[1:]]
    paragraph = takewhile(bool, dropwhile(lambda words: not words, lines))
    return (
        " ".join(chain.from_iterable(paragraph)).removeprefix("Error parsing ")
        or "the flags are wrong"
    )


@_registry.primitive_rule
def _number_or_none(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Read numbers and tuples of them, and what may be None, which is written none."""
    kinds = [k for k in get_args(info.type) if k is not NoneType]
    is_optional = NoneType in get_args(info.type) and len(kinds) == 1
    kind = kinds[0] if is_optional else info.type
    is_tuple = get_origin(kind) is tuple
    item = get_args(kind)[0] if is_tuple else kind
    if not (is_optional or item in _NUMBERS):
        return None
    empty = None if is_optional else ()

    def read(words: list[str]) -> Any:
        if words == ["none"] and (is_optional or is_tuple):
            return empty
        values = tuple(_read(item, word, ", or none" * is_optional) for word in words)
        return values if is_tuple else values[0]

    return PrimitiveConstructorSpec(
        nargs="*" if is_tuple else 1,
        metavar=getattr(item, "__name__", "value").upper(),
        instance_from_str=read,
        is_instance=lambda value: True,
        str_from_instance=lambda value: written(value).split(),
    )


def _read(kind: type, word: str, otherwise: str) -> Any:
    """Read one value, or say what it should be."""
    if not word and issubclass(kind, Path):  # Path("") is the current folder
        raise ValueError("'' names no file and no folder")
    try:
        return kind(word)
    except ValueError:
        raise ValueError(f"{word!r} is not {_NUMBERS[kind]}{otherwise}") from None


def _names(flags: Any) -> list[str]:
    """List the flags of a dataclass, those of its config included."""
    found: list[str] = []
    for field in fields(flags):
        value = getattr(flags, field.name)
        if is_dataclass(value):
            found += _names(value)
        elif not is_positional(field):
            found.append(flag_name(field))
    return found


def _preset_of(argv: Sequence[str], default: str) -> str:
    """Find the preset before the flags are parsed, since it is where their defaults come from."""
    chosen = default
    for word, after in zip(argv, [*argv[1:], None]):
        name, equals, value = word.partition("=")
        if name == "--preset":
            chosen = value if equals else after or chosen
    return chosen
