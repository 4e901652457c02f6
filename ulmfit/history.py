"""What a training leaves to look at: a row an epoch, a row every so many steps, both as CSV and as one picture.

In: rows, from a training or from the files of its folder. Out: files that come back exactly, and a Figure.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulmfit.errors import UserError
from ulmfit.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HISTORY, STEPS = "history.csv", "steps.csv"
_GROUP = "lr_"  # steps.csv: lr_1 is the bottom layer group's rate
_TRAIN, _VALID, _FAINT = "#7aa6c9", "#c8502f", "#8a8a8a"
_LONGEST_TITLE = 80


@dataclass(frozen=True)
class EpochRow:
    """One epoch; NaN where a figure was not measured."""

    epoch: int
    """Counted from 1, like `phase`."""
    phase: int
    lr: float
    train_loss: float
    valid_loss: float
    accuracy: float
    perplexity: float
    bits_per_character: float
    tokens: int
    tokens_per_second: float
    seconds: float


@dataclass(frozen=True)
class StepRow:
    """One moment of a training."""

    step: int
    """Batches read so far, in all epochs."""
    loss: float
    """Of the training batches, smoothed."""
    lrs: tuple[float, ...]
    """Learning rate of each layer group, bottom first; 0 where it is frozen."""
    momentum: float


@dataclass(frozen=True)
class TrainingProgress:
    """How far a training is: what a progress bar shows."""

    stage: str
    direction: str
    epoch: int
    """Counted from 1."""
    n_epochs: int
    batch: int
    n_batches: int
    loss: float
    """Of the training batches, smoothed."""
    tokens_per_second: float
    seconds_left: float
    epoch_row: EpochRow | None = None
    """Given once, when an epoch is complete."""
    notice: str = ""
    """Something to tell the user beside the numbers."""

    @classmethod
    def saying(cls, notice: str, *, stage: str, direction: str) -> TrainingProgress:
        """Carry a notice before there are numbers."""
        nan = math.nan
        return cls(stage, direction, 0, 0, 0, 0, nan, nan, nan, notice=notice)


def history_csv(rows: Iterable[EpochRow]) -> str:
    """Give the text of history.csv."""
    return _csv([f.name for f in fields(EpochRow)], map(asdict, rows))


def write_history(path: str | Path, rows: Iterable[EpochRow]) -> None:
    """Write history.csv, whole or not at all."""
    with atomic_file(Path(path)) as part:
        part.write_text(history_csv(rows), encoding="utf-8", newline="")


def read_history(path: str | Path) -> list[EpochRow]:
    """Read history.csv."""
    return _read(Path(path), _epoch_row)


def steps_csv(rows: Sequence[StepRow]) -> str:
    """Give the text of steps.csv, with one column for each layer group."""
    n_groups = len(rows[0].lrs) if rows else 0
    groups = [f"{_GROUP}{number}" for number in range(1, n_groups + 1)]
    plain = (
        {"step": r.step, "loss": r.loss, "momentum": r.momentum, **dict(zip(groups, r.lrs))}
        for r in rows
    )
    return _csv(["step", "loss", "momentum", *groups], plain)


def read_steps(path: str | Path) -> list[StepRow]:
    """Read steps.csv."""

    def parse(row: dict[str, str]) -> StepRow:
        lrs = tuple(float(value) for name, value in row.items() if name.startswith(_GROUP))
        return StepRow(int(row["step"]), float(row["loss"]), lrs, float(row["momentum"]))

    return _read(Path(path), parse)


def plot_history(
    epochs: Sequence[EpochRow], steps: Sequence[StepRow] = (), *, title: str = ""
) -> Figure:
    """Draw the losses and the learning rates of a training that the rows cover from beginning to end.

    Without steps, an epoch's figures stand at its end.
    """
    figure = _new_figure()
    losses, rates = figure.subplots(1, 2)
    ends = _epoch_ends(epochs, steps)
    _draw_losses(losses, epochs, steps, ends)
    _draw_rates(rates, epochs, steps, ends)
    for axes in (losses, rates):
        _finish(axes, epochs, ends, unit="step" if steps else "epoch")
    if title:
        shown = title if len(title) <= _LONGEST_TITLE else f"...{title[3 - _LONGEST_TITLE :]}"
        figure.suptitle(shown, fontsize=10, parse_math=False)  # a $ in a path is no formula
    return figure


def _new_figure() -> Figure:
    """Make a figure that a notebook shows; without pyplot it would not know how."""
    from matplotlib.figure import Figure

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            content = io.BytesIO()
            self.savefig(content, format="png")
            return content.getvalue()

    return Picture(figsize=(8, 3.4), layout="constrained")


def _epoch_ends(epochs: Sequence[EpochRow], steps: Sequence[StepRow]) -> list[float]:
    """Find the steps at which epochs end: they share the steps in proportion to their tokens."""
    if not steps:
        return [float(row.epoch) for row in epochs]
    read = list(itertools.accumulate(row.tokens for row in epochs))
    return [steps[-1].step * tokens / max(1, read[-1]) for tokens in read]


def _draw_losses(
    axes: Axes, epochs: Sequence[EpochRow], steps: Sequence[StepRow], ends: list[float]
) -> None:
    if steps:
        where, losses = [row.step for row in steps], [row.loss for row in steps]
        axes.plot(where, losses, color=_TRAIN, label="training, smoothed")
    else:
        axes.plot(ends, [r.train_loss for r in epochs], "o-", ms=4, color=_TRAIN, label="training")
    valid = [(end, row.valid_loss) for end, row in zip(ends, epochs)]
    measured = [(end, loss) for end, loss in valid if math.isfinite(loss)]
    if measured:
        axes.plot(*zip(*valid), "o-", ms=4, color=_VALID, label="validation")
        axes.annotate(
            f"{measured[-1][1]:.3f}", measured[-1], (6, 0), textcoords="offset points",
            color=_VALID, fontsize=8, va="center",
        )  # fmt: skip
    is_of_tokens = any(math.isfinite(row.perplexity) for row in epochs)
    axes.set_title("loss of a token (nats)" if is_of_tokens else "loss", fontsize=10)
    axes.legend(fontsize=8, frameon=False)


def _draw_rates(
    axes: Axes, epochs: Sequence[EpochRow], steps: Sequence[StepRow], ends: list[float]
) -> None:
    axes.set_title("learning rate" if steps else "learning rate at the end", fontsize=10)
    if not steps:
        axes.plot(ends, [row.lr for row in epochs], "o-", ms=4, color=_TRAIN)
        return
    where = [row.step for row in steps]
    curves = _distinct_curves(steps)
    for number, (label, curve) in enumerate(curves.items()):
        shade = 0.15 + 0.65 * (number + 1) / len(curves)
        axes.plot(where, curve, color=(0.1, 0.35, 0.55, shade), label=label)
    momentum = axes.twinx()
    momentum.plot(where, [row.momentum for row in steps], "--", lw=0.8, color=_FAINT, alpha=0.6)
    momentum.set_ylim(0, 1)
    momentum.set_ylabel("momentum (dashed)", fontsize=8, color=_FAINT)
    momentum.tick_params(labelsize=8, labelcolor=_FAINT)
    momentum.spines[["top", "left"]].set_visible(False)
    axes.set_zorder(momentum.get_zorder() + 1)  # the legend hides the dashes behind it
    axes.patch.set_visible(False)
    if len(curves) > 1:
        axes.legend(fontsize=8, edgecolor="none", title="layer groups", title_fontsize=8)


def _distinct_curves(steps: Sequence[StepRow]) -> dict[str, list[float]]:
    """Name the rates over the steps, top group last; neighbours that never differ are one curve."""
    n_groups = len(steps[0].lrs)
    curves = {}
    numbered = enumerate(zip(*(row.lrs for row in steps)), 1)
    for curve, same in itertools.groupby(numbered, key=lambda item: item[1]):
        numbers = [number for number, _ in same]
        name = "-".join(map(str, sorted({numbers[0], numbers[-1]})))
        top = " (top)" if numbers[-1] == n_groups else ""
        # A frozen group has no rate: a gap tells more than a line along the bottom.
        curves[name + top] = [rate or math.nan for rate in curve]
    return curves


def _finish(axes: Axes, epochs: Sequence[EpochRow], ends: list[float], *, unit: str) -> None:
    """Mark where a phase ends, and leave out what is not needed to read the picture."""
    for end, (row, following) in zip(ends, itertools.pairwise(epochs)):
        if row.phase != following.phase:
            axes.axvline(end, color=_FAINT, lw=0.8, ls=":")
    axes.set_xlabel(unit, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.locator_params("x", integer=True)


def _csv(names: list[str], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _read(path: Path, parse: Callable[[dict[str, str]], Any]) -> list[Any]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [parse(row) for row in csv.DictReader(file, restkey="", strict=True)]
    except FileNotFoundError:
        raise UserError(f"{path} is missing: give the folder of a trained model") from None
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path} is not the history of a training ({error}): remove it") from error


def _epoch_row(row: dict[str, str]) -> EpochRow:
    values: dict[str, Any] = {
        f.name: (int if f.type == "int" else float)(row[f.name]) for f in fields(EpochRow)
    }
    return EpochRow(**values)
