"""The verbs `evaluate` and `report`: what is written and said for each kind of model, and every mistake as one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_classifier import write_tiny_classifier
from tiny_lm import write_tiny_lm

import ulmfit
from ulmfit import cli
from ulmfit.evaluation.folder import read_evaluation
from ulmfit.evaluation.report import report_html
from ulmfit.models.label_set import LabelSet
from ulmfit.models.pair import save_language_model_pair
from ulmfit.text.corpus import Corpus

pytestmark = pytest.mark.usefixtures("calm")

ROOT = Path(__file__).resolve().parents[1]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def runs(demo_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a classifier, language models of both directions, and what is none."""
    folder = tmp_path_factory.mktemp("runs")
    write_tiny_classifier(folder / "clf", demo_corpus, labels=LabelSet.of(demo_corpus))
    for direction in ("forward", "backward"):
        write_tiny_lm(folder / direction, demo_corpus, direction=direction)
        write_tiny_lm(folder / "half" / direction, demo_corpus, direction=direction)
    half = folder / "half"
    save_language_model_pair(
        folder / "pair", forward=half / "forward", backward=half / "backward", settings={}
    )
    (folder / "empty").mkdir()
    return folder


def test_a_classifier_gets_a_folder_beside_it(
    runs: Path, demo_corpus: Corpus, capsys: Capture
) -> None:
    assert cli.main(["evaluate", str(runs / "clf"), str(demo_corpus.folder)]) == 0
    said = capsys.readouterr()
    out = (runs / "clf.test").resolve()
    assert said.err == f"wrote {out / 'report.html'}\n"
    evidence = read_evaluation(out)
    assert evidence.split == "test" and len(evidence.baselines) == 3
    accuracy = next(row.figure for row in evidence.scores if row.name == "accuracy")
    (line,) = (line for line in said.out.splitlines() if line.startswith("accuracy  "))
    assert line.split()[1] == f"{100 * accuracy.value:.2f}"
    assert "accuracy of nbsvm" in said.out
    assert "test documents, seed 7, 95 % intervals" in said.out
    html = (out / "report.html").read_text(encoding="utf-8")
    assert html == report_html(evidence)

    (out / "report.html").write_text("spoilt")
    assert cli.main(["report", str(out)]) == 0
    assert (out / "report.html").read_text(encoding="utf-8") == html
    again = capsys.readouterr()
    assert (again.out, again.err) == (said.out, said.err)
    assert cli.main(["report", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == evidence.title


def test_a_run_stands_for_its_classifier_and_its_corpus(
    runs: Path, demo_corpus: Corpus, tmp_path: Path, capsys: Capture
) -> None:
    run = tmp_path / "run"
    inner = shutil.copytree(runs / "clf", run / "3_train_classifier")
    assert cli.main(["evaluate", str(run), "--no-baselines"]) == 2  # its corpus is not there yet
    assert "run is not an artefact folder" in capsys.readouterr().err
    corpus = shutil.copytree(demo_corpus.folder, run / "corpus")
    asked = [[run], [inner, corpus], [inner, run], [run, corpus]]
    said = []
    for folders in asked:
        assert cli.main(["evaluate", *map(str, folders), "--no-baselines", "--json"]) == 0
        said.append(json.loads(capsys.readouterr().out))
    assert all(evidence["scores"] == said[0]["scores"] for evidence in said)
    assert Path(said[0]["out"]) == run / "3_train_classifier.test"
    assert Corpus.load(run).fingerprint == demo_corpus.fingerprint


def test_another_corpus_gives_the_evaluation_its_name(
    runs: Path, demo_corpus: Corpus, tmp_path: Path, capsys: Capture
) -> None:
    """It lies beside the evaluation on the corpus that the classifier learnt from, and replaces nothing."""
    inner = shutil.copytree(runs / "clf", tmp_path / "3_train_classifier")
    manifest = json.loads((inner / "manifest.json").read_text())
    manifest["config"] = {"corpus": "that of other texts"}
    (inner / "manifest.json").write_text(json.dumps(manifest))
    for corpus, name in (("pages", "pages"), ("runs/films/corpus", "films")):
        shutil.copytree(demo_corpus.folder, tmp_path / corpus)
        argv = ["evaluate", str(tmp_path), str(tmp_path / corpus), "--no-baselines", "--json"]
        assert cli.main(argv) == 0
        out = json.loads(capsys.readouterr().out)["out"]
        assert out == str(tmp_path / f"3_train_classifier.{name}.test")


def test_the_report_of_a_run_is_that_of_its_one_evaluation(
    runs: Path, demo_corpus: Corpus, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "run" / "3_train_classifier.test"
    argv = ["evaluate", str(runs / "clf"), str(demo_corpus.folder), "--no-baselines"]
    assert cli.main([*argv, "--out", str(out)]) == 0
    (out / "report.html").unlink()
    assert cli.main(["report", str(tmp_path / "run")]) == 0
    assert (out / "report.html").is_file()
    shutil.copytree(out, out.with_name("3_train_classifier.valid"))
    capsys.readouterr()
    assert cli.main(["report", str(tmp_path / "run")]) == 2
    assert "has 2 evaluations: name one of" in capsys.readouterr().err


def test_json_is_the_evidence(
    runs: Path, demo_corpus: Corpus, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    argv = ["evaluate", str(runs / "clf"), str(demo_corpus.folder), "--no-baselines", "--json"]
    assert cli.main([*argv, "--out", str(out), "--precision", "fp32"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said.pop("out") == str(out)
    assert said == json.loads((out / "evaluation.json").read_text())
    assert said["baselines"] == []


def test_language_models_are_measured_as_in_python(
    runs: Path, demo_corpus: Corpus, capsys: Capture
) -> None:
    argv = ["evaluate", str(runs / "forward"), str(demo_corpus.folder), "--split", "test"]
    assert cli.main(argv) == 0
    expected = ulmfit.evaluate_lm(runs / "forward", demo_corpus, split="test")
    assert capsys.readouterr().out == f"forward: {expected}\n"
    argv[1] = str(runs / "pair")
    assert cli.main([*argv, "--full-context", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert list(said) == ["forward", "backward"]
    one = ulmfit.evaluate_lm(runs / "backward", demo_corpus, split="test", full_context=True)
    assert said["backward"]["metrics"] == pytest.approx(one.metrics)
    assert said["backward"]["full_context"] is True


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("evaluate", "no MODEL: write it before the flags"),
        ("evaluate {corpus}", "no MODEL"),
        ("evaluate {runs}/clf", "no CORPUS"),
        ("evaluate {corpus} {runs}/clf", "is a classifier, and CORPUS comes last"),
        ("evaluate {corpus} {corpus}", "is a corpus, and MODEL is a classifier"),
        ("evaluate {runs}/clf nowhere", "nowhere is not there"),
        ("evaluate {runs}/empty {corpus}", "is not an artefact folder"),
        ("evaluate {runs}/clf {runs}/forward {corpus}", "give one language model"),
        ("evaluate {runs}/clf {runs}/clf {corpus}", "give classifiers of different seeds"),
        ("evaluate {runs}/clf {corpus} --full-context", "--full-context is for language models"),
        ("evaluate {runs}/forward {corpus} --out o", "a language model has no report"),
        ("evaluate {runs}/forward {corpus} --split valid", "has no valid documents"),
        ("evaluate {runs}/clf {corpus} --split valid", "has no valid documents"),
        ("evaluate {runs}/clf {corpus} --split train", "allowed: test, valid"),
        ("evaluate {runs}/clf {corpus} --precision half", "--precision is 'half'"),
        ("evaluate {runs}/clf {corpus} --out {corpus}", "exists and is not an evaluation"),
        ("evaluate {runs}/clf {corpus} --out {runs}", "exists and is not an evaluation"),
        ("evaluate {runs}/clf {corpus} --ouy o", "did you mean '--out'?"),
        ("report", "no FOLDER"),
        ("report {runs}/clf", "is not the folder of an evaluation"),
    ],
)
def test_a_mistake_is_one_line(
    argv: str,
    says: str,
    runs: Path,
    demo_corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(runs.iterdir())
    places = {"corpus": str(demo_corpus.folder), "runs": str(runs)}
    assert cli.main([word.format(**places) for word in argv.split()]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("ulmfit: ") and said.err.count("\n") == 1
    assert says in said.err
    assert sorted(runs.iterdir()) == before and not list(tmp_path.iterdir())


def test_help_and_mistakes_load_no_learning_library() -> None:
    code = (
        "import sys; from ulmfit.cli import main; main(['evaluate', '--help']); "
        "main(['evaluate', 'here', 'there']); main(['report']); "
        "print(sorted({'torch', 'fastai', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
