"""The flags of every verb as dataclasses, and argv read into them. Imported when a verb runs, not for `ulmfit --help`.

The string under a field is its help text. A flag that is wrong is one line that names it.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from ulmfit.config import TextConfig
from ulmfit.config import preset as preset_named
from ulmfit.errors import UserError, nearest

Flags = TypeVar("Flags")
_CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone)
_FRAME = re.compile(r"[\u2500-\u257f]")  # the characters of tyro's boxes


@dataclass(frozen=True)
class SourceFlags:
    """Which texts are read, and how they become tokens."""

    source: Annotated[str, tyro.conf.Positional] = ""
    """A data set (see `ulmfit data`), a CSV, TSV, JSONL, Parquet or text file, or a folder. It comes before the flags."""
    text: tuple[str, ...] = ("text",)
    """Column of the texts, or several."""
    label: tuple[str, ...] = ("label",)
    """Column of the labels; several 0/1 columns for multi-label data; none to leave labels out."""
    split: str = ""
    """Column that says train, valid, test or unsup."""
    columns: tuple[str, ...] = ()
    """Names of the columns of a CSV file without header line."""
    valid: Path | None = None
    """A second file, for the validation split."""
    test: Path | None = None
    """A file for the test split."""
    unsup: Path | None = None
    """A file or folder of texts without labels."""
    data_dir: Path | None = None
    """Where the data sets lie or are downloaded to; by default the user's cache folder."""
    preset: str = "paper"
    """Where every flag below gets its default from (see ulmfit/config.py)."""
    json: bool = False
    """Print the result as JSON on stdout."""
    config: TextConfig = TextConfig()

    def documents(self) -> str | Mapping[str, str | Path]:
        """Return the source; a dict of splits if some have their own file."""
        others = {"valid": self.valid, "test": self.test, "unsup": self.unsup}
        named = {name: path for name, path in others.items() if path is not None}
        train = {"train": self.source} if self.source else {}
        return {**train, **named} if named else self.source

    def text_columns(self) -> str | tuple[str, ...]:
        """Return the one text column, or the several."""
        return self.text[0] if len(self.text) == 1 else self.text

    def label_columns(self) -> str | tuple[str, ...] | None:
        """Return the one label column, the several, or None."""
        if self.label in ((), ("none",)):
            return None
        return self.label[0] if len(self.label) == 1 else self.label

    def require_source(self, usage: str) -> None:
        """Refuse a call that names no texts."""
        if not self.source and not (self.valid or self.test or self.unsup):
            raise UserError(f"no SOURCE: write it before the flags, as in `{usage}`")


@dataclass(frozen=True)
class PrepareFlags(SourceFlags):
    """Turn texts into a corpus folder: vocabulary, tokenizer and ids. On unchanged input it is left as it is."""

    out: Path | None = None
    """The folder to write."""
    workers: int = 0
    """Processes that tokenize beside this one; 0 means that this one does it."""
    show: str = ""
    """A text to show every step of, instead of a SOURCE."""


@dataclass(frozen=True)
class CheckFlags(SourceFlags):
    """Say what is wrong with a data set, and what will be done about it, before any training."""


@dataclass(frozen=True)
class DoctorFlags:
    """Look at this installation: versions, processor, threads, disk, and what each missing extra would enable."""

    data_dir: Path | None = None
    """Where the data sets lie; by default the user's cache folder."""
    json: bool = False
    """Print the result as JSON on stdout."""


@dataclass(frozen=True)
class DataFlags:
    """List the registered data sets, their licences, and which of them are here."""

    data_dir: Path | None = None
    """Where the data sets lie; by default the user's cache folder."""
    json: bool = False
    """Print the result as JSON on stdout."""


@dataclass(frozen=True)
class GenerateFlags:
    """Let a language model continue a text. The new text goes to stdout, without the prompt."""

    lm: Annotated[str, tyro.conf.Positional] = ""
    """The folder of a language model."""
    prompt: Annotated[str, tyro.conf.Positional] = ""
    """The text to go on from, in quotes; without one, a new document begins."""
    n_tokens: int = 50
    """How many tokens to write; a word and the mark of its capital letter are two."""
    temperature: float = 1.0
    """Below 1 likely words become likelier; 0 always takes the likeliest."""
    top_k: int | None = None
    """Choose among this many of the likeliest tokens."""
    top_p: float | None = None
    """Choose among the likeliest tokens that together have this probability."""
    min_p: float | None = None
    """Choose among tokens at least this share as probable as the likeliest one."""
    seed: int | None = None
    """The same seed writes the same text."""
    stop_at_document: bool = False
    """Stop where the model would begin a new document."""
    json: bool = False
    """Print the result as JSON on stdout."""


@dataclass(frozen=True)
class ConvertFlags:
    """Turn weights of fastai, fastai_ulmfit or MultiFiT into a language model's folder, or one into fastai's files."""

    source: Annotated[str, tyro.conf.Positional] = ""
    """A .pth or .h5 file, or the folder of a model. It comes before the flags."""
    vocab: Path | None = None
    """The file of the vocabulary, if it is not the only one beside the weights."""
    out: Path | None = None
    """The folder to write."""
    direction: str = ""
    """forward or backward; by default backward if the path says so (bwd)."""
    to: str = "ulmfit"
    """ulmfit, or fastai to write lm_model.pth, lm_encoder.pth and lm_vocab.pkl from a language model's folder."""
    json: bool = False
    """Print the result as JSON on stdout."""


def parse(flags: type[Flags], verb: str, argv: Sequence[str]) -> Flags:
    """Read the flags of a verb; `--preset` sets the defaults of those that are not given."""
    names = _names(flags)
    if issubclass(flags, SourceFlags):
        default: Any = flags(config=preset_named(_preset_of(argv)))
    else:
        default = flags()
    parsed, unknown = _run_tyro(default, verb, argv)
    if unknown:
        first = unknown[0]
        if first.startswith("-"):
            raise UserError(f"{verb}: unknown flag {first}: {nearest(first, names)}")
        raise UserError(
            f"{verb}: {first!r} is one argument too many; a name with spaces needs quotes"
        )
    return parsed


def _run_tyro(default: Flags, verb: str, argv: Sequence[str]) -> tuple[Flags, list[str]]:
    """Let tyro parse; what it would draw as a box becomes one line."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                type(default),
                prog=f"ulmfit {verb}",
                args=list(argv),
                default=default,
                config=_CONFIG,
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if not stop.code:  # --help
            raise
        raise UserError(
            f"{verb}: {_first_paragraph(said.getvalue())} (see ulmfit {verb} --help)"
        ) from None


def _first_paragraph(box: str) -> str:
    """Take the message out of the frame that tyro draws: what stands between the title and the first rule."""
    paragraph: list[str] = []
    for line in box.splitlines()[1:]:
        words = _FRAME.sub("", line).split()
        if not words:
            break
        paragraph += words
    return " ".join(paragraph) or "the flags are wrong"


def _names(flags: type[Any]) -> list[str]:
    """List the flags of a dataclass, those of its config included."""
    found = []
    for field in fields(flags):
        value = field.default
        if "Positional" in str(field.type):
            continue
        found += (
            _names(type(value)) if is_dataclass(value) else [f"--{field.name.replace('_', '-')}"]
        )
    return found


def _preset_of(argv: Sequence[str]) -> str:
    """Find the preset before the flags are parsed, since it is where their defaults come from."""
    chosen = "paper"
    for flag, value in zip(argv, [*argv[1:], ""]):
        if flag == "--preset":
            chosen = value
        elif flag.startswith("--preset="):
            chosen = flag.partition("=")[2]
    return chosen
