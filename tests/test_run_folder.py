"""A run folder as it shows itself: whole artefacts, interrupted trainings, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ulmfit
from ulmfit.history import EpochRow, write_history
from ulmfit.run_folder import RunFolder


def artefact(folder: Path, **content: object) -> None:
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    artefact(tmp_path / "corpus", kind="corpus")
    (tmp_path / "corpus" / "tokenizer").mkdir()
    lm = tmp_path / "seed0" / "2_finetune_lm"
    artefact(lm, kind="language_model_pair", metrics={"perplexity": 12.3456, "note": "text"})
    artefact(lm / "forward", kind="language_model")
    interrupted = tmp_path / "seed0" / "3_train_classifier.training"
    interrupted.mkdir()
    row = EpochRow(1, 1, 0.1, 1.0, 1.0, 0.5, 2.7, 1.0, 10, 1.0, 1.0)
    write_history(interrupted / "history.csv", [row, row])
    (tmp_path / "baselines").mkdir()
    return tmp_path


def test_a_run_lists_artefacts_and_interrupted_trainings(run: Path) -> None:
    found = RunFolder.look(run)
    assert [(step.place, step.state) for step in found.steps] == [
        ("corpus", "corpus"),
        ("seed0/2_finetune_lm", "language model pair"),
        ("seed0/3_train_classifier", "interrupted, 2 epochs done"),
    ]
    assert found.steps[1].figures() == "perplexity 12.35"


def test_load_shows_a_run(run: Path) -> None:
    found = ulmfit.load(run)
    assert isinstance(found, RunFolder)
    assert "perplexity 12.35" in str(found)
    assert found._repr_html_().count("<tr>") == 4


def test_names_do_not_become_markup(tmp_path: Path) -> None:
    artefact(tmp_path / "<b>", kind="<script>")
    shown = RunFolder.look(tmp_path)._repr_html_()
    assert "<script>" not in shown
    assert "&lt;b&gt;" in shown


def test_what_is_no_run_is_refused_as_before(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ulmfit.UserError, match="not an artefact folder"):
            ulmfit.load(folder)
