"""Experiments: what is planned, trained, shared, skipped and resumed, and whether the results say what the answers say."""

from __future__ import annotations

import csv
import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_lm import write_tiny_lm

import ulmfit
from ulmfit import cli
from ulmfit.errors import Stopped, UserError
from ulmfit.evaluation.targets import ablation
from ulmfit.files import CLASSIFIER, CORPUS
from ulmfit.history import TrainingProgress
from ulmfit.recipe import FINETUNED, PRETRAINED, RECIPE
from ulmfit.reproduction import answer, results
from ulmfit.reproduction.bench import Bench
from ulmfit.reproduction.estimate import Estimate, StageEstimate, archs_of, pace_key
from ulmfit.reproduction.labels_needed import labels_needed, sentence
from ulmfit.reproduction.plan import ALL, Experiment, plan, trainings
from ulmfit.reproduction.reproduce import estimate_of, reproduce
from ulmfit.reproduction.results import mean_accuracy
from ulmfit.reproduction.settings import apply_settings
from ulmfit.reproduction.sheet import Results
from ulmfit.text.corpus import Corpus
from ulmfit.training.checkpoint import Checkpoint, save_checkpoint
from ulmfit.training.run import CHECKPOINT, Run

pytestmark = pytest.mark.usefixtures("calm")

Capture = pytest.CaptureFixture[str]
WORDS = ("text.tokenizer=word", "text.sp_model=none", "text.min_freq=1")
SMALL = (
    "stage1.epochs=1", "stage1.bs=8", "stage1.arch.emb_sz=16", "stage1.arch.n_hid=24",
    "stage1.arch.n_layers=1", "stage2.epochs=1", "stage2.bs=8", "stage3.epochs=1", "stage3.bs=8",
    "stage3.drop_mult=0.1",
)  # fmt: skip
KINDS = {"HUM": "who painted the {} picture", "LOC": "where is the {} river", "NUM": "how many {} doors"}  # fmt: skip
ADJECTIVES = ("old", "red", "tall", "lost", "new", "grey", "small", "long", "dry", "cold", "wide", "odd")  # fmt: skip


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of questions that were made up, in the files of TREC."""
    folder = tmp_path_factory.mktemp("data")
    lines = [
        f"{kind}:x {words.format(f'{first} {second}')} ?"
        for first in ADJECTIVES
        for second in ADJECTIVES[:4]
        for kind, words in KINDS.items()
    ]
    (folder / "train_5500.label").write_text("\n".join(lines[:108]) + "\n")
    (folder / "TREC_10.label").write_text("\n".join(lines[108:]) + "\n")
    return folder


def experiment(**asked: Any) -> Experiment:
    # With a language model of pieces the texts are read as it reads.
    settings = (*(() if asked.get("lm") else WORDS), *SMALL, *asked.pop("settings", ()))
    return Experiment("trec", preset="tiny", settings=settings, **asked)


def run(out: Path, data_dir: Path | None, **asked: Any) -> Results:
    how = {
        name: asked.pop(name) for name in ("progress", "max_minutes", "restart") if name in asked
    }
    return reproduce(
        experiment(**asked), out, data_dir=data_dir, **{"progress": lambda _: None, **how}
    )


@pytest.fixture(scope="module")
def single(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("single") / "run"
    run(out, data_dir)
    return out


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes longer than all of a small training."""
    monkeypatch.setattr("ulmfit.evaluation.folder.write_report", lambda *_: None)
    for module in ("lm_folder", "classifier_folder"):
        monkeypatch.setattr(f"ulmfit.stages.{module}.history_files", lambda *_, **__: {})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return ulmfit.load(folder).parts.weights["forward"]


def require_same(one: Path, other: Path) -> None:
    for name, tensor in weights(one).items():
        assert torch.equal(tensor, weights(other)[name]), name


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.usefixtures("without_pictures")
def test_more_seeds_beside_a_finished_run_leave_it_where_it_lies(
    single: Path, data_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(single, out)
    before = (out / CLASSIFIER / "model.safetensors").stat().st_mtime_ns
    found = run(out, data_dir, seeds=(0, 1))
    assert [each.folder for each in found.runs] == ["", "seed1"] and not found.notes
    assert (out / CLASSIFIER / "model.safetensors").stat().st_mtime_ns == before
    again = run(out, data_dir, seeds=(1,))
    assert [each.folder for each in again.runs] == ["seed1"]
    assert again.runs[0].accuracy == found.runs[1].accuracy


def test_what_lies_at_home_is_planned_there() -> None:
    asked = experiment(seeds=(0, 1))
    assert [each.folder for each in plan(asked)] == ["seed0", "seed1"]
    assert [each.folder for each in plan(asked, at_home=1)] == ["seed0", ""]
    assert [each.folder for each in plan(experiment(seeds=(1,)), at_home=None)] == ["seed1"]
    budgets = experiment(seeds=(1,), labels=(12,))
    assert [each.folder for each in plan(budgets, at_home=1)] == ["seed1/labels-12"]


@pytest.mark.usefixtures("without_pictures")
def test_files_of_another_split_are_not_taken_for_those_of_this_one(
    single: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    shutil.copytree(single, out)
    tested = (out / "predictions.csv").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(answer, "_result", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(out, data_dir, split="valid")
    assert (out / "predictions.csv").read_bytes() != tested
    assert run(out, data_dir).runs[0].split == "test"
    assert (out / "predictions.csv").read_bytes() == tested
    (out / "predictions.csv").unlink()  # lost
    run(out, data_dir)
    assert (out / "predictions.csv").read_bytes() == tested


def test_valid_documents_that_are_learnt_from_are_refused_before_training(
    data_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="as_published"):
        run(tmp_path, data_dir, split="valid", settings=("stage3.protocol=as_published",))
    assert not list(tmp_path.glob(f"{PRETRAINED}*"))


def test_an_estimate_of_a_restart_counts_nothing_as_done(single: Path, data_dir: Path) -> None:
    done = estimate_of(experiment(), single, data_dir=data_dir)
    anew = estimate_of(experiment(), single, data_dir=data_dir, restart=True)
    assert isinstance(done, Estimate) and isinstance(anew, Estimate)
    assert done.seconds == 0 and str(done).startswith("to do: 0 runs")
    assert [stage.n_done for stage in anew.stages] == [0, 0] and anew.seconds > 0


def test_an_estimate_of_a_restart_leaves_the_run_as_it_is(single: Path, data_dir: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in single.rglob("*"))
    other = experiment(settings=("text.min_freq=3",))
    assert isinstance(estimate_of(other, single, data_dir=data_dir, restart=True), Estimate)
    assert before == sorted((path, path.stat().st_mtime_ns) for path in single.rglob("*"))


def test_each_row_is_measured_in_its_own_sizes(single: Path) -> None:
    lm = ulmfit.load(single / PRETRAINED)
    planned = plan(experiment(lm=str(single / PRETRAINED), table=4, seeds=(0,)))
    archs = archs_of(planned, lm)
    scratch = next(p for p in planned if p.run.row.name == "without pretraining")
    assert scratch.lm is not None
    assert archs[scratch.classifier] == archs[scratch.lm] == scratch.lm.config.arch
    given = [archs[p.classifier] for p in planned if p is not scratch]
    assert given and all(arch == lm.parts.arch for arch in given)
    keys = {pace_key(p.classifier, lm.parts.arch) for p in plan(experiment(table=7, seeds=(0,)))}
    assert {freezes for _, _, freezes in keys} == {False, True}


@pytest.mark.usefixtures("without_pictures")
def test_the_corpus_in_the_run_by_any_path_is_the_same(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    shutil.copytree(single, out)
    monkeypatch.chdir(tmp_path)
    assert Bench.open(of(out / CORPUS), Path("run")).corpus.fingerprint


def of(folder: Path) -> Experiment:
    return Experiment(folder, preset="tiny", lm="none", settings=SMALL)


# --- a corpus of one's own


def of_corpus(folder: Path, out: Path, **asked: Any) -> Results:
    own = Experiment(folder, preset="tiny", lm="none", settings=SMALL, **asked)
    return reproduce(own, out, progress=lambda _: None)


def test_a_prepared_corpus_is_run_as_the_data_set_is(single: Path, tmp_path: Path) -> None:
    results = of_corpus(single / CORPUS, tmp_path / "run")
    require_same(single / CLASSIFIER, tmp_path / "run" / CLASSIFIER)
    assert results.data_set == "trec"  # its name, which finds what is published
    written = json.loads((tmp_path / "run" / RECIPE).read_text())
    assert written["experiment"]["data_set"] == "trec"
    assert written["text"] == json.loads((single / RECIPE).read_text())["text"]
    moved = tmp_path / "moved"
    shutil.move(tmp_path / "run", moved)  # with its own copy, it needs no other
    assert of_corpus(moved / CORPUS, moved).runs == results.runs


@pytest.mark.usefixtures("without_pictures")
def test_label_budgets_of_ones_own_documents(data_dir: Path, tmp_path: Path) -> None:
    lines = (data_dir / "train_5500.label").read_text().splitlines()
    frame = pd.DataFrame([line.split(":x ") for line in lines], columns=["kind", "question"])
    frame.loc[0] = frame.loc[1]
    frame["split"] = np.where(np.arange(len(frame)) % 4 == 0, "test", "train")
    config = replace(ulmfit.TextConfig(), min_freq=1)
    folder = tmp_path / "corpus"
    ulmfit.prepare(frame, folder, text="question", label="kind", split="split", config=config)
    results = of_corpus(folder, tmp_path / "run", labels=(12, ALL), seeds=(0,))
    assert [run.n_given for run in results.runs] == [12, 81]
    assert {run.n_documents for run in results.runs} == {27}
    assert {n for n, _ in results.wholes.values()} == {81}  # what the baselines had in all
    warning = "1 of the 27 documents also stand, token for token, where the model learnt from"
    assert f"seed0/labels-all: {warning}" in str(results)
    assert f"Other than in the preset: {', '.join(SMALL)}." in str(results)


@pytest.mark.parametrize(
    ("prepared", "says"),
    [
        ({}, "has no test documents with a label: prepare it with --test FILE or --split COLUMN"),
        ({"label": None}, "has no labels that are names"),
        ({"config": ulmfit.TextConfig(label_kind="number")}, "has no labels that are names"),
    ],
)
def test_documents_that_no_experiment_can_answer(
    prepared: dict[str, Any], says: str, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"text": ["one film", "two films"] * 9, "label": [1, 2] * 9})
    ulmfit.prepare(frame, tmp_path / "corpus", **prepared)
    with pytest.raises(UserError, match=says):
        of_corpus(tmp_path / "corpus", tmp_path / "run")
    assert not (tmp_path / "run").exists()  # nothing in the way of the corpus that is prepared next


def test_another_corpus_in_the_folder_of_an_experiment_stays(single: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["one film", "two films"] * 9, "label": ["a", "b"] * 9})
    frame["split"] = ["train"] * 12 + ["test"] * 6
    ulmfit.prepare(frame, tmp_path / "corpus", split="split")
    with pytest.raises(UserError, match="is another corpus than"):
        of_corpus(tmp_path / "corpus", single)
    with pytest.raises(UserError, match="lies in the corpus"):
        of_corpus(tmp_path / "corpus", tmp_path / "corpus" / "run")
    assert not (tmp_path / "corpus" / "run").exists()
    with pytest.raises(UserError, match=r"is a run, and its corpus is .*corpus"):
        of_corpus(single, tmp_path / "run")


# --- a single run


def test_one_run_is_one_folder_and_its_classifier_that_of_fit(
    single: Path, data_dir: Path, tmp_path: Path
) -> None:
    assert names(single) == {
        RECIPE, CORPUS, PRETRAINED, CLASSIFIER, "baselines", "predictions.csv", "report.html", "report.md",
        "report_figures", "evaluation.json", "result.json", "results.json", "results.csv", "results.md",
    }  # fmt: skip
    recipe = experiment().recipe()
    made = ulmfit.fit(
        "trec", tmp_path / "fit", preset="tiny", data_dir=data_dir, config=recipe.text, progress=lambda _: None,
        pretrain=recipe.pretrain_lm, classifier=recipe.train_classifier,
    )  # fmt: skip
    require_same(made.folder, single / CLASSIFIER)


def test_results_say_what_the_answers_say(single: Path) -> None:
    found = json.loads((single / "results.json").read_text())
    answers = pd.read_csv(single / "predictions.csv")
    accuracy = (answers.label == answers.predicted).mean()
    assert len(answers) == 36
    (one,) = found["runs"]
    (summary,) = found["summaries"]
    assert one["accuracy"]["value"] == summary["accuracy"]["value"] == pytest.approx(accuracy)
    assert (one["split"], one["protocol"], one["n_given"]) == ("test", "clean", 108)
    assert summary["theirs"] == 0.036 and summary["their_protocol"] == "both, test, transductive"
    rows = list(csv.DictReader((single / "results.csv").open()))
    assert float(rows[0]["accuracy"]) == pytest.approx(accuracy, abs=1e-6)
    assert {"majority", "tfidf", "nbsvm"} <= set(rows[0])
    text = (single / "results.md").read_text()
    assert "not asked for" not in text
    assert f"| {100 * (1 - accuracy):.2f} [" in text
    assert "| both | 3.60 | Howard & Ruder 2018, table 2 | transductive |".replace("&", "&amp;") in text  # fmt: skip


def test_the_same_command_again_trains_and_answers_nothing(
    single: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer, "evaluate", lambda *_, **__: pytest.fail("read the test split"))
    heard: list[TrainingProgress] = []
    before = {p: p.stat().st_mtime_ns for p in single.rglob("*") if p.suffix in (".html", ".safetensors")}  # fmt: skip
    first = (single / "results.json").read_bytes()
    run(single, data_dir, progress=heard.append)
    assert not [progress for progress in heard if not progress.notice]
    assert before == {p: p.stat().st_mtime_ns for p in before}
    assert (single / "results.json").read_bytes() == first


@pytest.mark.usefixtures("without_pictures")
def test_stopped_by_the_clock_it_ends_with_the_same_bits(
    single: Path, data_dir: Path, tmp_path: Path
) -> None:
    n_stops = 0
    for _ in range(60):
        try:
            run(tmp_path / "run", data_dir, max_minutes=0.003, progress=None)
            break
        except Stopped as stop:
            assert stop.exit_code == 3
            n_stops += 1
    else:
        run(tmp_path / "run", data_dir)
    assert n_stops
    require_same(single / CLASSIFIER, tmp_path / "run" / CLASSIFIER)
    for name in ("predictions.csv", "results.csv"):
        one, other = (pd.read_csv(out / name) for out in (single, tmp_path / "run"))
        same = [c for c in one if not c.endswith("seconds")]
        pd.testing.assert_frame_equal(one[same], other[same])


def test_a_moved_folder_goes_on_without_texts_and_tokenizer(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "elsewhere" / "run"
    shutil.copytree(single, moved)
    shutil.rmtree(moved / CLASSIFIER)
    for name in ("result.json", "predictions.csv"):
        (moved / name).unlink()
    monkeypatch.setenv("ULMFIT_DATA", str(tmp_path / "nothing"))
    for library in ("spacy", "fastai.text.core"):
        monkeypatch.setitem(sys.modules, library, None)
    run(moved, None)
    require_same(single / CLASSIFIER, moved / CLASSIFIER)
    kept = [(out / "predictions.csv").read_bytes() for out in (single, moved)]
    assert kept[0] == kept[1]


def test_no_file_knows_where_it_lies(single: Path) -> None:
    places = [str(single.parent).encode(), str(single).encode()]
    for path in single.rglob("*"):
        if path.is_file() and path.suffix != ".png":
            assert not any(place in path.read_bytes() for place in places), path


# --- seeds, budgets, rows


@pytest.mark.usefixtures("without_pictures")
def test_seeds_are_averaged_over_documents(data_dir: Path, tmp_path: Path) -> None:
    found = run(tmp_path, data_dir, seeds=(0, 3))
    assert {"seed0", "seed3", CORPUS, "results.md"} <= names(tmp_path)
    assert {PRETRAINED, CLASSIFIER, "predictions.csv"} <= names(tmp_path / "seed3")
    answers = [pd.read_csv(tmp_path / f"seed{seed}" / "predictions.csv") for seed in (0, 3)]
    each = [(a.label == a.predicted).mean() for a in answers]
    (summary,) = found.summaries
    assert summary.accuracy.value == pytest.approx(np.mean(each))
    assert summary.spread.sd == pytest.approx(np.std(each, ddof=1))
    assert summary.accuracy.low <= summary.accuracy.value <= summary.accuracy.high
    assert len(list((tmp_path / "baselines").glob("*.json"))) == 3  # the same labels: fitted once


@pytest.mark.usefixtures("without_pictures")
def test_labels_called_like_the_columns_of_answers(data_dir: Path, tmp_path: Path) -> None:
    lines = (data_dir / "train_5500.label").read_text().splitlines()
    frame = pd.DataFrame([line.split(":x ") for line in lines], columns=["label", "text"])
    frame["label"] = frame.label.map({"HUM": "row", "LOC": "predicted", "NUM": "label"})
    frame["split"] = np.where(np.arange(len(frame)) % 4 == 0, "test", "train")
    config = replace(ulmfit.TextConfig(), min_freq=1)
    ulmfit.prepare(frame, tmp_path / "corpus", split="split", config=config)
    results = of_corpus(tmp_path / "corpus", tmp_path / "run", seeds=(0, 1))
    mean = np.mean([run.accuracy.value for run in results.runs])
    assert results.summaries[0].accuracy.value == pytest.approx(mean)


@pytest.mark.usefixtures("without_pictures")
def test_runs_that_answer_what_they_hold_out_have_nothing_in_common(
    data_dir: Path, tmp_path: Path
) -> None:
    found = run(tmp_path, data_dir, labels=(12, ALL), seeds=(0,), split="valid")
    sizes = [each.n_documents for each in found.runs]
    assert sizes[0] < sizes[1] and not found.wholes
    assert f", {sizes[0]} to {sizes[1]} valid documents" in str(found)


@pytest.mark.usefixtures("without_pictures")
def test_restart_trains_what_runs_share_once(data_dir: Path, tmp_path: Path) -> None:
    heard: list[TrainingProgress] = []
    run(tmp_path, data_dir, labels=(12, 20), seeds=(0,), restart=True, progress=heard.append)
    ends = [each for each in heard if each.stage == "pretrain_lm" and each.epoch_row]
    assert len(ends) == 1


@pytest.mark.usefixtures("without_pictures")
def test_refused_settings_leave_the_recipe_as_it_was(
    single: Path, data_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(single, tmp_path / "run")
    before = (tmp_path / "run" / RECIPE).read_bytes()
    with pytest.raises(UserError, match=r"was made with other settings: lr 0\.5"):
        run(tmp_path / "run", data_dir, settings=("stage3.lr=0.5",))
    assert (tmp_path / "run" / RECIPE).read_bytes() == before


@pytest.mark.usefixtures("without_pictures")
def test_a_single_run_that_other_seeds_leave_out_has_a_name(
    single: Path, data_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(single, tmp_path / "run")
    found = run(tmp_path / "run", data_dir, seeds=(1,))
    assert "this time: the run without a folder of its own." in found.notes[-1]


@pytest.mark.usefixtures("without_pictures")
def test_budgets_share_one_language_model_and_draw_their_own_labels(
    data_dir: Path, tmp_path: Path
) -> None:
    found = run(tmp_path, data_dir, labels=(12, ALL), seeds=(0, 1))
    assert {PRETRAINED, "seed0", "seed1", "labels.png"} <= names(tmp_path)
    folders = {run.folder for run in found.runs}
    assert folders == {f"seed{seed}/labels-{n}" for seed in (0, 1) for n in (12, "all")}
    lm = ulmfit.load(tmp_path / PRETRAINED).parts.fingerprint
    parents = {ulmfit.load(tmp_path / f / CLASSIFIER).manifest.provenance.parent for f in folders}
    assert parents == {lm}
    assert [run.n_given for run in found.runs] == [12, 12, 108, 108]
    kept = len(list((tmp_path / "baselines").glob("*.json")))
    assert kept == 3 * (2 + 1)  # each seed's own twelve documents, and all of them once
    assert {name: n for name, (n, _) in found.wholes.items()} == {"tfidf": 108, "nbsvm": 108}
    assert len(found.sentences) == 3 and "TF-IDF + logistic regression" in found.sentences[0]
    assert (tmp_path / "labels.png").read_bytes()[:4] == b"\x89PNG"
    fewer = run(tmp_path, data_dir, labels=(12,), seeds=(0,))
    others = ", ".join(sorted(folders - {"seed0/labels-12"}))
    assert not found.notes and f"not asked for this time: {others}." in fewer.notes[-1]
    assert fewer.notes[-1] in (tmp_path / "results.md").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("without_pictures")
def test_table_seven_stands_beside_the_papers(data_dir: Path, tmp_path: Path) -> None:
    found = run(tmp_path, data_dir, table=7)
    assert found.summaries[0].row == "from scratch" and len(found.summaries) == 10
    assert names(tmp_path / "seed0") >= {PRETRAINED, "chain-thaw", "freez-discr-stlr"}
    assert not list((tmp_path / "seed0" / "chain-thaw").glob(PRETRAINED))
    text = (tmp_path / "results.md").read_text()
    for summary, theirs in zip(found.summaries, (13.36, 6.86, 6.21, 16.09, 6.71)):
        assert summary.theirs == pytest.approx(theirs / 100)
        ours = 100 * (1 - summary.accuracy.value)
        assert f" {theirs:.2f} | {ours - theirs:+.2f} [" in text
    assert "10 % of train held out" in text and "valid documents" in text


@pytest.mark.slow
@pytest.mark.usefixtures("without_pictures")
def test_tables_that_take_a_language_model(
    data_dir: Path, demo_corpus: Corpus, tmp_path: Path
) -> None:
    lm = write_tiny_lm(tmp_path / "lm", demo_corpus)
    found = run(tmp_path / "six", data_dir, table=6, lm=str(lm.folder))
    assert found.summaries[0].row == "no LM fine-tuning"
    carried = ulmfit.load(tmp_path / "six" / "seed0" / "no-lm-fine-tuning" / "2_finetune_lm")
    assert carried.manifest.provenance.parent == lm.fingerprint
    token = next(t for t in carried.vocab if t in lm.vocab and t.isalpha())
    rows = [m.weights["encoder.embedding.weight"][list(m.vocab).index(token)] for m in (carried.parts, lm)]  # fmt: skip
    assert torch.equal(*rows)
    assert str(tmp_path) not in (tmp_path / "six" / RECIPE).read_text()


# --- the plan


def test_what_the_rows_of_a_table_differ_in_stays_theirs() -> None:
    """Ten rows with one schedule would stand beside ten figures of the paper's."""
    for setting in (
        "stage3.schedule=one_cycle",
        "train_classifier.lr=0.005",
        "stage3.from_scratch=true",
    ):
        with pytest.raises(UserError, match=rf"--set {setting}: .* rows of table 7 differ"):
            experiment(table=7, settings=(setting,))
    experiment(table=7, settings=("stage3.epochs=2", "stage2.lr=0.01"))
    some = ("from scratch", "full", "freez")  # which have the same rate
    experiment(table=7, rows=some, settings=("stage3.lr=0.01",))
    with pytest.raises(UserError, match=r"stage3.lr=0.01: .* rows of table 7 differ"):
        experiment(table=7, rows=(*some, "full + discr"), settings=("stage3.lr=0.01",))
    with pytest.raises(UserError, match=r"one_cycle: .* rows of table 7 differ"):
        experiment(table=7, rows=("freez",), settings=("stage3.schedule=one_cycle",))
    experiment(settings=("stage3.schedule=one_cycle",))


def test_every_row_of_table_seven_has_the_same_language_model() -> None:
    planned = plan(experiment(table=7, seeds=(0, 1)))
    assert len(planned) == 20 and len({p.classifier.folder for p in planned}) == 20
    stages = [t.stage for t in trainings(planned)]
    assert (stages.count("pretrain_lm"), stages.count("train_classifier")) == (2, 20)
    rates = {p.run.row.name: p.classifier.config.lr for p in planned}
    assert {name for name, lr in rates.items() if lr == 0.01} == {
        "full + discr", "freez + discr", "freez + discr + stlr",
    }  # fmt: skip
    patient = {p.run.row.name for p in planned if p.classifier.config.patience is None}
    assert patient == {"freez + discr + stlr"}
    assert {p.run.seed for p in planned} == {p.classifier.config.seed for p in planned} == {0, 1}


def test_tables_about_stage_two_and_one() -> None:
    six = plan(experiment(table=6, lm="en"))
    assert [p.lm.stage for p in six if p.lm] == ["carry_over", *["finetune_lm"] * 3]
    assert [(p.lm.config.schedule, p.lm.config.factor) for p in six[1:] if p.lm] == [
        ("flat", 1.0), ("flat", 2.6), ("stlr", 2.6),
    ]  # fmt: skip
    four = plan(experiment(table=4, lm="en"))
    assert [p.lm.stage for p in four if p.lm] == ["pretrain_lm", "finetune_lm"]
    vanilla, awd = plan(experiment(table=5))
    assert vanilla.lm and awd.lm
    assert vanilla.lm.config.arch.drop_mult == 0 != awd.lm.config.arch.drop_mult  # type: ignore[attr-defined]
    own = {"settings": ("stage3.epochs=1",), "lm": "here"}
    assert plan(Experiment("trec", preset="tiny", **own), knows_texts=True)[0].lm is None


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"table": 5}, "--table 5"),
        ({"table": 6, "rows": ("no LM fine-tuning",)}, "--table 6"),
        ({"settings": ("stage3.epochs=1", "stage2.lr=0.1")}, "--set stage2.lr=0.1"),
    ],
)
def test_stage_two_is_not_asked_for_where_it_is_left_out(asked: dict[str, Any], says: str) -> None:
    """Its rows would all be the same training."""
    with pytest.raises(UserError, match=f"{says} is about stage 2, and here has read these texts"):
        plan(Experiment("trec", preset="tiny", lm="here", **asked), knows_texts=True)
    seven = plan(Experiment("trec", preset="tiny", lm="here", table=7), knows_texts=True)
    assert {p.lm for p in seven} == {None}


def test_without_unlabelled_text_nothing_is_pretrained_on_all_of_it() -> None:
    asked = {"labels": (100,), "unlabelled": False, "lm": "en"}
    with pytest.raises(UserError, match="would be pretrained on all of these texts"):
        plan(Experiment("trec", preset="laptop", table=4, **asked))


def test_a_budget_stands_beside_no_figure_of_all_labels(single: Path) -> None:
    (run,) = json.loads((single / "results.json").read_text())["runs"]
    whole = SimpleNamespace(**{**run, "row": "full", "n_labels": None})
    few = SimpleNamespace(**{**run, "row": "full", "n_labels": 100})
    assert results._target(whole, "imdb", 7) == ablation(7, "imdb")["full"]  # type: ignore[arg-type]
    assert results._target(few, "imdb", 7) is None  # type: ignore[arg-type]


def test_few_labels_are_drawn_ten_times() -> None:
    assert [p.run.seed for p in plan(experiment(labels=(20,)))] == list(range(10))
    assert len(trainings(plan(experiment(labels=(20, 50))))) == 21
    some = plan(experiment(table=7, rows=("freez", "full")))
    assert [p.classifier.folder for p in some] == ["seed0/full/3_train_classifier", "seed0/freez/3_train_classifier"]  # fmt: skip
    assert experiment(table=7).answered == "valid" and experiment().answered == "test"
    assert experiment(table=7, split="test").answered == "test"


def test_without_unlabelled_text_each_budget_has_its_own_language_model() -> None:
    planned = plan(experiment(labels=(12, 20), seeds=(0, 1), lm="here", unlabelled=False))
    every = trainings(planned)
    assert [t.stage for t in every] == ["finetune_lm", "train_classifier"] * 4
    assert {(t.config.seed, t.config.n_labels) for t in every} == {(s, n) for s in (0, 1) for n in (12, 20)}  # type: ignore[attr-defined]  # fmt: skip
    for p in planned:
        assert p.lm and p.lm.folder == f"seed{p.run.seed}/labels-{p.run.n_labels}/2_finetune_lm"
        assert p.lm.config.n_labels == p.classifier.config.n_labels == p.run.n_labels  # type: ignore[attr-defined]
        assert p.classifier.config.few_labels is None  # type: ignore[attr-defined]  # a teacher would read them, too
    for asked in ({"labels": (12,)}, {"lm": "here"}):
        with pytest.raises(UserError, match=r"--no-unlabelled .* give --labels"):
            experiment(unlabelled=False, **asked)
    with pytest.raises(UserError, match="here has read all of these texts"):
        plan(experiment(labels=(12,), lm="here", unlabelled=False), knows_texts=True)
    with pytest.raises(UserError, match="budgets as numbers"):
        experiment(unlabelled=False, labels=(12, ALL), lm="here")


@pytest.mark.usefixtures("without_pictures")
def test_a_run_without_unlabelled_text(data_dir: Path, demo_corpus: Corpus, tmp_path: Path) -> None:
    lm = write_tiny_lm(tmp_path / "lm", demo_corpus)
    found = run(
        tmp_path / "run", data_dir, labels=(12,), seeds=(0,), unlabelled=False, lm=str(lm.folder)
    )
    home = tmp_path / "run" / "seed0" / "labels-12"
    tuned, made = (ulmfit.load(home / name) for name in ("2_finetune_lm", CLASSIFIER))
    assert made.manifest.provenance.parent == tuned.parts.fingerprint
    assert any("(1)" in note for note in tuned.manifest.provenance.notes)  # of twelve held out
    assert "the texts of its own budget, and no others" in found.sentences[-1]


# --- settings


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("stage3.schedule=chain_thaw", "train_classifier.schedule", "chain_thaw"),
        ("train_classifier.lr=0.5", "train_classifier.lr", 0.5),
        ("stage2.epochs=7", "finetune_lm.epochs", 7),
        ("finetune_lm.clip=none", "finetune_lm.clip", None),
        ("stage1.jitter=false", "pretrain_lm.jitter", False),
        ("pretrain_lm.arch.n_hid=99", "pretrain_lm.arch.n_hid", 99),
        ("stage3.hidden_sizes=40,30", "train_classifier.hidden_sizes", (40, 30)),
        ("stage3.moms=0.8 0.7 0.8", "train_classifier.moms", (0.8, 0.7, 0.8)),
        ("text.vocab_splits=train", "text.vocab_splits", ("train",)),
        ("stage3.patience=3", "train_classifier.patience", 3),
    ],
)
def test_a_setting_changes_its_field_alone(setting: str, path: str, value: object) -> None:
    before = Experiment("trec", preset="tiny").recipe()
    after = apply_settings(before, [setting])
    stage, *inner = path.split(".")
    config: Any = getattr(after, stage)
    for name in inner:
        config = getattr(config, name)
    assert config == value and type(config) is type(value)
    assert replace(after, **{stage: getattr(before, stage)}) == before


def test_settings_that_need_each_other_come_in_any_order() -> None:
    before = Experiment("trec", preset="laptop").recipe()
    both = ["stage3.seq_len=2000", "stage3.max_len=3000", "stage1.arch.emb_sz=96", "stage1.arch.n_hid=99"]  # fmt: skip
    after = [apply_settings(before, order) for order in (both, both[::-1])]
    assert after[0] == after[1] and after[0].train_classifier.max_len == 3000
    assert (after[0].pretrain_lm.arch.emb_sz, after[0].pretrain_lm.arch.n_hid) == (96, 99)
    dropouts = [
        "stage1.arch.drop_mult=4.5",
        "stage1.arch.input_p=0.1",
    ]  # 0.25 times 4.5 is too much
    assert apply_settings(before, dropouts).pretrain_lm.arch.drop_mult == 4.5
    twice = apply_settings(before, ["stage3.lr=0.5", "stage3.lr=0.25"])
    assert twice.train_classifier.lr == 0.25


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("stage3.shedule=full", "did you mean 'schedule'?"),
        ("stage4.lr=1", "no stage 'stage4': did you mean 'stage"),
        ("stage3", "is no setting"),
        ("lr=3", "is no setting"),
        ("stage3.epochs=many", "'many' is not a whole number"),
        ("stage3.lr=high", "'high' is not a number"),
        ("stage1.jitter=maybe", "'maybe' is not true or false"),
        ("stage1.arch=big", "arch is a config: name one of backbone"),
        ("stage1.lr.high=3", "lr is a value"),
        ("stage3.schedule=stlr", "--schedule is 'stlr'"),
    ],
)
def test_a_wrong_setting_is_one_line(setting: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        Experiment("trec", settings=(setting,))


# --- what is made of the figures


def test_labels_needed_lie_between_budgets_in_their_logarithms() -> None:
    # In the middle of the two accuracies, so in the geometric mean of the two budgets.
    assert labels_needed([(1000, 0.9), (100, 0.8)], 0.85) == pytest.approx(math.sqrt(100 * 1000))
    assert labels_needed([(10, 0.5), (100, 0.7), (1000, 0.9)], 0.7) == pytest.approx(100)
    # Up, down and up again: it stays there only from the second time on.
    assert labels_needed([(10, 0.5), (20, 0.8), (40, 0.6), (80, 0.8)], 0.7) == pytest.approx(
        40 * math.sqrt(2)
    )
    for never in (
        [(10, 0.5), (100, 0.6)],
        [(10, 0.8), (100, 0.9)],
        [(10, 0.5), (20, 0.8), (40, 0.6)],
    ):
        assert labels_needed(never, 0.7) is None


def test_a_sentence_claims_no_more_than_the_curve() -> None:
    whole = (25_000, 0.907)
    assert sentence([(100, 0.88), (500, 0.934)], "tfidf", whole).startswith(
        "About 220 labels reach"
    )
    assert sentence([(100, 0.92), (500, 0.93)], "tfidf", whole).startswith("100 labels, the fewest")
    assert "do not reach" in sentence([(100, 0.8), (500, 0.9)], "tfidf", whole)


def test_seeds_that_answered_other_documents_count_alike() -> None:
    right = [{1: True, 2: True, 3: False, 4: True}, {3: True, 4: False}]
    found = mean_accuracy(right)
    assert found.value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert 0 <= found.low <= found.value <= found.high <= 1
    sure = mean_accuracy([dict.fromkeys(range(9), True)] * 2)
    assert (sure.low, sure.high) == (1, 1)
    others = mean_accuracy([{2 * seed: True, 2 * seed + 1: True} for seed in range(10)])
    assert (others.low, others.high) == (
        1,
        1,
    )  # a seed none of whose documents was drawn is no error


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("taught", [False, True])
def test_an_estimate_counts_the_tokens_that_will_be_read(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, taught: bool
) -> None:
    monkeypatch.setattr("ulmfit.training.lesson.FEWEST", 10)
    monkeypatch.setattr("ulmfit.training.lesson.SHORT", 0)
    asked = experiment(settings=("stage3.epochs=3",))
    if taught:
        more = (*asked.settings, "stage3.few_labels=30")
        asked = replace(asked, settings=more, labels=(20,), seeds=(0,))
    bench = Bench.open(asked, tmp_path, data_dir=data_dir)
    found = bench.estimate()
    assert names(tmp_path) == {CORPUS}
    heard: list[TrainingProgress] = []
    reproduce(bench.experiment, tmp_path, data_dir=data_dir, progress=heard.append)
    read = {"pretrain_lm": 0, "train_classifier": 0}
    for stage in read:
        rows = [p.epoch_row for p in heard if p.stage == stage and p.epoch_row]
        read[stage] = sum(row.tokens for row in rows)
    for stage in found.stages:
        assert stage.tokens == pytest.approx(read[stage.stage], rel=0.1)
        assert (stage.n_trainings, stage.n_done) == (1, 0) and stage.seconds > 0
    said = next(p.notice for p in heard if "to do: 1 run" in p.notice)
    assert "pretrain-lm: 1 training, about" in said and "an estimate from a few steps" in said
    after = Bench.open(bench.experiment, tmp_path, data_dir=data_dir).estimate()
    assert after.seconds == 0 and all(stage.n_done == 1 for stage in after.stages)


@pytest.mark.usefixtures("without_pictures")
def test_an_estimate_leaves_out_what_was_learnt_before_an_interruption(
    data_dir: Path, tmp_path: Path
) -> None:
    asked = experiment(settings=("stage1.epochs=4", "stage3.epochs=3"), direction="both")
    bench = Bench.open(asked, tmp_path, data_dir=data_dir)
    lm = bench.planned[0].lm
    assert lm is not None
    whole = bench.estimate().stages[0]
    for direction, epoch in (("forward", 1), ("backward", 2)):
        place = Run(tmp_path / lm.folder, {}).folder / f"{direction}.training"
        place.mkdir(parents=True)
        facts = {"epoch": epoch, "batch": 0}
        save_checkpoint(place / CHECKPOINT, Checkpoint({"weight": torch.zeros(1)}, facts))
    assert bench.estimate().stages[0].tokens == pytest.approx(whole.tokens * (3 / 4 + 2 / 4) / 2)
    (place / CHECKPOINT).write_bytes(b"damaged")  # whoever goes on will be told
    assert bench.estimate().stages[0].tokens == pytest.approx(whole.tokens * (3 / 4 + 1) / 2)


# --- stage 1 on general text


@pytest.fixture(scope="module")
def general(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of other texts, without labels."""
    frame = pd.DataFrame(
        {"text": [f"the {a} river runs past {b} doors" for a in ADJECTIVES for b in ADJECTIVES]}
    )
    folder = tmp_path_factory.mktemp("general") / "corpus"
    ulmfit.prepare(frame, folder, label=None, config=replace(ulmfit.TextConfig(), min_freq=1))
    return folder


@pytest.mark.usefixtures("without_pictures")
def test_all_three_stages_from_a_corpus_of_general_text(
    general: Path, data_dir: Path, tmp_path: Path
) -> None:
    asked, out = experiment(lm=str(general)), tmp_path / "run"
    before = estimate_of(asked, out, data_dir=data_dir)
    assert isinstance(before, StageEstimate) and not out.exists()
    heard: list[TrainingProgress] = []
    with pytest.raises(Stopped):
        reproduce(asked, out, data_dir=data_dir, progress=heard.append, max_minutes=1e-4)
    results = reproduce(asked, out, data_dir=data_dir, progress=heard.append)
    learnt = list(dict.fromkeys(p.stage for p in heard if not p.notice))
    assert learnt == ["pretrain_lm", "finetune_lm", "train_classifier"]
    assert {PRETRAINED, FINETUNED, CLASSIFIER, CORPUS, RECIPE} <= names(out)
    first, second = ulmfit.load(out / PRETRAINED), ulmfit.load(out / FINETUNED)
    assert "river" in list(first.parts.vocab) and "who" not in list(first.parts.vocab)
    assert second.manifest.provenance.parent == first.parts.fingerprint
    read = sum(p.epoch_row.tokens for p in heard if p.stage == "pretrain_lm" and p.epoch_row)
    assert before.tokens == pytest.approx(read, rel=0.1)
    assert "Stage 1 learnt from" in (out / "results.md").read_text()
    heard.clear()
    assert reproduce(asked, out, data_dir=data_dir, progress=heard.append).runs == results.runs
    assert not [progress for progress in heard if not progress.notice]
    after = estimate_of(asked, out, data_dir=data_dir)
    assert isinstance(after, Estimate) and after.seconds == 0
    assert isinstance(estimate_of(asked, out, data_dir=data_dir, restart=True), StageEstimate)


def test_the_verb_estimates_stage_1_by_itself(
    general: Path, data_dir: Path, tmp_path: Path, capsys: Capture
) -> None:
    argv = ["reproduce", "trec", "--preset", "tiny", "--lm", str(general), "--out", str(tmp_path / "run")]  # fmt: skip
    assert cli.main([*argv, "--data-dir", str(data_dir), "--estimate"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("pretrain-lm: 1 training, about") and "the rest can be estimated" in said
    assert not (tmp_path / "run").exists()


def test_what_no_run_can_end_with_is_refused_before_stage_1(general: Path, tmp_path: Path) -> None:
    asked = Experiment(general, preset="tiny", lm=str(general), settings=SMALL)
    with pytest.raises(UserError, match="has no labels that are names"):
        reproduce(asked, tmp_path / "run")
    table = tmp_path / "table.csv"
    table.write_text("text,label\n")
    with pytest.raises(UserError, match=r"`ulmfit prepare .*table.csv --preset tiny --out CORPUS`"):
        reproduce(replace(asked, data_set=table), tmp_path / "run")
    qrnn = experiment(lm=str(general), settings=("stage1.arch.backbone=qrnn",))
    with pytest.raises(UserError, match="this language model is a QRNN"):
        reproduce(qrnn, tmp_path / "run", stock=True)
    assert not (tmp_path / "run").exists()


# --- the verb


def test_the_verb_is_the_function(
    single: Path, data_dir: Path, tmp_path: Path, capsys: Capture
) -> None:
    argv = ["reproduce", "trec", "--preset", "tiny", "--out", str(tmp_path / "run"), "--data-dir", str(data_dir)]  # fmt: skip
    argv += [word for setting in (*WORDS, *SMALL) for word in ("--set", setting)]
    assert cli.main([*argv, "--estimate"]) == 0
    assert "train-classifier: 1 training" in capsys.readouterr().out
    assert cli.main([*argv, "--max-minutes", "0.0001"]) == 3
    assert "the same command goes on" in capsys.readouterr().err
    assert cli.main(argv) == 0
    said = capsys.readouterr()
    assert said.out == (tmp_path / "run" / "results.md").read_text() + "\n"
    require_same(single / CLASSIFIER, tmp_path / "run" / CLASSIFIER)
    assert cli.main([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data_set"] == "trec"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("", "no DATA_SET: write it before the flags"),
        ("trec", "reproduce: no --out"),
        ("trek --out o", "no data set or corpus 'trek': did you mean 'trec'?"),
        ("wikitext-2 --out o", "wikitext-2 has no labels"),
        ("trec --out o --preset tinny", "did you mean 'tiny'?"),
        ("trec --out o --seeds 1 1", "--seeds names 1 twice"),
        ("trec --out o --seeds -1", "--seeds is -1"),
        ("trec --out o --labels 50 50", "--labels names 50 twice"),
        ("trec --out o --labels 1", "--labels is 1; allowed: 2 or more, or all"),
        ("trec --out o --labels few", "--labels is 'few'; allowed: whole numbers, or all"),
        ("trec --out o --labels 5000", "--labels 5,000 is more than the 108 labelled"),
        ("trec --out o --table 8", "--table is 8; allowed: 4, 5, 6, 7"),
        ("trec --out o --table 6 --lm none", "--table 6 is about a pretrained language model"),
        (
            "trec --out o --table 7 --rows ful",
            "--rows: table 7 has no row 'ful': did you mean 'full'?",
        ),
        ("trec --out o --rows full", "name it with --table"),
        ("trec --out o --data-dir gone", "--data-dir gone is not a folder"),
        ("trec --out o --lm nowhere", "nowhere is neither"),
        ("trec --out o --split train", "--split is 'train'; allowed: test, valid"),
        ("trec --out o --max-minutes 0", "--max-minutes is 0.0"),
        ("trec --out o --set stage3.lrr=1", "did you mean 'lr'?"),
        (
            "trec --out o --set stage3.lr=inf",
            "--set stage3.lr=inf: --lr is inf; allowed: above 0 and",
        ),
        ("trec --out o --set stage3.seed=4 --seeds 1 2", "stage3.seed=4: --seeds says it"),
        ("trec --out o --set stage3.n_labels=40", "stage3.n_labels=40: --labels says it"),
        ("trec --out o --set stage2.direction=both", "stage2.direction=both: --direction says it"),
        ("trec --out o --direction up", "--direction is 'up'"),
        (
            "gone --out {single}",
            "gone is not there; {single} is a run, and its corpus is {single}/corpus",
        ),
        ("trec --out {single}/corpus", "is an artefact"),
        ("demo --out {single}", "is of trec, not of demo"),
        (
            "{single} --out o",
            "{single} is a run, and its corpus is {single}/corpus: give that",
        ),
        ("{single}/results.csv --out o --lm none", "results.csv --preset laptop --out CORPUS`"),
        ("{single}/corpus --out o", "corpus is not read as"),
        ("{single}/corpus --out o --lm none --set text.lang=de", "is prepared already"),
    ],
)
def test_a_mistake_is_one_line(
    argv: str, says: str, single: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    words = [word.format(single=single) for word in argv.split()]
    data = ["--data-dir", str(data_dir)] if words and "--data-dir" not in words else []
    assert cli.main(["reproduce", *words, *data]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("ulmfit: ")
    assert says.format(single=single) in said.err
    assert said.err.count("\n") == 1
    assert not list(tmp_path.rglob(f"{PRETRAINED}*"))
