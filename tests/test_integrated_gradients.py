"""Integrated gradients: closed forms, and parts that add up to what the classifier itself says of zeros and of the text."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from one_word_decides import WEIGHT, one_word_decides
from tiny_classifier import write_tiny_classifier
from torch import Tensor

from ulmfit.errors import UserError
from ulmfit.inference import integrated_gradients as module
from ulmfit.inference.classifier import Classifier
from ulmfit.inference.faithfulness import deletion_curve
from ulmfit.inference.integrated_gradients import TOLERANCE, Integral, integrate, token_parts
from ulmfit.models.classifier_artefact import ClassifierParts
from ulmfit.models.label_set import LabelSet
from ulmfit.text.corpus import Corpus

pytestmark = pytest.mark.usefixtures("calm")

TEXT = "The film is a GREAT one, and not so dull as the first was. " * 9
KINDS = {
    "category": LabelSet("category", ("neg", "pos", "so"), temperature=1.7),
    "multi": LabelSet("multi", ("a", "b"), temperature=0.6),
    "number": LabelSet("number", ("value",)),
}


def summed(values: Tensor) -> Tensor:
    return values.sum((1, 2))


POINT = torch.tensor([[1.0, -2.0], [0.5, 3.0], [0.0, -1.0]])


def test_of_a_linear_score_each_token_gives_its_own_part() -> None:
    weight = torch.tensor([[2.0, 1.0], [-1.0, 0.5], [7.0, 3.0]])
    found = integrate(lambda points: summed(points * weight) + 4.0, POINT)
    np.testing.assert_allclose(found.parts, (weight * POINT).sum(1).numpy(), atol=1e-6)
    assert found.nothing == 4.0 and abs(found.gap) < 1e-5 and found.n_steps == module.STEPS[0]


def test_two_factors_share_their_product() -> None:
    found = integrate(lambda points: points[:, 0, 0] * points[:, 1, 1], POINT, rows=3)
    np.testing.assert_allclose(found.parts, [1.5, 1.5, 0.0], atol=1e-6)


def test_steps_are_doubled_until_the_parts_add_up() -> None:
    def score(points: Tensor) -> Tensor:  # the middle of steps misses a cube by 1 / (4 n^2)
        return summed(points**3)

    whole = float(score(POINT[None]))
    for tolerance in (1e-3, 2e-4, 2e-5):
        found = integrate(score, POINT, tolerance=tolerance)
        assert found.gap == pytest.approx(-whole / (4 * found.n_steps**2), rel=0.02)
        before = found.n_steps // 2
        is_needed = before < module.STEPS[0] or abs(whole) / (4 * before**2) > tolerance * whole
        assert abs(found.gap) <= tolerance * whole and is_needed
    assert integrate(lambda points: summed(points.sign() + points), POINT).n_steps == 128


def calmed(parts: ClassifierParts) -> ClassifierParts:
    """Shrink random recurrent weights: as they are, states are chaotic, and no number of steps is enough."""
    for tensors in parts.weights.values():
        for name, tensor in tensors.items():
            if ".rnns." in name:
                tensor.mul_(0.4)
    return parts


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_lead_from_zeros_to_the_text(
    demo_corpus: Corpus, tmp_path, kind: str, direction: str
) -> None:
    parts = write_tiny_classifier(
        tmp_path / "m", demo_corpus, direction=direction, labels=KINDS[kind]
    )
    clf = Classifier(calmed(parts))
    (ids,) = clf.encode([TEXT])
    assert len(ids) > 2 * clf.arch.pooling.bptt  # the gradient has to cross chunks
    found = token_parts(
        parts.model(direction, precision="fp32"), ids, direction=direction, labels=parts.labels, column=0
    )  # fmt: skip
    assert found.score == pytest.approx(log_odds(clf, ids, kind), abs=1e-4)
    for tensors in parts.weights.values():
        tensors["encoder.embedding.weight"].zero_()
    assert found.nothing == pytest.approx(log_odds(Classifier(parts), ids, kind), abs=1e-4)
    assert abs(found.gap) <= TOLERANCE * max(1.0, abs(found.score - found.nothing))
    assert np.count_nonzero(found.parts) == len(ids)


def log_odds(clf: Classifier, ids: np.ndarray, kind: str) -> float:
    """Score the first label by public probabilities."""
    p = float(clf.probabilities([ids], precision="fp32")[0, 0])
    return p if kind == "number" else math.log(p / (1 - p))


def test_what_is_not_pooled_stays_and_weighs_nothing(demo_corpus: Corpus, tmp_path) -> None:
    parts = calmed(write_tiny_classifier(tmp_path / "m", demo_corpus, direction="backward"))
    ids = np.random.default_rng(0).integers(9, len(demo_corpus.vocab), 1700)
    model = parts.model("backward", precision="fp32")
    found = token_parts(model, ids, direction="backward", labels=parts.labels, column=1)
    n_unpooled = parts.arch.pooling.first_token(len(ids))
    assert n_unpooled > 0 and set(found.parts[-n_unpooled:]) == {0.0}
    assert np.count_nonzero(found.parts) == len(ids) - n_unpooled
    assert abs(found.gap) <= TOLERANCE * max(1.0, abs(found.score - found.nothing))


def test_a_text_too_long_is_refused(
    demo_corpus: Corpus, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_TOKENS", 20)
    clf = Classifier(write_tiny_classifier(tmp_path / "m", demo_corpus))
    with pytest.raises(UserError, match="up to 20 pooled tokens"):
        clf.explain(TEXT, method="integrated_gradients")


def test_an_explanation_says_how_it_came_about(tmp_path) -> None:
    clf = one_word_decides(tmp_path)
    found = clf.explain(
        "the film number 3 is fine indeed the film is the film",
        method="integrated_gradients",
        precision="fp32",
    )
    assert found.base is not None and found.strongest(1)[0][0] == "fine"
    assert found.base + sum(found.weights) == pytest.approx(found.score) == pytest.approx(WEIGHT)
    assert "steps from embeddings of zeros, whose error of" in found.note
    assert "by integrated gradients, base" in str(found)
    curve = deletion_curve(clf, found, n_points=13, n_orders=20, precision="fp32")
    assert curve.advantage == pytest.approx(WEIGHT * (6 / 13 - 1 / 26), rel=0.4)


def test_the_gap_is_what_is_missing() -> None:
    assert Integral(3.0, 1.0, np.array([0.5, 1.6]), 16).gap == pytest.approx(0.1)
