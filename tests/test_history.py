"""A training's rows: files that pandas reads and that come back exactly, and a picture that shows the same numbers."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from dataclasses import astuple, replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit.errors import UserError
from ulmfit.history import (
    EpochRow,
    StepRow,
    TrainingProgress,
    plot_history,
    read_history,
    read_steps,
    steps_csv,
    write_history,
)

ROW = EpochRow(1, 1, 0.1, 3.5, 3.25, 0.5, 25.75, 1.5, 1_000, 80.5, 12.5)
NUMBERS = st.floats(allow_nan=False)


def training(
    n_epochs: int = 4, per_epoch: int = 10, frozen: int = 1
) -> tuple[list[EpochRow], list[StepRow]]:
    """Make the rows of a training in which three groups of four are frozen at first."""
    steps = [
        StepRow(n, 5 - n / 100, (0.0,) * 3 + (0.2,) if n <= frozen * per_epoch else (0.1, 0.1, 0.2, 0.4), 0.8)
        for n in range(1, n_epochs * per_epoch + 1)
    ]  # fmt: skip
    epochs = [
        replace(ROW, epoch=e, phase=1 if e <= frozen else 2, valid_loss=4 - e / 10)
        for e in range(1, n_epochs + 1)
    ]
    return epochs, steps


@given(
    st.lists(
        st.builds(
            EpochRow, st.integers(1), st.integers(1), *[NUMBERS] * 6, st.integers(0), NUMBERS, NUMBERS
        )
    )
)  # fmt: skip
def test_epochs_come_back_exactly(tmp_path_factory, rows: list[EpochRow]) -> None:
    path = tmp_path_factory.mktemp("history") / "history.csv"
    write_history(path, rows)
    assert read_history(path) == rows
    assert pd.read_csv(path).columns.tolist() == list(EpochRow.__dataclass_fields__)


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.lists(
            st.builds(StepRow, st.integers(1), NUMBERS, st.tuples(*[NUMBERS] * n), NUMBERS)
        )
    )
)
def test_steps_come_back_exactly(tmp_path_factory, rows: list[StepRow]) -> None:
    path = tmp_path_factory.mktemp("steps") / "steps.csv"
    path.write_text(steps_csv(rows))
    assert read_steps(path) == rows


def test_the_files_are_what_they_say(tmp_path: Path) -> None:
    write_history(tmp_path / "history.csv", [ROW])
    assert (tmp_path / "history.csv").read_bytes().decode() == (
        "epoch,phase,lr,train_loss,valid_loss,accuracy,perplexity,bits_per_character,tokens,tokens_per_second,seconds\n"
        "1,1,0.1,3.5,3.25,0.5,25.75,1.5,1000,80.5,12.5\n"
    )
    steps = steps_csv([StepRow(7, 4.5, (0.1, 0.2), 0.7)])
    assert steps == "step,loss,momentum,lr_1,lr_2\n7,4.5,0.7,0.1,0.2\n"


def test_what_was_not_measured_is_nan(tmp_path: Path) -> None:
    unmeasured = replace(ROW, valid_loss=math.nan, perplexity=math.inf)
    write_history(tmp_path / "history.csv", [unmeasured])
    (row,) = read_history(tmp_path / "history.csv")
    assert math.isnan(row.valid_loss) and row.perplexity == math.inf
    assert pd.read_csv(tmp_path / "history.csv")["valid_loss"].isna().all()


@pytest.mark.parametrize("read", [read_history, read_steps])
@pytest.mark.parametrize(
    "content",
    ["a,b\n1,2\n", "epoch,phase\n1\n", "step,loss,momentum\n1,x,2\n", 'step\n"', "\xff\n\xfe\n"],
)
def test_other_files_are_refused_by_name(tmp_path: Path, read, content: str) -> None:
    path = tmp_path / "some.csv"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"some\.csv is not the history of a training"):
        read(path)
    with pytest.raises(UserError, match=r"none\.csv is missing"):
        read(tmp_path / "none.csv")


def points(axes) -> dict[str, list[tuple[float, float]]]:
    return {line.get_label(): [tuple(p) for p in line.get_xydata()] for line in axes.get_lines()}


def test_losses_stand_where_they_were_measured() -> None:
    epochs, steps = training()
    losses = points(plot_history(epochs, steps).axes[0])
    assert losses["training, smoothed"] == [(row.step, row.loss) for row in steps]
    assert losses["validation"] == [(10 * row.epoch, row.valid_loss) for row in epochs]


def test_epochs_of_different_lengths_end_where_their_tokens_do() -> None:
    epochs, steps = training(2, 10)
    epochs = [replace(epochs[0], tokens=300), replace(epochs[1], tokens=100)]
    assert [x for x, _ in points(plot_history(epochs, steps).axes[0])["validation"]] == [15, 20]


def test_each_group_has_its_rate_and_equal_ones_share_a_curve() -> None:
    axes = plot_history(*training()).axes[1]
    curves = points(axes)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["1-2", "3", "4 (top)"]
    for name, frozen, learning in (
        ("1-2", math.nan, 0.1),
        ("3", math.nan, 0.2),
        ("4 (top)", 0.2, 0.4),
    ):
        expected = [frozen] * 10 + [learning] * 30
        assert [y for _, y in curves[name]] == pytest.approx(expected, nan_ok=True)


def test_the_end_of_a_phase_is_marked() -> None:
    marks = [line for line in plot_history(*training()).axes[0].get_lines() if line.get_ls() == ":"]
    assert [list(line.get_xdata()) for line in marks] == [[10, 10]]


def test_without_validation_there_is_no_curve_of_it() -> None:
    epochs, steps = training()
    unmeasured = [replace(row, valid_loss=math.nan) for row in epochs]
    assert "validation" not in points(plot_history(unmeasured, steps).axes[0])
    some = [replace(row, valid_loss=math.nan) if row.epoch == 4 else row for row in epochs]
    axes = plot_history(some, steps).axes[0]
    assert [text.get_text() for text in axes.texts] == ["3.700"]


def test_only_a_language_models_loss_is_one_of_tokens() -> None:
    epochs, steps = training()
    assert "token" in plot_history(epochs, steps).axes[0].get_title()
    of_documents = [replace(row, perplexity=math.nan) for row in epochs]
    assert plot_history(of_documents, steps).axes[0].get_title() == "loss"


def test_without_steps_epochs_are_drawn() -> None:
    epochs, _ = training()
    losses, rates = plot_history(epochs).axes
    assert points(losses)["training"] == [(row.epoch, row.train_loss) for row in epochs]
    assert losses.get_xlabel() == "epoch"
    assert [y for _, y in next(iter(points(rates).values()))] == [row.lr for row in epochs]


@pytest.mark.parametrize("n_epochs", [0, 1, 15])
def test_a_picture_comes_of_any_training(n_epochs: int) -> None:
    figure = plot_history(*training(n_epochs), title="C:\\$a_b$" + "x" * 200)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    assert content.getvalue().startswith(b"\x89PNG")
    assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook asks for


def test_the_picture_needs_no_pyplot_and_the_rows_no_matplotlib() -> None:
    code = (
        "import sys, ulmfit.history as h; assert 'matplotlib' not in sys.modules; "
        "h.plot_history([]); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[1]
    )


def test_progress_can_carry_a_notice_alone() -> None:
    said = TrainingProgress.saying("a word", stage="pretrain_lm", direction="backward")
    assert astuple(said)[:2] == ("pretrain_lm", "backward")
    assert (said.notice, said.epoch_row, said.n_batches) == ("a word", None, 0)
