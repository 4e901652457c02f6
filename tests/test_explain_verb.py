"""`ulmfit explain`: from argv to words with weights, a page or JSON; every mistake is one line."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from one_word_decides import WEIGHT, one_word_decides
from tiny_classifier import write_tiny_classifier
from tiny_lm import write_tiny_lm

import ulmfit
from ulmfit import cli
from ulmfit.inference.classifier import Classifier
from ulmfit.text.corpus import Corpus

pytestmark = pytest.mark.usefixtures("calm")

Capture = pytest.CaptureFixture[str]
TEXT = "the film is FINE"


@pytest.fixture(scope="module")
def clf(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return one_word_decides(tmp_path_factory.mktemp("verb"))


def run(capsys: Capture, *argv: str) -> str:
    """Run the verb, and return what it prints."""
    assert cli.main(["explain", *argv]) == 0
    return capsys.readouterr().out


def test_words_with_weights(clf: Classifier, capsys: Capture) -> None:
    shown = run(capsys, str(clf.folder), TEXT)
    assert shown == f"{clf.explain(TEXT)}\n"
    assert f"{WEIGHT:+.3f}  FINE" in shown


def test_flags_reach_the_explanation(clf: Classifier, capsys: Capture) -> None:
    flags = ["--label", "neg", "--method", "pooling", "--precision", "fp32", "--json"]
    content = json.loads(run(capsys, str(clf.folder), TEXT, *flags))
    assert content["label"] == "neg" and content["method"] == "pooling"
    assert dict(zip(content["words"], content["weights"]))["FINE"] == pytest.approx(
        -WEIGHT, abs=1e-4
    )
    assert content["base"] == pytest.approx(0, abs=1e-5)
    long = "the film is fine and " * 30
    content = json.loads(run(capsys, str(clf.folder), long, "--max-tokens", "900", "--json"))
    assert "windows" in content["note"]


def test_a_page(clf: Classifier, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "why.html"
    assert cli.main(["explain", str(clf.folder), "fine <b> \ud83d", "--out", str(out)]) == 0
    assert f"wrote {out}" in capsys.readouterr().err
    page = out.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") and ">fine</span>" in page and "<b> " not in page


def test_a_text_from_stdin(
    clf: Classifier, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO("fine filmé\nis fine".encode()), encoding="ascii")
    monkeypatch.setattr(sys, "stdin", stdin)
    content = json.loads(run(capsys, str(clf.folder), "-", "--json"))
    assert content["words"] == ["fine", "filmé", "↵", "is", "fine"]


def test_stdin_is_read_as_files_are(
    clf: Classifier, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content in (b"\xef\xbb\xbffine film", b"f\xfcr"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))
        if content.endswith(b"film"):
            said = json.loads(run(capsys, str(clf.folder), "-", "--json"))
            assert said["words"] == ["fine", "film"]
    assert cli.main(["explain", str(clf.folder), "-"]) == 2
    assert "stdin, byte offset 1: not UTF-8" in capsys.readouterr().err


def test_an_empty_text_is_answered(clf: Classifier, capsys: Capture) -> None:
    assert "the text has no words" in run(capsys, str(clf.folder), "")


def test_a_text_for_each_column(tmp_path: Path, capsys: Capture) -> None:
    frame = pd.DataFrame({"title": ["so fine", "dull"], "text": ["a film", "the film is long"]})
    config = ulmfit.TextConfig(min_freq=1)
    corpus = ulmfit.prepare(
        frame, tmp_path / "c", text=["title", "text"], label=None, config=config
    )
    model = Classifier(write_tiny_classifier(tmp_path / "model", corpus))
    shown = run(capsys, str(model.folder), "so fine", "a film")
    assert shown == f"{model.explain(('so fine', 'a film'))}\n"
    assert cli.main(["explain", str(model.folder), "so fine"]) == 2
    assert "1 given where 2 texts are expected, one for each" in capsys.readouterr().err


def test_mistakes_are_one_line(
    clf: Classifier, demo_corpus: Corpus, tmp_path: Path, capsys: Capture
) -> None:
    model = str(clf.folder)
    lm = write_tiny_lm(tmp_path / "lm", demo_corpus).folder
    for argv, message in (
        ([], "no MODEL"),
        ([model], "no TEXT"),
        ([model, "fine", "film"], "2 words where one text is expected"),
        ([model, TEXT, "--label", "posi"], "did you mean 'pos'?"),
        (
            [model, TEXT, "--method", "magic"],
            "--method is 'magic'; allowed: occlusion, pooling, integrated_gradients",
        ),
        ([model, TEXT, "--max-tokens", "0"], "--max-tokens is 0"),
        ([model, TEXT, "--precision", "int4"], "--precision is 'int4'"),
        ([model, TEXT, "--out", str(tmp_path)], str(tmp_path)),
        ([str(tmp_path / "nowhere"), TEXT], "nowhere"),
        ([str(lm), TEXT], "language_model"),
    ):
        assert cli.main(["explain", *argv]) == 2, argv
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == 1, said
        assert message in said.err


def test_help_names_every_flag(capsys: Capture) -> None:
    shown = run(capsys, "--help")
    for word in ("MODEL", "TEXT", "--label", "--method", "--max-tokens", "--out", "--json"):
        assert word in shown
