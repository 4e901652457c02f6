"""Pictures: what they show is read back from their artists, and what they are saved as from the SVG."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from made_evidence import NAMES, made_evidence
from matplotlib.figure import Figure

from ulmfit.evaluation.calibration import Bin
from ulmfit.evaluation.evidence import Evidence, Grid
from ulmfit.evaluation.intervals import wilson
from ulmfit.evaluation.plots import (
    NAME_LENGTH,
    confusion_plot,
    curves_plot,
    data_uri,
    label_bars,
    reliability_plot,
    schedule_plot,
    short,
    svg,
)


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return made_evidence(n=120)


def letters_of(figure: Figure) -> list[str]:
    """The pieces of text of a saved figure."""
    root = ElementTree.fromstring(svg(figure))
    return [text for element in root.iter() if (text := (element.text or "").strip())]


def test_reliability_plot_shows_the_bins() -> None:
    bins = [Bin(10, 0.55, wilson(5, 10)), Bin(30, 0.95, wilson(27, 30))]
    (axes,) = reliability_plot(bins).axes
    points = next(line for line in axes.lines if line.get_marker() == "o")
    np.testing.assert_allclose(points.get_xydata(), [[0.55, 0.5], [0.95, 0.9]])
    assert axes.get_xlim()[0] <= 0.5
    assert "measured" in letters_of(axes.figure)


def test_both_curves_are_named() -> None:
    bins = [Bin(10, 0.55, wilson(5, 10))]
    letters = letters_of(reliability_plot(bins, bins))
    assert {"before", "after temperature scaling"} <= set(letters)


def test_confusion_plot_shows_counts_and_shares_of_the_true_label() -> None:
    figure = confusion_plot(((3, 1), (0, 1234)), ("ham", "spam"))
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 1]])
    assert [text.get_text() for text in axes.texts] == ["3", "1", "0", "1,234"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["ham", "spam"]


def test_a_confusion_matrix_of_many_labels_has_no_numbers() -> None:
    figure = confusion_plot(np.eye(77, dtype=int).tolist(), [f"intent {n}" for n in range(77)])
    assert not figure.axes[0].texts
    assert figure.get_figwidth() <= 14


def test_bars_of_the_labels_stand_for_f1(evidence: Evidence) -> None:
    (axes,) = label_bars(evidence.labels).axes
    widths = [patch.get_width() for patch in axes.patches]
    assert widths == sorted(row.f1.value for row in evidence.labels)


def test_curves_are_drawn_over_the_first_column(evidence: Evidence) -> None:
    losses, shares = curves_plot(evidence.courses[0].history).axes
    assert [line.get_label() for line in losses.lines] == ["train_loss", "valid_loss"]
    assert [line.get_label() for line in shares.lines] == ["accuracy"]
    assert losses.lines[0].get_xdata().tolist() == [1, 2, 3, 4, 5]
    assert shares.get_xlabel() == "epoch"


def test_a_frozen_group_has_no_line() -> None:
    grid = Grid(("batch", "layer 1", "head"), ((1, 0.0, 0.1), (2, 0.0, 0.2), (3, 0.05, 0.1)))
    (axes,) = schedule_plot(grid).axes
    lower, head = axes.lines
    np.testing.assert_array_equal(lower.get_ydata(), [np.nan, np.nan, 0.05])
    assert head.get_ydata().tolist() == [0.1, 0.2, 0.1]
    assert [text.get_text() for text in axes.get_legend().texts] == ["head", "layer 1"]
    schedule_plot(Grid(("batch", "head"), ((1, 0.1),)))  # one row only


def test_groups_of_one_rate_are_one_line() -> None:
    grid = Grid(("batch", "embedding", "layer 1", "head"), ((1, 0.1, 0.1, 0.2), (2, 0.2, 0.2, 0.2)))
    (axes,) = schedule_plot(grid).axes
    assert [line.get_label() for line in axes.lines] == ["embedding to layer 1", "head"]


def test_a_history_that_starts_anew_is_drawn_row_by_row() -> None:
    rows = ((1, "0.5", "0:10"), (2, "0.4", ""), (1, "0.3", "0:12"))
    (axes,) = curves_plot(Grid(("epoch", "valid_loss", "time"), rows)).axes
    assert axes.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert axes.lines[0].get_ydata().tolist() == [0.5, 0.4, 0.3]
    assert len(axes.lines) == 1


@pytest.mark.filterwarnings("error")
def test_names_are_shown_as_they_are(evidence: Evidence) -> None:
    """No mathematics, no markup, any script, and without a warning about fonts."""
    letters = letters_of(label_bars(evidence.labels))
    assert {"<b>bold</b>", "$x^2$", "日本語", short(NAMES[4])} <= set(letters)


def test_long_names_are_cut() -> None:
    assert short("a" * 50) == "a" * (NAME_LENGTH - 1) + "…"
    assert short("ham") == "ham"


def test_the_same_figure_is_the_same_file(evidence: Evidence) -> None:
    first, second = (svg(reliability_plot(evidence.calibration.before)) for _ in range(2))
    assert first == second
    kind, code = data_uri(reliability_plot(evidence.calibration.before)).split(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(code).decode() == first


def test_saving_again_moves_nothing(evidence: Evidence) -> None:
    figure = label_bars(evidence.labels)
    assert svg(figure) == svg(figure)


def test_no_window_is_ever_opened() -> None:
    code = "import ulmfit.evaluation.report, sys; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
