"""The verb `predict`: a classifier and a source of texts -> answers in their order, as CSV or JSON lines."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from ulmfit.errors import UserError
from ulmfit.files import UnixLines, atomic_file, without_nan
from ulmfit.flags import parse
from ulmfit.output import print_result, say
from ulmfit.progress import Progress
from ulmfit.text.cells import is_missing
from ulmfit.text.rows import Rows, lines_of, texts_of
from ulmfit.verb_flags import PredictFlags

if TYPE_CHECKING:
    from ulmfit.inference.bulk import AnswerTable
    from ulmfit.inference.classifier import Classifier
    from ulmfit.models.precision import Precision
    from ulmfit.text.documents import Source

    Write = Callable[[Sequence[object]], None]

_USAGE = "`ulmfit predict MODEL reviews.csv --out answers.csv`"
STDIN = "-"


def predict(argv: Sequence[str]) -> None:
    """Answer for every text of a source."""
    flags = parse(PredictFlags, "predict", argv)
    _require_paths(flags)
    source = _source(flags)
    classifier = _classifier(flags.model)
    rows = Rows(source, () if flags.text else classifier.parts.text.columns)
    from ulmfit.inference.bulk import AnswerTable

    table = AnswerTable(
        classifier, rows, cast("Precision", flags.precision), flags.direction or None
    )
    if flags.out is None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="replace", newline="\n")
        _write(table, sys.stdout, is_json=flags.json)
        return
    is_json = flags.out.suffix.lower() == ".jsonl"
    with atomic_file(flags.out) as part, _opened(part) as file:
        n_texts, found = _write(table, file, is_json=is_json)
    say(f"wrote {flags.out}")
    counts = {str(name): found[name] for name in classifier.labels if name in found}
    summary = {"texts": n_texts, "labels": counts, "out": str(flags.out)}
    shown = ", ".join(f"{name} {n:,}" for name, n in counts.items())
    print_result(summary if flags.json else f"{n_texts:,} texts: {shown}".rstrip(": "))


def _opened(path: Path) -> TextIO:
    """Open a file for text as it is: half a surrogate pair, which is none, becomes a question mark."""
    return path.open("w", encoding="utf-8", errors="replace", newline="")


def _require_paths(flags: PredictFlags) -> None:
    """Refuse what is wrong with the folders and files before anything slow is imported."""
    for place, name in ((flags.model, "MODEL"), (flags.source, "SOURCE")):
        if not place:
            raise UserError(f"no {name}: write it before the flags, as in {_USAGE}")
    model, out = Path(flags.model), flags.out
    if model.is_file():
        raise UserError(f"{model} is a file, and MODEL, a folder, comes first: {_USAGE}")
    if out is None:
        return
    if out.suffix.lower() not in (".csv", ".jsonl"):
        raise UserError(f"--out is {out}; allowed: a file that ends in .csv or .jsonl")
    if out.is_dir():
        raise UserError(f"--out {out} is a folder: name a file")
    if out.resolve() == Path(flags.source).resolve():
        raise UserError(f"--out {out} is what is read: choose another file")


def _source(flags: PredictFlags) -> Source:
    if flags.source == STDIN:
        return lines_of(sys.stdin.buffer)
    text = flags.text[0] if len(flags.text) == 1 else flags.text or "text"
    return texts_of(flags.source, text=text, columns=flags.columns or None, data_dir=flags.data_dir)


def _classifier(folder: str) -> Classifier:
    from ulmfit.inference.classifier import Classifier

    return Classifier.load(folder)


def _write(table: AnswerTable, file: TextIO, *, is_json: bool) -> tuple[int, Counter[str]]:
    """Write all answers, and count them, also by label: a text may have several, or none."""
    n, columns, found = 0, table.columns(), Counter[str]()
    is_shown = not (file is sys.stdout and file.isatty())
    with contextlib.closing(Progress()) as progress:
        answers = table.answers()
        first = list(islice(answers, 1))  # where it fails, nothing is written yet
        write = _json_lines(file, columns) if is_json else _csv(file, columns)
        for n, (row, answer) in enumerate(chain(first, answers), 1):
            write(table.cells(row, answer))
            if not isinstance(answer.label, float):
                found.update(names if isinstance(names := answer.label, tuple) else [str(names)])
            if is_shown:
                progress("texts", n)
    return n, found


def _csv(file: TextIO, columns: Sequence[str]) -> Write:
    writer = csv.writer(UnixLines(file))
    writer.writerow(columns)
    return lambda cells: writer.writerow(map(_cell, cells))


def _cell(value: object) -> str:
    """Write a cell of CSV."""
    if is_missing(value):
        return ""
    if isinstance(value, tuple):
        return ";".join(value)
    return _json(value) if isinstance(value, (list, dict)) else str(value)


def _json_lines(file: TextIO, columns: Sequence[str]) -> Write:
    def write(cells: Sequence[object]) -> None:
        known = (None if is_missing(cell) else cell for cell in cells)
        file.write(_json(dict(zip(columns, known))) + "\n")

    return write


def _json(value: object) -> str:
    return json.dumps(without_nan(value), ensure_ascii=False, default=str, allow_nan=False)
