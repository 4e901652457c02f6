"""An evaluation on disk: the report, the evidence that it shows as JSON, and every single answer as CSV.

In: `Evidence`. Out: a folder that is whole or absent, from which the report can be made again.
"""

from __future__ import annotations

import csv
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ulmfit.errors import UserError
from ulmfit.evaluation.answers import Answers
from ulmfit.evaluation.evidence import Evidence
from ulmfit.evaluation.gather import in_words
from ulmfit.evaluation.report import write_report
from ulmfit.files import (
    MANIFEST,
    UnixLines,
    atomic_file,
    atomic_folder,
    read_json,
    without_nan,
    write_json,
)
from ulmfit.inference.bulk import free_name
from ulmfit.models.parts import versions

KIND, FORMAT = "evaluation", 1
REPORT, EVIDENCE, PREDICTIONS = "report.html", "evaluation.json", "predictions.csv"


def write_evaluation(evidence: Evidence, out: str | Path) -> Path:
    """Write the folder `out`: report.html, report.md, evaluation.json and predictions.csv, one for each seed."""
    with atomic_folder(out, kind=KIND) as folder:
        write_files(evidence, folder)
        write_json(
            folder / MANIFEST, {"kind": KIND, "format": FORMAT, "versions": dict(versions())}
        )
    return Path(out)


def write_files(evidence: Evidence, folder: Path) -> None:
    """Write the files of an evaluation into a folder that may hold others, each of them whole or not at all."""
    write_report(evidence, folder / REPORT)
    # Escapes can say what UTF-8 cannot: half characters, which a text may hold.
    text = json.dumps(to_json(evidence), indent=1, allow_nan=False)
    with atomic_file(folder / EVIDENCE) as part:
        part.write_text(text + "\n", encoding="ascii")
    for name, rows in _predictions(evidence):
        with (
            atomic_file(folder / name) as part,
            open(part, "w", encoding="utf-8", errors="replace", newline="") as file,
        ):
            csv.writer(UnixLines(file)).writerows(rows)


def read_evaluation(folder: str | Path) -> Evidence:
    """Read the evidence in a folder that `write_evaluation` wrote; the single answers stay in their file."""
    path = Path(folder) / EVIDENCE
    if not path.is_file():
        raise UserError(f"{folder} is not the folder of an evaluation: make one with `ulmfit evaluate MODEL CORPUS`")  # fmt: skip
    try:
        return from_json(read_json(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is not the evidence of an evaluation ({error}): evaluate again") from error  # fmt: skip


def to_json(evidence: Evidence) -> dict[str, Any]:
    """Return everything but the single answers; a figure that is not defined becomes null."""
    content = without_nan(asdict(replace(evidence, predictions=None)))
    del content["predictions"]
    return content


def from_json(content: Mapping[str, Any]) -> Evidence:
    """Build the evidence again."""
    return build(Evidence, content)


def build(kind: Any, value: Any) -> Any:
    """Build a value of a type from JSON: dataclasses from objects, tuples from lists, nan from null."""
    options = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        if value is None:
            return None if types.NoneType in options else math.nan
        kinds = [option for option in options if option is not types.NoneType]
        return build(kinds[0], value) if len(kinds) == 1 else value
    if typing.get_origin(kind) is tuple:
        kinds = [options[0]] * len(value) if options[-1] is Ellipsis else options
        return tuple(map(build, kinds, value))
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        named = {f.name for f in fields(kind)}
        if unknown := set(value) - named:
            raise KeyError(", ".join(sorted(unknown)))
        return kind(**{name: build(hints[name], inner) for name, inner in value.items()})  # type: ignore[operator]
    if kind is float:
        return math.nan if value is None else float(value)
    return value


def _predictions(evidence: Evidence) -> Iterator[tuple[str, Iterator[list[Any]]]]:
    """Name the file of each seed's answers, and give its rows."""
    found = evidence.predictions
    if found is None:
        return
    for seed, answers in zip(evidence.seed_names, found.answers, strict=True):
        several = f"predictions-seed{seed}.csv"
        name = PREDICTIONS if len(found.answers) == 1 else several
        yield name, _rows(found.rows.tolist(), answers)


def _rows(rows: list[int], answers: Answers) -> Iterator[list[Any]]:
    """Give the header and a row for each document: its number in the corpus from 0, truth, answer and probabilities."""
    is_number = answers.kind == "number"
    header = ["row", "label", "predicted", *([] if is_number else ["confidence"])]
    for name in () if is_number else answers.names:
        header.append(free_name(name, header, "label_"))
    yield header
    for row, truth, said, scores in zip(rows, answers.labels, answers.predicted, answers.scores):
        if is_number:
            yield [row, float(truth), float(said)]
            continue
        words = (in_words(answers, label, separator=";") for label in (truth, said))
        sure = scores if answers.kind == "category" else np.maximum(scores, 1 - scores)
        confidence = sure.max() if answers.kind == "category" else sure.min()
        yield [row, *words, f"{confidence:.9g}", *(f"{score:.9g}" for score in scores)]
