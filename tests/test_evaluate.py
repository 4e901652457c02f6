"""A classifier measured on a corpus: figures against scikit-learn and plain loops, which labels the baselines had, and what is refused."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_evidence import made_evidence
from scipy.special import softmax
from sklearn import metrics as sk
from tiny_classifier import write_tiny_classifier

import ulmfit
from ulmfit.errors import UserError
from ulmfit.evaluation import answering, kept
from ulmfit.evaluation.course import courses_of, fit_seconds
from ulmfit.evaluation.documents import n_repeated
from ulmfit.evaluation.evaluate import evaluate
from ulmfit.evaluation.evidence import Evidence
from ulmfit.evaluation.folder import from_json, read_evaluation, to_json, write_evaluation
from ulmfit.evaluation.published import published
from ulmfit.evaluation.report import report_html
from ulmfit.history import EpochRow, StepRow, steps_csv, write_history
from ulmfit.inference.classifier import Classifier
from ulmfit.models.label_set import LabelSet
from ulmfit.text.corpus import Corpus
from ulmfit.text.datasets import DATASETS
from ulmfit.text.holdout import labelled_rows
from ulmfit.training.classifier_config import ClassifierConfig

pytestmark = pytest.mark.usefixtures("calm")

NAMES = ("bad", "fair", "good")
CHEAP: dict[str, Any] = {"baselines": (), "n_explanations": 0, "precision": "fp32"}


def frame(n: int = 150, *, n_test: int = 60) -> pd.DataFrame:
    """Reviews of filler words and one that tells the label."""
    draw = np.random.default_rng(0)
    fillers = [f"word{i}" for i in range(20)]
    found = []
    for row in range(n):
        label = NAMES[row % 3]
        words = [*draw.choice(fillers, draw.integers(3, 12)), f"so{label}"]
        split = "test" if row >= n - n_test else "train"
        found.append({"text": " ".join(words), "label": label, "split": split})
    found[-1]["label"] = ""  # a test document without label
    return pd.DataFrame(found)


def prepared(rows: pd.DataFrame, out: Path, **settings: Any) -> Corpus:
    config = ulmfit.TextConfig(min_freq=1, **settings)
    return ulmfit.prepare(rows, out, split="split", config=config)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return prepared(frame(), tmp_path_factory.mktemp("evaluate") / "corpus")


def write(
    out: Path, corpus: Corpus, *, direction: str = "forward", seed: int = 0, **config: Any
) -> Classifier:
    """Write a classifier that says of itself what stage 3 would say."""
    labels = LabelSet.of(corpus).tempered(0.5 + seed)
    parts = write_tiny_classifier(out, corpus, direction=direction, labels=labels)
    settings = {
        "stage": "train_classifier",
        "corpus": corpus.fingerprint,
        "config": json.loads(json.dumps(asdict(ClassifierConfig(seed=seed, **config)))),
    }
    made = replace(parts.manifest.provenance, seed=seed, protocol="clean", config=settings)
    replace(parts.manifest, provenance=made).save(out)
    return Classifier.load(out)


@pytest.fixture(scope="module")
def clf(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return write(tmp_path_factory.mktemp("evaluate") / "clf", corpus, n_labels=40)


@pytest.fixture(scope="module")
def both(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return write(tmp_path_factory.mktemp("evaluate") / "both", corpus, direction="both", seed=1)


@pytest.fixture(scope="module")
def evidence(clf: Classifier, corpus: Corpus) -> Evidence:
    return evaluate(clf, corpus, n_errors=5, n_explanations=1, precision="fp32")


def labelled_test(corpus: Corpus) -> tuple[list[int], np.ndarray]:
    """The rows that have to be answered, and their labels."""
    rows = [r for r in range(len(corpus)) if corpus.splits[r] == 2 and corpus.labels[r] >= 0]
    return rows, np.array([corpus.labels[r] for r in rows])


def figures(evidence: Evidence) -> dict[str, float]:
    return {row.name: row.figure.value for row in evidence.scores}


# ---------------------------------------------------------------- the figures


def test_figures_are_those_of_scikit_learn(
    evidence: Evidence, clf: Classifier, corpus: Corpus
) -> None:
    rows, truth = labelled_test(corpus)
    found = np.concatenate([clf.probabilities([corpus[row]], precision="fp32") for row in rows])
    said = found.argmax(1)
    assert len(rows) == evidence.n_documents == 59
    expected = {
        "accuracy": sk.accuracy_score(truth, said),
        "error": sk.zero_one_loss(truth, said),
        "macro_f1": sk.f1_score(truth, said, average="macro"),
        "auc": sk.roc_auc_score(truth, found, multi_class="ovr"),
        "nll": sk.log_loss(truth, found),
    }
    ours = figures(evidence)
    assert {name: ours[name] for name in expected} == pytest.approx(expected, abs=1e-4)
    assert np.array_equal(evidence.confusion, sk.confusion_matrix(truth, said))
    table = sk.precision_recall_fscore_support(truth, said, zero_division=np.nan)
    for row, precision, recall, f1, support in zip(evidence.labels, *table):
        assert row.precision.value == pytest.approx(precision, nan_ok=True)
        assert (row.recall.value, row.f1.value) == pytest.approx((recall, f1))
        assert row.support == support
    assert all(row.figure.low <= row.figure.value <= row.figure.high for row in evidence.scores)


def test_calibration_compares_with_temperature_one(
    evidence: Evidence, clf: Classifier, corpus: Corpus
) -> None:
    rows, truth = labelled_test(corpus)
    logits = clf.logits([corpus[row] for row in rows], "forward", precision="fp32").astype(float)
    rows_of_it = evidence.calibration
    assert rows_of_it.temperature == 0.5
    for figure, temperature in ((rows_of_it.nll_before, 1.0), (rows_of_it.nll_after, 0.5)):
        loss = sk.log_loss(truth, softmax(logits / temperature, axis=1))
        assert figure.value == pytest.approx(loss, abs=1e-4)
    assert rows_of_it.n_valid == len(labelled_rows(corpus, share=0.1, seed=0, n_labels=40).valid)


def test_each_direction_has_its_own_figures(both: Classifier, corpus: Corpus) -> None:
    found = evaluate(both, corpus, **CHEAP)
    rows, truth = labelled_test(corpus)
    documents = [corpus[row] for row in rows]
    assert [row.name for row in found.directions] == ["forward", "backward"]
    for row in found.directions:
        said = both.probabilities(documents, precision="fp32", direction=row.name).argmax(1)
        ours = {score.name: score.figure.value for score in row.scores}
        assert ours["accuracy"] == pytest.approx(sk.accuracy_score(truth, said))
    average = both.probabilities(documents, precision="fp32").argmax(1)
    assert figures(found)["accuracy"] == pytest.approx(sk.accuracy_score(truth, average))


def test_another_corpus_is_no_clean_test(
    clf: Classifier, corpus: Corpus, evidence: Evidence, tmp_path: Path
) -> None:
    """The classifier may have learnt from these very documents, under another name."""
    rows = frame()
    rows["split"] = rows.split.map({"train": "test", "test": "train"})
    config = replace(corpus.config, vocab_splits=("train", "test"))
    other = ulmfit.prepare(rows, tmp_path / "corpus", split="split", config=config)
    found = evaluate(clf, replace(other, vocab=corpus.vocab), **CHEAP)
    assert (evidence.protocol, found.protocol) == ("clean", "unknown")


def test_trainings_that_differ_in_more_than_their_seed_are_not_averaged(
    clf: Classifier, corpus: Corpus, tmp_path: Path
) -> None:
    other = write(tmp_path / "other", corpus, seed=3, n_labels=20)
    with pytest.raises(UserError, match=r"the n_labels of .* differ \(40, 20\)"):
        evaluate([clf, other], corpus, **CHEAP)


def test_a_label_with_a_carriage_return_is_one_cell(tmp_path: Path) -> None:
    evidence = made_evidence(n=20)
    assert evidence.predictions is not None
    seeds = tuple(
        replace(each, names=("po\rs", *each.names[1:])) for each in evidence.predictions.answers
    )
    evidence = replace(evidence, predictions=replace(evidence.predictions, answers=seeds))
    write_evaluation(evidence, tmp_path / "out")
    with open(next((tmp_path / "out").glob("predictions*.csv")), newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 21 and {len(row) for row in rows} == {len(rows[0])}
    assert "po\rs" in {row[1] for row in rows}


def test_seeds_are_averaged(clf: Classifier, corpus: Corpus, tmp_path: Path) -> None:
    other = write(tmp_path / "other", corpus, seed=3, n_labels=40)
    found = evaluate([clf, other.folder], corpus, **CHEAP)
    each = [figures(evaluate(c, corpus, **CHEAP))["nll"] for c in (clf, other)]
    (row,) = (row for row in found.scores if row.name == "nll")
    assert row.spread.values == pytest.approx(each)
    assert row.figure.value == pytest.approx(np.mean(each))
    assert found.seeds == (0, 3)
    out = write_evaluation(found, tmp_path / "out")
    files = {path.name for path in out.glob("predictions*")}
    assert files == {"predictions-seed0.csv", "predictions-seed3.csv"}


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 12))
def test_windows_are_all_rows_in_order(lengths: list[int], most: int) -> None:
    corpus: Any = SimpleNamespace(offsets=np.cumsum([0, *lengths]))
    rows = np.arange(len(lengths))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answering, "WINDOW_TOKENS", most)
        found = list(answering.windows(corpus, rows))
    assert np.array_equal(np.concatenate(found), rows)
    for window in found:
        sizes = [max(1, lengths[row]) for row in window]
        assert sum(sizes) < most + max(sizes)


def test_answers_do_not_depend_on_windows(
    clf: Classifier, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, int]] = []
    whole = evaluate(clf, corpus, **CHEAP)
    monkeypatch.setattr(answering, "WINDOW_TOKENS", 100)
    cut = evaluate(clf, corpus, progress=lambda *step: done.append(step), **CHEAP)
    (one,), (other,) = whole.predictions.answers, cut.predictions.answers
    assert np.abs(one.scores - other.scores).max() < 1e-5
    assert len(done) > 3 and done[-1] == ("documents", 59)


@pytest.mark.parametrize("kind", ["multi", "number"])
def test_other_kinds_of_labels_go_without_baselines(kind: str, tmp_path: Path) -> None:
    rows = frame().iloc[:-1]
    if kind == "multi":
        rows["label"] = rows["label"].map({"bad": "a;b", "fair": "b", "good": "c"})
        corpus = prepared(rows, tmp_path / "corpus", label_delim=";")
    else:
        rows["label"] = rows["label"].map({"bad": -1.0, "fair": 0.5, "good": 2.0})
        corpus = prepared(rows, tmp_path / "corpus", label_kind="number")
    clf = write(tmp_path / "clf", corpus)
    found = evaluate(clf, corpus, n_errors=2, n_explanations=1, precision="fp32")
    test = np.flatnonzero(corpus.splits == 2)
    truth = np.asarray(corpus.labels[test])
    said = clf.probabilities([corpus[row] for row in test], precision="fp32")
    if kind == "multi":
        expected = {"micro_f1": sk.f1_score(truth, said >= 0.5, average="micro")}
    else:
        expected = {"mae": sk.mean_absolute_error(truth, said), "r2": sk.r2_score(truth, said)}
    assert {n: figures(found)[n] for n in expected} == pytest.approx(expected, rel=1e-4)
    assert found.baselines == () and "There are no baselines" in found.notes[0]
    page = report_html(found)
    assert "There are no baselines" in page
    assert ("The farthest off" in page) == (kind == "number")
    out = write_evaluation(found, tmp_path / "out")
    table = pd.read_csv(out / "predictions.csv")
    assert len(table) == 59 and len(found.errors) == 2
    assert report_html(read_evaluation(out)) == report_html(found)


# ---------------------------------------------------------------- which documents


def test_baselines_learn_from_the_labels_that_the_classifier_had(
    evidence: Evidence, clf: Classifier, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = kept.run_baseline

    def watched(name: str, train: Any, test: Any) -> Any:
        seen.append((train, test))
        return real(name, train, test)

    monkeypatch.setattr(kept, "run_baseline", watched)
    evaluate(clf, corpus, baselines=["majority"], n_explanations=0)
    ((train, test),) = seen
    given = labelled_rows(corpus, share=0.1, seed=0, n_labels=40)
    rows = sorted([*given.train.tolist(), *given.valid.tolist()])
    assert len(rows) == 40
    assert list(train.texts) == [" ".join(corpus.tokens(row)) for row in rows]
    assert list(test.texts) == [" ".join(corpus.tokens(row)) for row in labelled_test(corpus)[0]]
    assert [row.name for row in evidence.baselines] == ["majority", "tfidf", "nbsvm"]
    assert {row.n_train for row in evidence.baselines} == {40}


def test_mcnemar_counts_where_only_one_is_right(evidence: Evidence) -> None:
    """The majority of 40 labels, drawn evenly, answers one label for all."""
    (answers,) = evidence.predictions.answers
    row = evidence.baselines[0]
    counts = [
        (int((answers.is_right & (answers.labels != label)).sum()),
         int((~answers.is_right & (answers.labels == label)).sum()))
        for label in range(3)
    ]  # fmt: skip
    assert (row.test.only_first, row.test.only_second) in counts
    gap = (row.test.only_first - row.test.only_second) / len(answers)
    assert row.difference.value == pytest.approx(gap)


def test_without_a_valid_split_the_documents_held_out_stand_for_it(
    clf: Classifier, corpus: Corpus
) -> None:
    found = evaluate(clf, corpus, split="valid", baselines=["tfidf"], n_explanations=0)
    held_out = labelled_rows(corpus, share=0.1, seed=0, n_labels=40)
    assert np.array_equal(found.predictions.rows, held_out.valid)
    assert found.baselines[0].n_train == len(held_out.train)
    assert "flatter" in found.notes[0]
    assert f"{len(held_out.valid)} valid documents" in report_html(found)


def test_a_model_from_elsewhere_is_said_to_be(corpus: Corpus, tmp_path: Path) -> None:
    write_tiny_classifier(tmp_path / "clf", corpus, labels=LabelSet.of(corpus))
    found = evaluate(tmp_path / "clf", corpus.folder, baselines=["majority"], n_explanations=0)
    assert found.protocol == "unknown" and "not trained on this corpus" in found.notes[0]
    assert found.baselines[0].n_train == 90
    assert found.calibration.n_valid == 0 and found.courses == ()
    assert "Seeds: 7." in report_html(found)
    (tmp_path / "clf" / "history.csv").write_text("epoch\n1\n")
    with pytest.raises(UserError, match="is not the history of a training"):
        evaluate(tmp_path / "clf", corpus, **CHEAP)


def test_repeated_documents_are_counted(tmp_path: Path) -> None:
    rows = frame()
    rows.loc[[140, 141], "text"] = [rows["text"][3], rows["text"][4]]
    corpus = prepared(rows, tmp_path / "corpus")
    test = corpus.rows("test")
    others = [corpus[r].tolist() for r in range(len(corpus)) if r not in set(test.tolist())]
    assert n_repeated(corpus, test) == sum(corpus[r].tolist() in others for r in test) >= 2


# ---------------------------------------------------------------- training, comparisons


def test_the_course_of_training_is_read_from_the_folder(both: Classifier, corpus: Corpus) -> None:
    nan = float("nan")
    row = EpochRow(1, 1, 0.1, 0.9, 0.8, 0.5, nan, nan, 100, 10.0, 7.5)
    for name in both.directions:
        write_history(both.folder / f"history-{name}.csv", [row, replace(row, epoch=2)])
        steps = steps_csv([StepRow(5, 0.7, (0.0, 0.1, 0.2, 0.3), 0.9)])
        (both.folder / f"steps-{name}.csv").write_text(steps)
    found = courses_of(both)
    assert [course.direction for course in found] == ["forward", "backward"]
    columns = ("epoch", "train loss", "valid loss", "accuracy", "seconds")
    assert found[1].history.columns == columns
    assert found[1].history.rows[1] == (2, 0.9, 0.8, 0.5, 7.5)
    assert found[0].schedule.columns == ("batch", "embedding", "layer 1", "layer 2", "head")
    assert found[0].schedule.rows == ((5, 0.0, 0.1, 0.2, 0.3),)
    assert fit_seconds(found) == 4 * 7.5
    assert evaluate(both, corpus, **CHEAP).seconds.fit == 30.0


def named(corpus: Corpus, name: str) -> Corpus:
    return replace(corpus, manifest=replace(corpus.manifest, name=name))


def test_published_figures_stand_beside_ours_of_the_same_direction(
    clf: Classifier, both: Classifier, corpus: Corpus
) -> None:
    imdb = named(corpus, "imdb")
    one, two = (evaluate(c, imdb, **CHEAP) for c in (clf, both))
    assert [round(row.theirs, 4) for row in one.comparisons] == [0.053, 0.943, 0.9496]
    assert one.comparisons[0].ours.value == figures(one)["error"]
    assert {round(row.theirs, 4) for row in two.comparisons} == {
        round(row.value, 4) for row in published("imdb")
    }
    forward = {row.name: row.figure for row in two.directions[0].scores}
    (row,) = (row for row in two.comparisons if row.theirs == 0.053)
    assert row.ours == forward["error"] and "transductive" in row.source
    assert evaluate(clf, imdb, split="valid", **CHEAP).comparisons == ()
    assert evaluate(clf, named(corpus, "imdb.csv"), **CHEAP).comparisons == ()


def test_published_figures_are_those_of_the_tables() -> None:
    """Errors in percent of the paper's tables 2 and 3 and of its section 5."""
    rows = [row for name in DATASETS for row in published(name)]
    errors = {
        (row.data_set, row.direction): 100 * row.value for row in rows if row.metric == "error"
    }
    assert errors == pytest.approx({
        ("imdb", "both"): 4.58, ("imdb", "forward"): 5.30, ("trec", "both"): 3.6,
        ("ag_news", "both"): 5.01, ("dbpedia", "both"): 0.80, ("yelp_polarity", "both"): 2.16,
        ("yelp_full", "both"): 29.98,
    })  # fmt: skip


# ---------------------------------------------------------------- on disk


def test_the_folder_holds_report_evidence_and_answers(
    evidence: Evidence, corpus: Corpus, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write_evaluation(made_evidence(n=60), out)  # of two seeds, whose files have to go
    write_evaluation(evidence, out)
    names = {path.name for path in out.iterdir()}
    assert names == {
        "report.html", "report.md", "report_figures", "evaluation.json", "predictions.csv", "manifest.json",
    }  # fmt: skip
    table = pd.read_csv(out / "predictions.csv")
    rows, truth = labelled_test(corpus)
    assert table["row"].tolist() == rows
    assert [corpus.label(row) for row in table["row"]] == table["label"].tolist()
    assert table["label"].tolist() == [NAMES[label] for label in truth]
    assert table["predicted"].tolist() == table[list(NAMES)].idxmax(axis=1).tolist()
    assert (table["predicted"] == table["label"]).mean() == figures(evidence)["accuracy"]
    assert table["confidence"].tolist() == table[list(NAMES)].max(axis=1).tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_errors_and_explanations_are_of_wrong_answers(evidence: Evidence, corpus: Corpus) -> None:
    (answers,) = evidence.predictions.answers
    wrong = answers.scores.max(1)[~answers.is_right]
    assert [row.confidence for row in evidence.errors] == sorted(wrong, reverse=True)[:5]
    (explanation,) = evidence.explanations
    first = evidence.errors[0]
    assert explanation.heading.startswith(f"{first.true} → {first.predicted}")
    assert len(explanation.words) == len(explanation.weights) > 0
    assert "below that of random orders on average" in explanation.heading


def test_documents_of_several_texts_are_explained_as_they_were_read(tmp_path: Path) -> None:
    rows = frame().assign(title="A title")
    corpus = ulmfit.prepare(
        rows, tmp_path / "corpus", text=["title", "text"], split="split", config=ulmfit.TextConfig(min_freq=1)
    )  # fmt: skip
    clf = write(tmp_path / "clf", corpus)
    found = evaluate(clf, corpus, baselines=[], n_explanations=1, precision="fp32")
    assert "title" in found.explanations[0].words[:4]


@pytest.mark.parametrize("of", ["made", "real"])
def test_evidence_comes_back_from_json(of: str, evidence: Evidence) -> None:
    before = made_evidence(n=60) if of == "made" else evidence
    text = json.dumps(to_json(before), allow_nan=False)
    after = from_json(json.loads(text))
    assert report_html(after) == report_html(before)
    assert to_json(after) == to_json(before)
    assert after.predictions is None


def test_a_damaged_evaluation_is_one_line(evidence: Evidence, tmp_path: Path) -> None:
    out = write_evaluation(evidence, tmp_path / "out")
    content = to_json(evidence)
    for damage in ({**content, "colour": 1}, {**content, "scores": 7}, [], {"title": "t"}):
        (out / "evaluation.json").write_text(json.dumps(damage))
        with pytest.raises(UserError, match="evaluate again"):
            read_evaluation(out)
    with pytest.raises(UserError, match="not the folder of an evaluation"):
        read_evaluation(tmp_path)


def test_a_model_is_never_overwritten(evidence: Evidence, clf: Classifier) -> None:
    with pytest.raises(UserError, match="holds classifier"):
        write_evaluation(evidence, clf.folder)


# ---------------------------------------------------------------- what is refused


def test_another_vocabulary_or_tokenizer_is_refused(
    clf: Classifier, corpus: Corpus, demo_corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"vocabularies .* differ; id .*train-classifier"):
        evaluate(clf, demo_corpus)
    other = replace(corpus, manifest=replace(corpus.manifest, tokenizer_fingerprint="another"))
    with pytest.raises(UserError, match="another tokenizer"):
        evaluate(clf, other)


def test_other_labels_are_refused(clf: Classifier, corpus: Corpus) -> None:
    manifest = replace(corpus.manifest, label_names=("bad", "fair", "great"))
    with pytest.raises(UserError, match=r"bad, fair, good .* bad, fair, great"):
        evaluate(clf, replace(corpus, manifest=manifest))
    bare = replace(corpus, manifest=replace(corpus.manifest, label_kind="none"), labels=None)
    with pytest.raises(UserError, match=r"has no labels.*--label COLUMN"):
        evaluate(clf, bare)


def test_a_split_without_documents_or_labels_is_refused(
    clf: Classifier, corpus: Corpus, tmp_path: Path
) -> None:
    no_test = replace(corpus, splits=np.where(corpus.splits == 2, 0, corpus.splits))
    with pytest.raises(UserError, match=r"no test documents: --split may be valid$"):
        evaluate(clf, no_test)
    unlabelled = np.where(corpus.splits == 2, -1, corpus.labels)
    with pytest.raises(UserError, match=r"none of the 60 test documents.*ulmfit predict"):
        evaluate(clf, replace(corpus, labels=unlabelled))
    with pytest.raises(UserError, match="--split is 'train'; allowed: test, valid"):
        evaluate(clf, corpus, split="train")


def test_what_cannot_be_averaged_is_refused(
    clf: Classifier, both: Classifier, corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="different seeds"):
        evaluate([clf, clf], corpus)
    with pytest.raises(UserError, match=r"directions .* differ"):
        evaluate([clf, both], corpus)
    with pytest.raises(UserError, match="no classifier"):
        evaluate([], corpus)
    other = write(tmp_path / "other", corpus, seed=5, n_labels=40)
    with pytest.raises(UserError, match="each seed held out other documents"):
        evaluate([clf, other], corpus, split="valid")
    with pytest.raises(UserError, match="did you mean 'tfidf'"):
        evaluate(clf, corpus, baselines=["tfidff"])
    with pytest.raises(UserError, match="not a classifier"):
        evaluate(corpus.folder, corpus)


def test_documents_that_were_learnt_from_are_told(tmp_path: Path) -> None:
    rows = frame()
    taught = rows[(rows["split"] == "train") & (rows["label"] != "")]
    corpus = prepared(pd.concat([rows, taught.head(7).assign(split="test")]), tmp_path / "corpus")
    clf = write(tmp_path / "clf", corpus)
    learnt = {
        corpus[row].tobytes() for row in labelled_rows(corpus, share=0.1, seed=0).train.tolist()
    }
    learnt |= {
        corpus[row].tobytes() for row in labelled_rows(corpus, share=0.1, seed=0).valid.tolist()
    }
    answered, _ = labelled_test(corpus)
    n_known = sum(corpus[row].tobytes() in learnt for row in answered)
    assert n_known >= 7
    said = f"{n_known} of the {len(answered)} documents also stand, token for token, where the model learnt from"
    assert any(note.startswith(said) for note in evaluate(clf, corpus, **CHEAP).notes)


def test_labels_that_are_called_like_columns_get_columns_of_their_own(tmp_path: Path) -> None:
    found = sorted(set(frame()["label"]) - {""})
    rows = frame().replace({"label": dict(zip(found, ("label", "confidence", "row")))})
    corpus = prepared(rows, tmp_path / "corpus")
    write_evaluation(evaluate(write(tmp_path / "clf", corpus), corpus, **CHEAP), tmp_path / "out")
    header = (tmp_path / "out" / "predictions.csv").read_text().splitlines()[0].split(",")
    assert len(set(header)) == len(header)
    assert header[:4] == ["row", "label", "predicted", "confidence"]
