"""Explanations: against a classifier in which one word decides, leaving words out of the raw text, and finite differences."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from one_word_decides import WEIGHT, one_word_decides
from tiny_classifier import LABELS, LM_ARCH, tiny_weights, write_tiny_classifier

from ulmfit.errors import UserError
from ulmfit.inference.classifier import Classifier
from ulmfit.inference.explanation import Explanation, html_page
from ulmfit.inference.faithfulness import deletion_curve
from ulmfit.inference.occlusion import LEAST_WINDOWS, windows
from ulmfit.inference.pooling_path import pooling_parts
from ulmfit.models.classifier import Classifier as Module
from ulmfit.models.classifier_arch import ClassifierArch, PoolingConfig
from ulmfit.models.label_set import LabelSet
from ulmfit.text.corpus import Corpus

pytestmark = pytest.mark.usefixtures("calm")

WORDS = [
    "the",
    "film",
    "was",
    "fine",
    "but",
    "a",
    "dull",
    "story",
    "made",
    "it",
    "long",
]  # no rule changes any of them
TEXT = " ".join(WORDS)
METHODS = ("occlusion", "pooling", "integrated_gradients")
ERROR = {"occlusion": 1e-4, "pooling": 1e-4, "integrated_gradients": 0.06}  # of weights around 4
KINDS = {
    "category": LabelSet("category", LABELS.names, temperature=4.0),
    "multi": LabelSet("multi", LABELS.names, temperature=4.0),
    "number": LabelSet("number", ("number",)),
}


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return one_word_decides(tmp_path_factory.mktemp("decided"))


@pytest.fixture(scope="module")
def tiny(
    demo_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Classifier]:
    """A classifier of each kind and direction."""
    out = tmp_path_factory.mktemp("tiny")
    return {
        (kind, direction): Classifier(
            write_tiny_classifier(
                out / f"{kind}-{direction}", demo_corpus, direction=direction, labels=labels
            )
        )
        for kind, labels in KINDS.items()
        for direction in ("both", "backward")
    }


def exact(clf: Classifier, text: str, **flags: Any) -> Explanation:
    return clf.explain(text, **{"precision": "fp32", **flags})


def by_word(explanation: Explanation) -> dict[str, float]:
    return dict(zip(explanation.words, explanation.weights))


def brute_force(clf: Classifier, texts: list[str], label: str) -> np.ndarray:
    """Score a label for texts, one by one, from public probabilities."""
    column = clf.labels.index(label)
    found = [clf.predict_proba([text], precision="fp32")[0, column] for text in texts]
    return np.array([p if clf.label_kind == "number" else math.log(p / (1 - p)) for p in found])


# --- what is known beforehand


@pytest.mark.parametrize("method", METHODS)
def test_the_word_that_decides_has_all_the_weight(decided: Classifier, method: str) -> None:
    found = exact(decided, "the film number 3 is FINE", method=method)
    assert found.label == found.answer == "pos"
    assert found.score == pytest.approx(WEIGHT, abs=1e-4)
    weights = by_word(found)
    assert weights.pop("FINE") == pytest.approx(WEIGHT, abs=ERROR[method])
    assert set(weights) == {"the", "film", "number", "3", "is"}
    assert list(weights.values()) == pytest.approx([0] * 5, abs=ERROR[method])
    assert found.probabilities == pytest.approx(
        {"neg": 1 / (1 + math.exp(WEIGHT)), "pos": 1 / (1 + math.exp(-WEIGHT))}, abs=1e-5
    )


@pytest.mark.parametrize("method", METHODS)
def test_words_for_and_against(decided: Classifier, method: str) -> None:
    for label, sign in (("pos", 1), ("neg", -1)):
        found = exact(decided, "fine film, dull film", label=label, method=method)
        weights = by_word(found)
        assert found.label == label and found.score == pytest.approx(0, abs=1e-4)
        assert weights["fine"] == pytest.approx(sign * WEIGHT, abs=ERROR[method])
        assert weights["dull"] == pytest.approx(-sign * WEIGHT, abs=ERROR[method])
        assert found.tokens == (("fine",), ("film",), ("xxunk",), ("dull",), ("film",))
        assert found.words == ("fine", "film", ",", "dull", "film")


def test_of_two_equal_words_none_is_needed_and_the_first_wins(decided: Classifier) -> None:
    text = "fine film is fine"
    assert exact(decided, text).weights == pytest.approx([0] * 4, abs=1e-4)
    found = exact(decided, text, method="pooling")
    assert found.weights == pytest.approx([WEIGHT, 0, 0, 0], abs=1e-4)
    parts = found.readings[0].parts
    assert parts is not None and parts.max == pytest.approx(found.weights)
    assert parts.n_won[0] == 1 and sum(parts.n_won) == 1  # xxbos is the first of equals elsewhere


def test_deletion_curves_tell_true_weights_from_false(decided: Classifier) -> None:
    found = exact(decided, "the film number 3 is fine indeed the film is the film")
    true = deletion_curve(decided, found, n_points=13, n_orders=20, precision="fp32")
    assert true.shares == pytest.approx(np.linspace(0, 1, 13))
    assert true.scores == pytest.approx([WEIGHT] + [0] * 12, abs=1e-4)
    assert true.random_scores[0] == pytest.approx(WEIGHT, abs=1e-4)
    assert true.random_scores[-1] == pytest.approx(0, abs=1e-4)
    assert 0.25 * WEIGHT < true.advantage < 0.75 * WEIGHT  # half of the words go before by chance
    false = replace(found, weights=tuple(-weight for weight in found.weights))
    assert (
        deletion_curve(decided, false, n_points=13, n_orders=20, precision="fp32").advantage
        < -0.25 * WEIGHT
    )
    for wrong in ({"n_points": 1}, {"n_orders": 0}):
        with pytest.raises(UserError, match=f"--{next(iter(wrong)).replace('_', '-')}"):
            deletion_curve(decided, found, **wrong, precision="fp32")


# --- occlusion


@pytest.mark.parametrize("direction", ["both", "backward"])
@pytest.mark.parametrize("kind", KINDS)
def test_occlusion_is_leaving_words_out_of_the_text(
    tiny: dict[tuple[str, str], Classifier], kind: str, direction: str
) -> None:
    clf = tiny[kind, direction]
    label = "number" if kind == "number" else "positive"
    found = exact(clf, TEXT, label=label)
    without = [" ".join(WORDS[:i] + WORDS[i + 1 :]) for i in range(len(WORDS))]
    scores = brute_force(clf, [TEXT, *without], label)
    assert found.words == tuple(WORDS)
    assert found.score == pytest.approx(scores[0], abs=1e-4)
    np.testing.assert_allclose(found.weights, scores[0] - scores[1:], atol=2e-4, rtol=0)
    assert np.abs(found.weights).max() > 0.01
    assert [reading.direction for reading in found.readings] == list(clf.directions)
    assert found.probabilities == pytest.approx(dict(zip(clf.labels, clf.predict_proba([TEXT])[0])))
    assert "by itself" in found.note and found.base is None


def test_the_directions_by_themselves(tiny: dict[tuple[str, str], Classifier]) -> None:
    clf = tiny["category", "both"]
    found = exact(clf, TEXT, label="negative")
    for reading in found.readings:
        p = clf.predict_proba([TEXT], precision="fp32", direction=reading.direction)[0, 0]
        assert reading.score == pytest.approx(math.log(p / (1 - p)), abs=1e-4)
    forward, backward = found.readings
    assert forward.weights != pytest.approx(backward.weights, abs=1e-2)


def test_a_long_text_is_left_out_in_windows(tiny: dict[tuple[str, str], Classifier]) -> None:
    clf, words = tiny["category", "backward"], WORDS * 3
    found = exact(clf, " ".join(words), label="positive", max_tokens=12 * (len(words) + 1))
    without = [" ".join(words[:i] + words[i + 3 :]) for i in range(0, len(words), 3)]
    scores = brute_force(clf, [" ".join(words), *without], "positive")
    expected = np.repeat((scores[0] - scores[1:]) / 3, 3)
    np.testing.assert_allclose(found.weights, expected, atol=2e-4, rtol=0)
    assert "11 windows of up to 3 words" in found.note


@given(
    n_words=st.integers(0, 400), n_tokens=st.integers(1, 900), max_tokens=st.integers(1, 100_000)
)
def test_windows_cover_all_words_and_read_no_more_than_allowed(
    n_words: int, n_tokens: int, max_tokens: int
) -> None:
    bounds = windows(n_words, n_tokens, max_tokens=max_tokens)
    assert bounds[0] == 0 and bounds[-1] == n_words
    sizes = np.diff(bounds)
    if n_words:
        assert (sizes[:-1] == sizes[0]).all() and 1 <= sizes[-1] <= sizes[0]
    assert len(sizes) <= LEAST_WINDOWS or len(sizes) * n_tokens <= max_tokens
    if n_words * n_tokens <= max_tokens:
        assert len(sizes) == n_words


# --- the pooling path


def head_input(module: Module, ids: torch.Tensor) -> torch.Tensor:
    """Catch the pooled vector of the real forward pass."""
    caught: list[torch.Tensor] = []
    handle = module.head.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0][0]))
    with torch.no_grad():
        module(ids[None], torch.tensor([len(ids)]))
    handle.remove()
    return caught[0]


def score_of(logits: torch.Tensor, labels: LabelSet, column: int) -> float:
    logits = logits / labels.temperature
    if labels.kind != "category":
        return logits[column].item()
    p = logits.softmax(0)[column].item()
    return math.log(p / (1 - p))


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_are_what_loops_and_finite_differences_say(kind: str, direction: str) -> None:
    labels = KINDS[kind]
    n_outputs, column = len(labels.names), 0
    arch = replace(ClassifierArch.of(LM_ARCH, n_outputs), pooling=PoolingConfig(bptt=4, max_len=9))
    module = Module(arch, 40, precision="fp32").eval()
    module.load_state_dict(tiny_weights(arch, 40, seed=3))
    ids = np.random.default_rng(0).integers(9, 40, 23)
    read = torch.from_numpy((ids[::-1] if direction == "backward" else ids).copy())
    found = pooling_parts(module, ids, direction=direction, labels=labels, column=column)

    pooled = head_input(module, read).double()
    with torch.no_grad():
        states = module.encoder(read[None]).raw[0].double()  # in one piece
    module = module.double()
    n_first, units, step = 16, 16, 1e-6  # 23 - 9 tokens lie too far back, which ends a chunk at 16
    assert found.n_unpooled == n_first

    def score(vector: torch.Tensor) -> float:
        with torch.no_grad():
            return score_of(module.head(vector[None])[0], labels, column)

    eye = torch.eye(3 * units, dtype=torch.float64) * step
    slopes = [(score(pooled + e) - score(pooled - e)) / (2 * step) for e in eye]
    expected = np.zeros((3, 23))
    n_won = np.zeros(23, int)
    for unit in range(units):
        column_of_states = states[n_first:, unit]
        winner = n_first + int(column_of_states.argmax())
        n_won[winner] += 1
        expected[0, -1] += slopes[unit] * states[-1, unit]
        place = units + unit
        expected[1, winner] += slopes[place] * states[winner, unit]
        place += units
        for token in range(n_first, 23):
            expected[2, token] += slopes[place] * states[token, unit] / 7
    if direction == "backward":
        expected, n_won = expected[:, ::-1], n_won[::-1]
    np.testing.assert_allclose(found.last, expected[0], atol=1e-4)
    np.testing.assert_allclose(found.max, expected[1], atol=1e-4)
    np.testing.assert_allclose(found.mean, expected[2], atol=1e-4)
    assert found.n_won.tolist() == n_won.tolist()
    assert np.abs(expected).sum(1).min() > 1e-3  # every part has something to say

    assert found.score == pytest.approx(score(pooled), abs=1e-4)
    constant = score(pooled) - linear_score(module, pooled, pooled, labels, column)
    base = linear_score(module, pooled, torch.zeros_like(pooled), labels, column) + constant
    assert found.base == pytest.approx(base, abs=1e-4)
    assert found.base + found.total.sum() == pytest.approx(found.score, abs=1e-9)


def linear_score(
    module: Module, at: torch.Tensor, x: torch.Tensor, labels: LabelSet, column: int
) -> float:
    """Evaluate at `x` the linear function that the head is around the pooled vector `at`, block by block."""
    first, second = module.head.blocks

    def affine(block: torch.nn.Module, v: torch.Tensor) -> torch.Tensor:
        norm = block.norm
        scaled = (v - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
        return block.linear.weight @ (scaled * norm.weight + norm.bias)

    with torch.no_grad():
        is_on = affine(first, at) > 0
        logits = affine(second, affine(first, x) * is_on) / labels.temperature
        if labels.kind != "category":
            return logits[column].item()
        others = affine(second, affine(first, at) * is_on) / labels.temperature
        others[column] = -math.inf
        return (logits[column] - others.softmax(0) @ logits).item()


@pytest.mark.parametrize("direction", ["both", "backward"])
@pytest.mark.parametrize("kind", KINDS)
def test_words_and_base_add_up_to_the_score(
    tiny: dict[tuple[str, str], Classifier], kind: str, direction: str
) -> None:
    clf = tiny[kind, direction]
    found = exact(clf, "A GREAT film!!!! So so so dull, though.", method="pooling")
    scores = []
    for reading in found.readings:
        direct = clf.predict_proba(
            ["A GREAT film!!!! So so so dull, though."],
            precision="fp32",
            direction=reading.direction,
        )
        p = direct[0, clf.labels.index(found.label)]
        scores.append(p if kind == "number" else math.log(p / (1 - p)))
        assert reading.base is not None and reading.parts is not None
        assert reading.base + sum(reading.weights) == pytest.approx(scores[-1], abs=1e-3)
        three = zip(reading.parts.last, reading.parts.max, reading.parts.mean)
        assert list(map(sum, three)) == pytest.approx(reading.weights)
        assert sum(reading.parts.n_won) <= LM_ARCH.emb_sz
    assert found.base is not None
    assert found.base + sum(found.weights) == pytest.approx(np.mean(scores), abs=1e-3)
    means = np.mean([reading.weights for reading in found.readings], axis=0)
    np.testing.assert_allclose(found.weights, means, atol=1e-12)


def test_what_was_not_pooled_is_said(tiny: dict[tuple[str, str], Classifier]) -> None:
    clf = tiny["category", "backward"]
    found = exact(clf, "film " * 1600, method="pooling")  # one word, by the rules
    assert "not pooled" not in found.note and found.words == ("film " * 1599 + "film",)
    found = exact(clf, "fine film " * 800, method="pooling")
    n_unpooled = -(-(1601 - 1440) // 72) * 72
    assert f"the last {n_unpooled} tokens were read but not pooled" in found.note
    assert set(found.weights[-n_unpooled:]) == {0.0} and 0.0 not in found.weights[:100]


@pytest.mark.parametrize("method", METHODS)
def test_what_is_on_around_changes_nothing(decided: Classifier, method: str) -> None:
    expected = exact(decided, TEXT, method=method)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert exact(decided, TEXT, method=method) == expected


# --- as a value, shown


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("text", ["", " \n ", "<br />"])
def test_a_text_without_words_is_answered(
    tiny: dict[tuple[str, str], Classifier], method: str, text: str
) -> None:
    clf = tiny["category", "both"]
    found = exact(clf, text, method=method)
    if text != "<br />":
        assert found.words == () and "no words" in found._repr_html_()
    assert found.label == clf.predict([text], precision="fp32")[0]
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert found.label in str(found)
    curve = deletion_curve(clf, found, precision="fp32")
    assert np.isfinite(curve.scores).all()


def test_threads_do_not_meet(tiny: dict[tuple[str, str], Classifier]) -> None:
    clf = Classifier.load(tiny["category", "both"].folder)  # fresh
    jobs = [(f"a film {word} {TEXT}", method) for word in WORDS[:6] for method in METHODS]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda job: exact(clf, job[0], method=job[1]), jobs))
    for (text, method), explanation in zip(jobs, found):
        alone = exact(clf, text, method=method)
        assert explanation.words == alone.words
        assert explanation.weights == pytest.approx(alone.weights, abs=1e-4)


class Seen(HTMLParser):
    """What a browser would show, and the attributes of all tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.titles: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.titles += [value or "" for name, value in attrs if name == "title"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_every_word_and_runs_nothing(demo_corpus: Corpus, tmp_path: Path) -> None:
    labels = LabelSet("category", ("<i>good</i>", "\"bad\" & 'worse'"))
    parts = write_tiny_classifier(tmp_path / "m", demo_corpus, direction="both", labels=labels)
    evil = '<script src="http://x">alert(1)</script>'
    found = exact(
        Classifier(parts), f'A "fine" & dull film {evil} half \ud83d pair', label=labels.names[0]
    )
    found = replace(
        found, words=(evil, "\" onmouseover='x'", *found.words[2:])
    )  # no tokenizer's cut
    page = html_page(found)
    seen = Seen(page)
    assert set(seen.tags) <= {
        "html", "head", "meta", "title", "body", "div", "b", "span", "small"
    }  # fmt: skip
    assert evil in seen.text and seen.attributes <= {
        "charset", "name", "content", "class", "style", "title", "dir"
    }  # fmt: skip
    assert "".join(gap + word for gap, word in zip(found.gaps, found.words)) in seen.text
    assert len(seen.titles) == len(found.words)
    for title, word, weight in zip(seen.titles, found.words, found.weights):
        assert title.startswith(f"{word}: {weight:+.3f} (forward ") and "backward" in title
    assert found.label in seen.text
    page.encode("utf-8")


def test_it_reads_as_text_and_as_json(decided: Classifier) -> None:
    found = exact(decided, "the film number 3 is fine, indeed! " + "the film is indeed " * 6)
    shown = str(found)
    assert f"{WEIGHT:+.3f}  fine" in shown.splitlines()[2]
    assert "pos 97.8 %, neg 2.2 %" in shown and "weaker words" in shown
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert content["words"] == list(found.words) and content["unit"] == "log-odds"
    assert content["weights"] == pytest.approx(found.weights)
    assert content["readings"][0]["direction"] == "forward"


def test_a_number_is_explained_in_its_own_units(tiny: dict[tuple[str, str], Classifier]) -> None:
    found = exact(tiny["number", "both"], TEXT)
    assert found.unit == "value" and found.answer == pytest.approx(found.score, abs=1e-5)
    assert f"value {found.score:.4g}" in str(found) and "raises the value" in found._repr_html_()


def test_many_labels_hold_at_once(tiny: dict[tuple[str, str], Classifier]) -> None:
    clf = tiny["multi", "both"]
    found = exact(clf, TEXT)
    assert found.answer == clf.predict([TEXT], precision="fp32")[0]
    assert found.label == max(found.probabilities, key=lambda name: found.probabilities[name])


def test_bf16_only_rounds(tiny: dict[tuple[str, str], Classifier]) -> None:
    clf = tiny["number", "both"]
    for method in METHODS:
        true = np.array(exact(clf, TEXT, method=method).weights)
        rounded = np.array(exact(clf, TEXT, method=method, precision="bf16").weights)
        assert 0 < np.abs(rounded - true).max() < 0.1


def test_what_cannot_be_explained(decided: Classifier) -> None:
    for wrong, message in (
        ({"label": "posi"}, "--label is 'posi': did you mean 'pos'"),
        (
            {"method": "magic"},
            "--method is 'magic'; allowed: occlusion, pooling, integrated_gradients",
        ),
        ({"max_tokens": 0}, "--max-tokens is 0"),
        ({"precision": "int4"}, "--precision is 'int4'"),
    ):
        with pytest.raises(UserError, match=message):
            exact(decided, "fine", **wrong)
    with pytest.raises(UserError, match="a float, not a string"):
        exact(decided, 3.5)
