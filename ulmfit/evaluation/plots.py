"""Pictures of evidence as matplotlib Figures, made without pyplot: no window, no state, any thread.

Label names are a user's words: they are never read as mathematics, and long ones are cut.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ulmfit.evaluation.calibration import Bin
from ulmfit.evaluation.evidence import Grid, LabelRow

INK, BLUE, ORANGE, PALE = "#222222", "#1f5fa8", "#c8611a", "#c9c9c9"
WIDTH = 5.2  # inches: the letters stay readable on a phone
MOST_NUMBERS = 14  # labels up to which each cell of a confusion matrix carries its count
NAME_LENGTH = 22
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#888888",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # letters stay letters: small, selectable, in any script the reader has
    "svg.hashsalt": "ulmfit",  # the same figure gives the same bytes
}


@contextmanager
def drawing() -> Generator[None]:
    """Set the style for what is drawn or saved inside."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # Glyphs that matplotlib's own font lacks are drawn by the reader's browser.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def reliability_plot(before: Sequence[Bin], after: Sequence[Bin] = ()) -> Figure:
    """Draw accuracy against confidence, with Wilson intervals, before and after temperature scaling."""
    with drawing():
        figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=PALE, linestyle="--", label="perfect")
        _draw_bins(axes, before, ORANGE, "o", "before" if after else "measured")
        if after:
            _draw_bins(axes, after, BLUE, "s", "after temperature scaling")
        lowest = min(b.confidence for b in (*before, *after))
        axes.set(xlabel="confidence", ylabel="accuracy", ylim=(-0.02, 1.02))
        axes.set_xlim(max(0, lowest - 0.05), 1.02)
        axes.legend(frameon=False, loc="lower right")
    return figure


def _draw_bins(axes: Axes, bins: Sequence[Bin], color: str, marker: str, name: str) -> None:
    accuracy = np.array([[b.accuracy.low, b.accuracy.value, b.accuracy.high] for b in bins]).T
    reach = np.abs(accuracy[[0, 2]] - accuracy[1])
    x = [b.confidence for b in bins]
    axes.errorbar(
        x, accuracy[1], yerr=reach, color=color, marker=marker, markersize=4, capsize=2, label=name
    )


def confusion_plot(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> Figure:
    """Draw a confusion matrix; colours are shares of the true label, numbers are documents."""
    table = np.asarray(confusion, dtype=float)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    n = len(names)
    side = min(max(WIDTH, 0.45 * n + 2), 14)
    with drawing():
        figure = Figure(figsize=(side, 0.85 * side), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        across = [short(name, 12) for name in names]
        axes.set_xticks(range(n), across, rotation=90 if n > 4 else 0)
        axes.set_yticks(range(n), [short(name) for name in names])
        axes.set(xlabel="predicted", ylabel="true")
        axes.spines[:].set_visible(False)
        figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true label")
        if n <= MOST_NUMBERS:
            _write_counts(axes, table, shares)
    return figure


def _write_counts(axes: Axes, table: np.ndarray, shares: np.ndarray) -> None:
    for (row, column), count in np.ndenumerate(table):
        color = "white" if shares[row, column] > 0.55 else INK
        axes.text(column, row, f"{int(count):,}", ha="center", va="center", color=color, fontsize=9)


def label_bars(rows: Sequence[LabelRow]) -> Figure:
    """Draw F1 of each label as a bar with its interval, the best on top."""
    ordered = sorted(rows, key=lambda row: np.nan_to_num(row.f1.value, nan=-1))
    values = np.nan_to_num([[row.f1.low, row.f1.value, row.f1.high] for row in ordered]).T
    with drawing():
        figure = Figure(figsize=(WIDTH, max(1.6, 0.3 * len(rows) + 0.8)), layout="constrained")
        axes = figure.subplots()
        axes.barh(
            [str(place) for place in range(len(rows))],
            values[1],
            xerr=np.abs(values[[0, 2]] - values[1]),
            color=BLUE,
            ecolor=INK,
            capsize=2,
            height=0.65,
        )
        axes.set_yticks(range(len(rows)), [short(row.name) for row in ordered])
        axes.set(xlim=(0, 1.02), xlabel="F1")
        axes.margins(y=0.02)
    return figure


def curves_plot(history: Grid) -> Figure:
    """Draw the losses of a history over its first column, and below them its figures between 0 and 1."""
    first, *names = history.columns
    series = {name: _numbers(history, place) for place, name in enumerate(names, start=1)}
    losses = [name for name in names if "loss" in name]
    shares = [name for name in names if name not in losses and _is_share(series[name])]
    groups = [group for group in (losses, shares) if group] or [[]]
    steps = _numbers(history, 0)
    if not (np.diff(steps) > 0).all():  # a word, or a counter that starts anew with each phase
        first, steps = "row of the history", np.arange(1, len(history.rows) + 1)
    with drawing():
        figure = Figure(figsize=(WIDTH, 1 + 2 * len(groups)), layout="constrained")
        panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
        for axes, group in zip(panels, groups):
            for name in group:
                axes.plot(steps, series[name], marker="o", markersize=3, label=name)
            if group:
                axes.legend(frameon=False, fontsize=9)
        panels[-1].set_xlabel(first)
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=not (steps % 1).any()))
    return figure


def schedule_plot(schedule: Grid) -> Figure:
    """Draw the learning rate of each layer group over the batches; where a group is frozen, its line has a gap."""
    first, *names = schedule.columns
    steps = _numbers(schedule, 0)
    with drawing():
        figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
        axes = figure.subplots()
        curves = _distinct([(n, _numbers(schedule, place)) for place, n in enumerate(names, 1)])
        colors = matplotlib.colormaps["viridis"](np.linspace(0.85, 0.1, len(curves)))
        for (name, rates), color in zip(curves, colors):
            axes.plot(steps, np.where(rates > 0, rates, np.nan), color=color, label=name)
        axes.set(xlabel=first, ylabel="learning rate", ylim=(0, None))
        axes.set_xlim(steps[0], steps[-1] if len(steps) > 1 else None)
        # From the top of the network to its bottom, as the lines lie.
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], frameon=False, fontsize=9)
    return figure


def _distinct(curves: Sequence[tuple[str, np.ndarray]]) -> list[tuple[str, np.ndarray]]:
    """Draw neighbours that never differ as one line: one would hide the other."""
    groups = [list(same) for _, same in groupby(curves, key=lambda curve: curve[1].tolist())]
    named = (" to ".join(dict.fromkeys((same[0][0], same[-1][0]))) for same in groups)
    return [(name, same[0][1]) for name, same in zip(named, groups)]


def _numbers(history: Grid, column: int) -> np.ndarray:
    return np.array([_number(row[column]) for row in history.rows])


def _number(cell: str | float) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _is_share(values: np.ndarray) -> bool:
    known = values[np.isfinite(values)]
    return len(known) > 0 and bool(((known >= 0) & (known <= 1)).all()) and bool((known % 1).any())


def short(name: str, length: int = NAME_LENGTH) -> str:
    """Cut a long name."""
    return name if len(name) <= length else name[: length - 1] + "…"


def svg(figure: Figure) -> str:
    """Return a figure as the text of an SVG file, without date or address."""
    file = io.StringIO()
    with drawing():
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=nothing)
    figure.set_layout_engine("none")  # laid out once: a second time would move it by a hair
    return file.getvalue()


def data_uri(figure: Figure) -> str:
    """Return a figure as the address of a picture that carries itself."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg(figure).encode()).decode()}"
