"""The estimator: scikit-learn's own tools and checks applied to it, labels of every type, and what is pickled."""

from __future__ import annotations

import pickle
import pickletools
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

import ulmfit
from ulmfit.config import TextConfig
from ulmfit.errors import Stopped
from ulmfit.models.arch import ArchConfig
from ulmfit.training.presets import CLASSIFIER_PRESETS, PRETRAIN_PRESETS

pytestmark = pytest.mark.usefixtures("calm")

PRETRAIN = replace(
    PRETRAIN_PRESETS["tiny"], bs=8, epochs=1, arch=ArchConfig(emb_sz=16, n_hid=24, n_layers=1)
)
CLASSIFIER = replace(
    CLASSIFIER_PRESETS["tiny"], epochs=10, bs=8, lr=1e-2, schedule="full", drop_mult=0.0, head_p=0.0
)
WORDS = {"pos": ("fine", "lovely", "great"), "neg": ("dull", "awful", "poor")}


def small(**changes: Any) -> ulmfit.ULMFiTClassifier:
    settings = {"pretrain": PRETRAIN, "classifier": CLASSIFIER, "config": TextConfig(min_freq=1)}
    return ulmfit.ULMFiTClassifier("tiny", **{"random_state": 0, **settings, **changes})


def reviews(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Write texts whose label hangs on their words alone."""
    draw = random.Random(seed)
    labels = [("pos", "neg")[i % 2] for i in range(n)]
    texts = [
        f"the film {i} was {draw.choice(WORDS[label])} and {draw.choice(WORDS[label])}"
        for i, label in enumerate(labels)
    ]
    return texts, labels


@pytest.fixture(scope="module")
def fitted() -> ulmfit.ULMFiTClassifier:
    return small(precision="fp32").fit(*reviews(60))


def test_it_learns_and_answers(fitted: ulmfit.ULMFiTClassifier) -> None:
    texts, labels = reviews(40, seed=1)
    assert fitted.classes_.tolist() == ["neg", "pos"]
    found = fitted.predict_proba(texts)
    assert found.shape == (40, 2)
    np.testing.assert_allclose(found.sum(1), 1)
    assert fitted.predict(texts).tolist() == fitted.classes_[found.argmax(1)].tolist()
    assert fitted.score(texts, labels) == np.mean(fitted.predict(texts) == np.array(labels)) > 0.8
    assert fitted.predict_proba([]).shape == (0, 2)


def test_texts_come_in_any_container(fitted: ulmfit.ULMFiTClassifier) -> None:
    texts = ["a fine film", "", "dull"]
    expected = fitted.predict_proba(texts)
    index = pd.Index([7, 7, 9])
    for same in (
        tuple(texts),
        np.array(texts),
        np.array(texts, object),
        pd.Series(texts, index=index),
        pd.Series(["a fine film", None, "dull"], dtype="string"),
        ["a fine film", np.nan, "dull"],
        iter(texts),
    ):
        np.testing.assert_array_equal(fitted.predict_proba(same), expected)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("one text", "put it in a list"),
        (np.array([["a"], ["b"]]), "give one column"),
        (pd.DataFrame({"text": ["a"]}), "give one column"),
        ([["a", "list"]], "text 0 is a list"),
        (["a", 3], "text 1 is a int"),
        ([b"bytes"], "text 0 is a bytes"),
    ],
)
def test_what_is_no_texts(fitted: ulmfit.ULMFiTClassifier, wrong: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        fitted.predict(wrong)


@pytest.mark.parametrize(
    ("texts", "labels", "says"),
    [
        (["a", "b"], ["x"], "2 texts and 1 labels"),
        (["a", "b"], None, "y is None"),
        (["a", "b"], ["x", None], "label 1 is missing"),
        (["a", "b"], [["x"], ["y"]], "not hashable"),
        (["a", "b"], np.eye(2), "several labels"),
    ],
)
def test_what_is_no_labels(texts: Any, labels: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        small().fit(texts, labels)


@pytest.mark.parametrize("config", [{"label_kind": "number"}, {"label_delim": ";"}])
def test_numbers_and_several_labels_are_refused_before_any_training(config: Any) -> None:
    asked = small(config=ulmfit.TextConfig(**config))
    with pytest.raises(ValueError, match="takes one label in words"):
        asked.fit(*reviews(60))


def test_a_generator_is_no_seed() -> None:
    with pytest.raises(ValueError, match="random_state is a Generator: give a whole number"):
        small(random_state=np.random.default_rng(0)).fit(*reviews(60))


@pytest.mark.parametrize("odd", ["pos ", "half \ud83d", "pos\0"])
def test_labels_that_no_file_keeps_come_back(odd: str) -> None:
    texts, labels = reviews(60)
    labels = [odd if label == "neg" else label for label in labels]
    found = small().fit(texts, labels)
    assert found.classes_.tolist() == sorted({"pos", odd})
    assert set(found.predict(texts)) <= set(found.classes_)


def test_a_wrong_precision_is_refused_before_any_training() -> None:
    with pytest.raises(ulmfit.UserError, match="--precision is 'half'; allowed: auto"):
        small(precision="half").fit([], [])


@pytest.mark.parametrize(
    ("reason", "ends"), [("Ctrl-C", KeyboardInterrupt), ("SIGTERM", SystemExit)]
)
def test_a_search_does_not_go_on_after_an_interruption(
    reason: str, ends: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    n_fits = 0

    def stopped(*_: object, **__: object) -> None:
        nonlocal n_fits
        n_fits += 1
        raise Stopped("stopped", reason=reason)

    monkeypatch.setattr("ulmfit.recipe.fit", stopped)
    with pytest.raises(ends) as end:
        cross_val_score(small(), *map(np.array, reviews(30)), cv=3)
    assert n_fits == 1 and (ends is KeyboardInterrupt or end.value.code == 143)


def test_a_refusal_names_no_folder_that_is_gone() -> None:
    with pytest.raises(ulmfit.UserError, match="each label of X has one document"):
        small().fit(["a b", "c d", "e f", "g h"], list("wxyz"))


def test_too_little_is_refused_before_any_training() -> None:
    with pytest.raises(ValueError, match="all texts of label 'z' are empty"):
        small().fit(["a b", "c d", "e f", "g h", " ", ""], ["x", "y", "x", "y", "z", "z"])
    with pytest.raises(ulmfit.UserError, match="two labels"):
        small().fit(["a b", "c d", "e f"], ["x", "x", "x"])
    with pytest.raises(ulmfit.UserError, match="at least 3"):
        small().fit(["a b", "c d"], ["x", "y"])


@pytest.mark.parametrize(
    ("pos", "neg", "dtype"),
    [
        (1, -1, np.int64),
        (10, 9, np.int64),  # as words they would stand the other way round
        (True, False, np.bool_),
        (0.5, 1.5, np.float64),
        ("", "unsup", np.str_),  # which mean something else in a table
        (" ", "neg", np.str_),  # as does this
        (1, "1", np.object_),
        ("1", "1.0", np.str_),  # one number, and so one label, in a table
        (("a", 1), ("b", 2), np.object_),
    ],
)
def test_labels_come_back_as_they_were(
    pos: Any, neg: Any, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, names = reviews(40)
    labels = [{"pos": pos, "neg": neg}[name] for name in names]
    found = small().fit(texts, labels)
    assert found.classes_.dtype.type == dtype
    assert set(found.classes_.tolist()) == {pos, neg}
    answers = found.predict(texts)
    assert np.mean([answer == label for answer, label in zip(answers.tolist(), labels)]) > 0.9
    assert {type(answer) for answer in answers.tolist()} <= {type(pos), type(neg)}


def test_numpys_scalars_one_by_one_are_an_array_of_them() -> None:
    texts, names = reviews(40)
    labels = np.array([name == "pos" for name in names], np.int64)
    found = small().fit(texts, list(labels))
    assert found.classes_.dtype == np.int64
    assert found.score(texts, list(labels)) == found.score(texts, labels) > 0.9


def test_the_seed_decides() -> None:
    texts, labels = reviews(30)
    one, same, other = (
        small(random_state=seed).fit(texts, labels).predict_proba(texts) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    drawn = small(random_state=np.random.RandomState(5))
    assert clone(drawn).fit(texts, labels).predict_proba(texts).shape == (30, 2)


def test_unlabelled_texts_widen_the_vocabulary() -> None:
    texts, labels = reviews(30)
    found = small().fit(
        texts, np.array(labels), unlabelled=pd.Series(["a zebra", "zebra stripes", None])
    )
    assert "zebra" in found.model_.vocab
    assert "zebra" not in small().fit(texts, labels).model_.vocab
    assert found.classes_.tolist() == ["neg", "pos"]


# --- scikit-learn's tools


def test_cross_validation_and_pipeline() -> None:
    texts, labels = reviews(60)
    pipeline = make_pipeline(FunctionTransformer(lambda texts: [t.upper() for t in texts]), small())
    scores = cross_val_score(pipeline, texts, labels, cv=2, scoring="accuracy", error_score="raise")
    assert scores.shape == (2,) and scores.mean() > 0.7
    found = cross_val_predict(small(), np.array(texts), labels, cv=2, method="predict_proba")
    assert found.shape == (60, 2)


def test_grid_search_over_configs() -> None:
    texts, labels = reviews(40)
    grid = {"classifier": [CLASSIFIER, replace(CLASSIFIER, lr=1e-6, epochs=1)], "preset": ["tiny"]}
    search = GridSearchCV(small(), grid, cv=2, error_score="raise").fit(texts, labels)
    assert search.best_params_["classifier"] == CLASSIFIER
    assert search.predict(texts[:3]).shape == (3,)


@pytest.mark.parametrize(
    "check",
    [
        "check_estimator_cloneable", "check_estimator_tags_renamed", "check_valid_tag_types",
        "check_estimator_repr", "check_no_attributes_set_in_init", "check_mixin_order",
        "check_do_not_raise_errors_in_init_or_set_params", "check_parameters_default_constructible",
        "check_get_params_invariance", "check_set_params",
    ],
)  # fmt: skip
def test_scikit_learns_checks_that_need_no_data(check: str) -> None:
    """`check_estimator` itself ends here for estimators of texts: the rest of its checks draw numbers for input."""
    getattr(estimator_checks, check)("ULMFiTClassifier", ulmfit.ULMFiTClassifier())


def test_scikit_learn_knows_its_input() -> None:
    tags = small().__sklearn_tags__()
    assert (tags.input_tags.string, tags.input_tags.two_d_array) == (True, False)
    assert tags.estimator_type == "classifier" and tags.target_tags.required
    with pytest.warns(Warning, match="requires input"):
        estimator_checks.check_estimator(small())


def test_the_constructor_stores_and_clones_share_nothing(fitted: ulmfit.ULMFiTClassifier) -> None:
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(["fine"])
    with pytest.raises(ulmfit.UserError, match="did you mean 'tiny'"):
        ulmfit.ULMFiTClassifier("tinny").fit(*reviews(10))


# --- what is pickled


@pytest.mark.parametrize("way", ["joblib", "pickle"])
def test_a_copy_answers_the_same(fitted: ulmfit.ULMFiTClassifier, way: str, tmp_path: Path) -> None:
    texts, _ = reviews(10, seed=2)
    expected = fitted.predict_proba(texts)
    if way == "joblib":
        joblib.dump(fitted, tmp_path / "it.joblib", compress=3)
        copy = joblib.load(tmp_path / "it.joblib")
    else:
        copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.predict_proba(texts), expected)
    assert copy.model_.folder != fitted.model_.folder
    again = pickle.loads(pickle.dumps(copy))
    np.testing.assert_array_equal(again.predict_proba(texts), expected)


def test_the_pickle_holds_the_files_of_the_folder(fitted: ulmfit.ULMFiTClassifier) -> None:
    files = fitted.__getstate__()["_files"]
    folder = fitted.model_.folder
    assert set(files) == {
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()
    }
    assert all((folder / name).read_bytes() == content for name, content in files.items())
    assert {type(value) for value in files.values()} == {bytes}
    code = {
        arg
        for op, arg, _ in pickletools.genops(pickle.dumps(fitted))
        if op.name == "SHORT_BINUNICODE"
    }
    assert not any("torch" in name or "ulmfit.inference" in name for name in code)


def test_the_folder_goes_with_the_estimator(fitted: ulmfit.ULMFiTClassifier) -> None:
    copy = pickle.loads(pickle.dumps(fitted))
    folder = copy.model_.folder
    assert folder.is_dir()
    del copy
    assert not folder.exists()
