"""A classifier and a text -> which words speak for a label and which against it.

`occlusion` asks the classifier again without each word; `pooling` takes its one answer apart;
`integrated_gradients` follows the score from embeddings of zeros to those of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch

from ulmfit.config import require
from ulmfit.errors import UserError, nearest
from ulmfit.inference.answers import decide
from ulmfit.inference.explanation import Explanation, PoolingParts, Reading
from ulmfit.inference.integrated_gradients import Integral, token_parts
from ulmfit.inference.label_score import score_slopes
from ulmfit.inference.occlusion import MAX_TOKENS, occlusion_note, occlusion_readings
from ulmfit.inference.pooling_path import TokenParts, pooling_parts
from ulmfit.inference.texts import Fields
from ulmfit.inference.token_words import Words, words_of
from ulmfit.models.precision import Precision, without_autocast

if TYPE_CHECKING:
    from ulmfit.inference.classifier import Classifier

Method = Literal["occlusion", "pooling", "integrated_gradients"]


def explain(
    classifier: Classifier,
    text: str | Fields,
    *,
    label: str | None = None,
    method: Method = "occlusion",
    max_tokens: int | None = None,
    precision: Precision = "auto",
) -> Explanation:
    """Weigh each word of a text by what it gives to a label, by default the most probable one.

    `method="occlusion"` leaves out each word in turn: slower, and true of the classifier by definition.
    It reads at most some `max_tokens`, 2 ** 18 if not given; a longer text is left out in windows of several words, which the
    note says. `method="pooling"` takes the score of one reading apart, so that the weights and a base
    add up to it; for a classifier of both directions it explains the mean of their two scores.
    `method="integrated_gradients"` adds up to it too, within an error that the note says, and asks the
    whole network, not its head alone: slower than either for a short text.
    Rounding to bfloat16 moves weights by some hundredths; `precision="fp32"` does not round.
    """
    tokens = classifier.tokens(text)
    return explain_tokens(
        classifier, tokens, label=label, method=method, max_tokens=max_tokens, precision=precision
    )


@torch.inference_mode(False)
@without_autocast
def explain_tokens(
    classifier: Classifier,
    tokens: Sequence[str],
    *,
    label: str | None = None,
    method: Method = "occlusion",
    max_tokens: int | None = None,
    precision: Precision = "auto",
) -> Explanation:
    """Do the same with a document that is tokens already, as a corpus holds it."""
    require(method in get_args(Method), "method", method, ", ".join(get_args(Method)))
    most = MAX_TOKENS if max_tokens is None else max_tokens
    require(most >= 1, "max_tokens", most, "1 or more")
    ids, words = classifier.vocab.encode(tokens), words_of(tokens, classifier.tokenizer)
    found = classifier.probabilities([ids], precision=precision)
    column = _column(classifier, label, found[0])
    if method == "pooling":
        whole, *each = _pooling(classifier, ids, words, column, precision)
        note = _pooling_note(classifier, len(ids))
    elif method == "integrated_gradients":
        integrals = _integrals(classifier, ids, column, precision)
        whole, *each = _with_mean(
            [
                _integrated(name, found, words, _linear(classifier, ids, name, column, precision))
                for name, found in integrals.items()
            ]
        )
        note = _integrals_note(classifier, len(ids), list(integrals.values()))
    else:
        whole, *each = occlusion_readings(
            classifier, ids, words, column, max_tokens=most, precision=precision
        )
        note = occlusion_note(len(words), len(ids), max_tokens=most)
    read, ends = classifier.vocab.decode(ids), words.bounds[1:]
    return Explanation(
        label=classifier.labels[column],
        kind=classifier.label_kind,
        answer=decide(found, classifier.parts.labels).tolist()[0],
        probabilities=dict(zip(classifier.labels, found[0].tolist())),
        method=method,
        score=whole.score,
        words=words.texts,
        gaps=words.gaps,
        tokens=tuple(tuple(read[a:b]) for a, b in zip(words.bounds, ends)),
        weights=whole.weights,
        readings=tuple(each),
        note=note,
        base=whole.base,
    )


def _column(classifier: Classifier, label: str | None, found: np.ndarray) -> int:
    """Find the label that is to be explained among the outputs."""
    if label is None:
        return int(found.argmax())
    if label not in classifier.labels:
        raise UserError(f"--label is {label!r}: {nearest(label, classifier.labels)}")
    return classifier.labels.index(label)


def _pooling(
    classifier: Classifier, ids: np.ndarray, words: Words, column: int, precision: Precision
) -> list[Reading]:
    """Take the score of each direction apart; before them comes their mean."""
    each: list[Reading] = []
    for name in classifier.directions:
        parts = pooling_parts(
            classifier.parts.model(name, precision=precision),
            ids,
            direction=name,
            labels=classifier.parts.labels,
            column=column,
            beside=_beside(classifier, ids),
        )
        each.append(_reading(name, parts, words, _linear(classifier, ids, name, column, precision)))
    return _with_mean(each)


def _integrals(
    classifier: Classifier, ids: np.ndarray, column: int, precision: Precision
) -> dict[str, Integral]:
    """Integrate the score of each direction, with a module of its own."""
    return {
        name: token_parts(
            classifier.parts.model(name, precision=precision),
            ids,
            direction=name,
            labels=classifier.parts.labels,
            column=column,
            beside=_beside(classifier, ids),
        )
        for name in classifier.directions
    }


def _beside(classifier: Classifier, ids: np.ndarray) -> np.ndarray | float:
    """Give the logits of the linear part, if there is one."""
    linear = classifier.parts.linear
    return 0.0 if linear is None else linear.logits([ids])[0]


def _linear(
    classifier: Classifier, ids: np.ndarray, direction: str, column: int, precision: Precision
) -> np.ndarray:
    """Say what the linear part gave to the score by each token, (n_tokens,): its logits times the score's slopes."""
    linear = classifier.parts.linear
    if linear is None:
        return np.zeros(len(ids))
    logits = classifier.logits([ids], direction, precision=precision)[0]
    return linear.token_parts(ids) @ score_slopes(logits, classifier.parts.labels, column)


def _integrated(direction: str, found: Integral, words: Words, linear: np.ndarray) -> Reading:
    """Add up the tokens of each word; what `xxbos` gave is part of the base."""
    weights = words.sums(found.parts + linear)
    base = found.score - float(weights.sum())
    return Reading(direction, found.score, tuple(weights.tolist()), base)


def _with_mean(each: list[Reading]) -> list[Reading]:
    """Put the mean of the directions before them."""
    weights = np.mean([reading.weights for reading in each], axis=0)
    score = float(np.mean([reading.score for reading in each]))
    base = score - float(weights.sum())
    return [Reading("both", score, tuple(weights.tolist()), base), *each]


def _reading(direction: str, parts: TokenParts, words: Words, linear: np.ndarray) -> Reading:
    """Add up the tokens of each word; what `xxbos` gave is part of the base."""
    each = (parts.last, parts.max, parts.mean, linear)
    last, highest, mean, beside = (words.sums(p) for p in each)
    weights = last + highest + mean + beside
    return Reading(
        direction,
        parts.score,
        tuple(weights.tolist()),
        parts.score - float(weights.sum()),
        PoolingParts(
            tuple(last.tolist()),
            tuple(highest.tolist()),
            tuple(mean.tolist()),
            tuple(words.sums(parts.n_won).tolist()),
            tuple(beside.tolist()),
        ),
    )


def _integrals_note(classifier: Classifier, n_tokens: int, found: list[Integral]) -> str:
    """Say what the weights add up to, and how exactly."""
    gap, n_steps = max(abs(i.gap) for i in found), max(i.n_steps for i in found)
    return (
        f"{_pooling_note(classifier, n_tokens)}; {n_steps} steps from embeddings of zeros, "
        f"whose error of {gap:.2g} is part of the base"
    )


def _pooling_note(classifier: Classifier, n_tokens: int) -> str:
    """Say what the weights add up to, and which tokens had no part in it."""
    note = "base and weights add up to the score"
    if n_unpooled := classifier.arch.pooling.first_token(n_tokens):
        which = {"forward": "first", "backward": "last"}
        ends = " and ".join(which[name] for name in classifier.directions)
        weigh = "0" if classifier.parts.linear is None else "what the linear part gives them"
        note += f"; the {ends} {n_unpooled:,} tokens were read but not pooled, and weigh {weigh}"
    return note
