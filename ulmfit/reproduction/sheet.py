"""The results of an experiment as files: results.json for programs, results.csv a row a run, results.md to read.

In: `Results`. Out: the files, each whole or not at all, and labels.png where there were label budgets.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ulmfit import __version__
from ulmfit.evaluation.intervals import Interval
from ulmfit.evaluation.parts import between
from ulmfit.evaluation.plots import drawing
from ulmfit.evaluation.report import plain
from ulmfit.evaluation.targets import finished
from ulmfit.files import atomic_file, without_nan, write_json
from ulmfit.progress import duration
from ulmfit.reproduction.beside_stock import StageTime
from ulmfit.reproduction.labels_needed import Point, label_plot
from ulmfit.reproduction.results import Result, Summary

JSON, CSV, MARKDOWN, PICTURE = "results.json", "results.csv", "results.md", "labels.png"
_COLUMNS = (
    "row", "n_labels", "n_given", "seed", "direction", "split", "protocol", "n_documents", "lm_folder", "lm_seconds",
    "classifier_seconds", "answer_seconds", "folder",
)  # fmt: skip


@dataclass(frozen=True)
class Results:
    """All that came out of an experiment."""

    data_set: str
    preset: str
    table: int | None
    runs: tuple[Result, ...]
    summaries: tuple[Summary, ...]
    wholes: dict[str, Point]
    """With label budgets, what each baseline reaches with all labels."""
    sentences: tuple[str, ...] = ()
    """What the figures mean."""
    settings: tuple[str, ...] = ()
    """What was asked for beside the preset, as `--set` has it."""
    notes: tuple[str, ...] = ()
    """What the figures must not be read without."""
    stages: tuple[StageTime, ...] = ()
    """Where the time went beside stock fastai's, if that was asked for."""

    def __str__(self) -> str:
        return markdown(self)


def write_results(results: Results, out: Path) -> None:
    """Write the files of an experiment."""
    content = {"ulmfit": __version__, **asdict(results)}
    _write(out / JSON, lambda part: write_json(part, without_nan(content)))
    _write(out / CSV, lambda part: _write_csv(part, results.runs))
    _write(out / MARKDOWN, lambda part: _write_text(part, markdown(results)))
    if results.wholes:
        _write(out / PICTURE, lambda part: _write_picture(part, results))


def _write(path: Path, write: Callable[[Path], None]) -> None:
    with atomic_file(path) as part:
        write(part)


def _write_text(part: Path, text: str) -> None:
    part.write_text(text, encoding="utf-8", newline="\n")


def _write_picture(part: Path, results: Results) -> None:
    with drawing():
        label_plot(results.summaries, results.wholes).savefig(part, format="png", dpi=150)


def _write_csv(part: Path, runs: Sequence[Result]) -> None:
    names = [each.name for each in runs[0].baselines]
    with open(part, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*_COLUMNS, "accuracy", "low", "high", *names])
        for run in runs:
            a = run.accuracy
            facts = (getattr(run, name) for name in _COLUMNS)
            beside = (each.accuracy for each in run.baselines)
            writer.writerow([*facts, *(f"{x:.6f}" for x in (a.value, a.low, a.high, *beside))])


def markdown(results: Results) -> str:
    """Write the tables with their captions."""
    lines = [f"# {results.data_set}, preset {results.preset}", "", *_main_table(results), ""]
    for sentence in (*results.notes, *results.sentences):
        lines += [sentence, ""]
    if results.wholes:
        lines += [f"![accuracy over label budgets]({PICTURE})", ""]
    lines += [*_other_figures(results), *_times(results.runs), *_beside_stock(results.stages)]
    return "\n".join(lines) + "\n"


def _main_table(results: Results) -> Iterator[str]:
    """Set errors in percent beside the published ones and those of the baselines."""
    baselines = [b.name for b in results.summaries[0].baselines if b.name != "majority"]
    yield _row("row", "labels", "seeds", "error %", "sd", "theirs", "difference", *(f"{b}, error %" for b in baselines))  # fmt: skip
    yield _row(*["---"] * (7 + len(baselines)))
    for s in results.summaries:
        theirs = ("", "") if s.theirs is None else (f"{100 * s.theirs:.2f}", _difference(s))
        beside = (f"{100 * (1 - b.accuracy):.2f}" for b in s.baselines if b.name in baselines)
        sd = "" if math.isnan(s.spread.sd) else f"{100 * s.spread.sd:.2f}"
        name = plain(s.row or "ULMFiT")
        yield _row(name, f"{s.n_given:,}", _seeds(s.seeds), _shown(s.error), sd, *theirs, *beside)
    yield ""
    yield " ".join(_caption(results))


def _caption(results: Results) -> Iterator[str]:
    first, run = results.summaries[0], results.runs[0]
    several = "mean over seeds, " if len(first.seeds) > 1 else ""
    sizes = sorted({each.n_documents for each in results.runs})
    n = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    yield f"Ours: {run.direction}, {n} {run.split} documents, protocol {run.protocol}; {several}95 % interval over documents in brackets, sd over seeds."  # fmt: skip
    yield "Baselines had the same labels and answered the same documents."
    if results.settings:
        yield f"Other than in the preset: {', '.join(results.settings)}."
    sources = {(s.source, s.their_protocol) for s in results.summaries if s.source}
    for source, protocol in sorted(sources):
        yield f"Theirs: {source}; {protocol.replace('_', ' ')}. A published figure is taken as exact, so the interval of the difference is that of ours."  # fmt: skip


def _other_figures(results: Results) -> Iterator[str]:
    """List what else is published of this data set's test split."""
    rows = finished(results.data_set)
    if results.table is not None or not rows or results.runs[0].split != "test":
        return
    yield "What its authors and fastai published of classifiers that had all labels:"
    yield ""
    yield _row("direction", "error %", "source", "protocol")
    yield _row(*["---"] * 4)
    for t in rows:
        error = "" if t.error is None else f"{100 * t.error:.2f}"
        yield _row(t.direction, error, plain(t.source), t.protocol.replace("_", " "))
    yield ""


def _times(runs: Sequence[Result]) -> Iterator[str]:
    """Say where the time went; runs may share a language model."""
    yield "Seconds of training, and of answering:"
    yield ""
    yield _row("run", "language model", "classifier", "answers")
    yield _row(*["---"] * 4)
    for run in runs:
        seconds = (run.lm_seconds, run.classifier_seconds, run.answer_seconds)
        yield _row(run.folder or "this one", *(f"{s:,.1f}" for s in seconds))
    language_models = {run.lm_folder: run.lm_seconds for run in runs}
    total = sum(run.classifier_seconds + run.answer_seconds for run in runs)
    yield ""
    added = " Directions are added up: trained at the same time, two take as long as one." if any(run.direction == "both" for run in runs) else ""  # fmt: skip
    yield f"In all {duration(total + sum(language_models.values()))}; a language model that runs share is counted once.{added}"  # fmt: skip


def _beside_stock(stages: Sequence[StageTime]) -> Iterator[str]:
    """Say what stock fastai would need for the tokens of each stage."""
    if not stages:
        return
    yield ""
    yield "The same tokens with stock fastai:"
    yield ""
    yield _row("stage", "tokens", "seconds", "stock, seconds", "stock / ours")
    yield _row(*["---"] * 5)
    total = (
        sum(getattr(s, name) for s in stages) for name in ("tokens", "seconds", "stock_seconds")
    )
    for s in (*stages, StageTime("in all", *total)):
        ratio = f"{s.stock_seconds / s.seconds:.2f}" if s.seconds else ""
        yield _row(s.stage, f"{s.tokens:,}", f"{s.seconds:,.1f}", f"{s.stock_seconds:,.1f}", ratio)
    yield ""
    yield "Stock: the pace of fastai's own AWD-LSTM of these sizes, its loss and its Adam in float32, on batches of these texts, times the tokens; measured when this was written, on the machine as busy as it was then, without fastai's Learner, loader and tokenizer."  # fmt: skip


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(figure: Interval) -> str:
    return f"{100 * figure.value:.2f} {between(100 * figure.low, 100 * figure.high, '.2f')}"


def _difference(s: Summary) -> str:
    assert s.theirs is not None
    e, theirs = s.error, s.theirs
    ends = between(100 * (e.low - theirs), 100 * (e.high - theirs), "+.2f")
    return f"{100 * (e.value - theirs):+.2f} {ends}"


def _seeds(seeds: Sequence[int]) -> str:
    return " ".join(map(str, seeds)) if len(seeds) < 6 else f"{len(seeds)} seeds"
