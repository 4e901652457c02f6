"""Which documents a model learns from, and which it is measured on.

In: a corpus with whatever splits it has. Out: two disjoint sets of documents. A language model takes all text but
that of the test split, unless the protocol is another than clean; a classifier takes what has a label, and leaves the
test split alone unless it is to be chosen by it, as the published ones were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ulmfit.config import require
from ulmfit.errors import UserError

if TYPE_CHECKING:
    from ulmfit.text.corpus import Corpus

_DRAW = 0x686F6C64  # tells this generator from those of the epochs, which begin with the same seed


@dataclass(frozen=True, eq=False)
class Rows:
    """Numbers of documents with text, in corpus order."""

    train: np.ndarray
    valid: np.ndarray
    notice: str
    """What is held out, in a few words."""


def lm_rows(
    corpus: Corpus,
    *,
    share: float,
    seed: int,
    max_valid: int | None = None,
    n_labels: int | None = None,
    protocol: str = "clean",
) -> Rows:
    """Learn from train and unsup, measure on valid; without a valid split, on a random share of the documents.

    Of that share at most `max_valid` are held out. With `n_labels` nothing is read but the labelled documents that
    `labelled_rows` draws with the same seed and protocol. Any protocol but `clean` adds the text of the test
    split to what is learnt from; its labels are never read.
    """
    require(0 < share < 1, "valid_share", share, "above 0 and below 1")
    splits = ("train", "unsup") if protocol == "clean" else ("train", "unsup", "test")
    rows, valid = _with_text(corpus, splits), _with_text(corpus, ("valid",))
    if n_labels is not None:
        generator = np.random.default_rng([seed, _DRAW])
        drawn = _budget(corpus, _to_learn_from(corpus, protocol), generator, n_labels)
        rows, valid = np.intersect1d(np.union1d(rows, valid), drawn), np.setdiff1d(valid, drawn)
    fewest = 1 if len(valid) else 2  # one to learn from, and one to hold out
    if len(rows) < fewest:
        raise UserError(
            f"the splits {', '.join(splits)} have {_documents(len(rows))} with text, and a language model "
            f"needs at least {_documents(fewest)}: prepare a corpus with more, or without --split"
        )
    if len(valid):
        return Rows(rows, valid, f"measured on the valid split ({_documents(len(valid))})")
    n_held_out = min(_n_held_out(rows, share, max_valid), len(rows) - 1)
    drawn = np.random.default_rng([seed, _DRAW]).permutation(len(rows))
    notice = f"{100 * n_held_out / len(rows):.3g}% of the documents ({n_held_out:,}) are held out to measure on"
    return Rows(np.sort(rows[drawn[n_held_out:]]), np.sort(rows[drawn[:n_held_out]]), notice)


def labelled_rows(
    corpus: Corpus,
    *,
    share: float,
    seed: int,
    max_valid: int | None = None,
    n_labels: int | None = None,
    protocol: str = "clean",
) -> Rows:
    """Learn from labelled train documents, measure on labelled valid ones; without any, on a share of each label.

    Of that share at most `max_valid` are held out. With `n_labels` only so many documents are taken, in the
    proportions of the labels; those held out are among them, since a budget of labels pays for both. The protocol
    `as_published` learns from train and valid documents, and measures on the test split.
    """
    require(0 < share < 1, "valid_share", share, "above 0 and below 1")
    rows = _to_learn_from(corpus, protocol)
    if protocol == "as_published":
        valid = _published_valid(corpus)
    else:
        valid = with_label(corpus, corpus.rows("valid"))
    generator = np.random.default_rng([seed, _DRAW])
    if n_labels is not None:
        rows = _budget(corpus, rows, generator, n_labels)
    groups = _strata(corpus, rows)
    if not len(valid):
        valid = _take(groups, generator, _n_held_out(rows, share, max_valid), leave=1)
        notice = (
            f"{100 * len(valid) / max(1, len(rows)):.3g}% of the labelled documents ({len(valid):,}) "
            "are held out to measure on"
        )
        rows = np.setdiff1d(rows, valid)
    elif protocol == "as_published":
        notice = (
            f"measured on the test split ({_documents(len(valid))}), as published: "
            "its labels choose the model, so no figure on it is a clean test result"
        )
    else:
        notice = f"measured on the valid split ({_documents(len(valid))})"
    if n_labels is not None:
        _require_budget(corpus, rows, valid, n_labels)
    _require_labels(corpus, rows, valid)
    return Rows(rows, valid, notice)


def unlabelled_rows(
    corpus: Corpus, rows: Rows, *, seed: int, most: int, most_tokens: int
) -> np.ndarray:
    """Draw at most so many documents, and tokens, of train and unsup that have text, but are not among `rows`.

    Where only a budget of labels is learnt from, the other labels count as unknown.
    """
    others = np.setdiff1d(_with_text(corpus, ("train", "unsup")), [*rows.train, *rows.valid])
    drawn = np.random.default_rng([seed, _DRAW, 1]).permutation(others)[:most]
    n_tokens = np.cumsum(corpus.offsets[drawn + 1] - corpus.offsets[drawn])
    return np.sort(drawn[n_tokens <= most_tokens])


def n_also_in(corpus: Corpus, rows: np.ndarray, others: np.ndarray) -> int:
    """Count the documents that also stand among others, token for token."""
    known = {hash(corpus[row].tobytes()) for row in others.tolist()}
    return sum(hash(corpus[row].tobytes()) in known for row in rows.tolist())


def _to_learn_from(corpus: Corpus, protocol: str) -> np.ndarray:
    """Take the labelled documents of the train split, `as_published` those of the valid split as well."""
    splits = ("train", "valid") if protocol == "as_published" else ("train",)
    return np.sort(np.concatenate([with_label(corpus, corpus.rows(split)) for split in splits]))


def _budget(
    corpus: Corpus, rows: np.ndarray, generator: np.random.Generator, n_labels: int
) -> np.ndarray:
    """Draw so many labelled documents, in the proportions of the labels."""
    if n_labels > len(rows):
        raise UserError(
            f"--n-labels is {n_labels:,} and the train split has {len(rows):,} labelled documents: ask for fewer"
        )
    return _take(_strata(corpus, rows), generator, n_labels)


def _n_held_out(rows: np.ndarray, share: float, most: int | None) -> int:
    wanted = max(1, round(share * len(rows)))
    return wanted if most is None else min(wanted, most)


def _published_valid(corpus: Corpus) -> np.ndarray:
    """Take the labelled test documents to measure on."""
    rows = with_label(corpus, corpus.rows("test"))
    if not len(rows):
        raise UserError(
            f"--protocol as_published measures on the test split, and {corpus.folder} has no labelled test "
            "document: prepare a corpus that has, or leave the protocol at clean"
        )
    return rows


def _require_budget(corpus: Corpus, rows: np.ndarray, valid: np.ndarray, n_labels: int) -> None:
    """Refuse so few labels that none can be held out, or that one label is all there is to learn."""
    least = max(3, len(corpus.label_names) + 1)
    is_one = False
    if corpus.label_kind == "category" and corpus.labels is not None:
        is_one = len(np.unique(corpus.labels[rows])) < 2 <= len(corpus.label_names)
    if len(rows) < 2 or not len(valid) or is_one:
        raise UserError(
            f"a budget of {n_labels:,} labels is too small to learn from some and be measured on others: "
            f"{corpus.folder} needs {least:,} or more"
        )


def _require_labels(corpus: Corpus, rows: np.ndarray, valid: np.ndarray) -> None:
    """Refuse what no classifier can learn from."""
    if len(rows) >= 3 and not len(valid):
        raise UserError(
            f"each label of {corpus.folder} has one document, and a classifier needs a second one of some label to be "
            "measured on: give it more documents of each label, or a valid split"
        )
    if len(rows) < 2 or not len(valid):
        raise UserError(
            f"{corpus.folder} has {_documents(len(rows) + len(valid))} with a label to learn from and measure on, "
            "and a classifier needs at least 3: give it more labelled documents in the train split"
        )
    if corpus.label_kind == "category":
        assert corpus.labels is not None
        found = np.unique(corpus.labels[rows])
        if len(found) < 2:
            raise UserError(
                f"all labelled documents of the train split are {corpus.label_names[found[0]]!r}: "
                "a classifier needs at least two labels"
            )


def with_label(corpus: Corpus, rows: np.ndarray) -> np.ndarray:
    """Keep the documents that have a label; an empty text may have one."""
    if corpus.labels is None:
        return rows[:0]
    labels = corpus.labels[rows]
    if corpus.label_kind == "number":
        return rows[np.isfinite(labels)]
    return rows[(labels >= 0) if labels.ndim == 1 else (labels >= 0).all(1)]


def _strata(corpus: Corpus, rows: np.ndarray) -> list[np.ndarray]:
    """Group documents by label; one group where a label is more, or less, than a name."""
    if corpus.label_kind != "category" or corpus.labels is None:
        return [rows]
    labels = corpus.labels[rows]
    return [rows[labels == label] for label in np.unique(labels)]


def _take(
    groups: list[np.ndarray], generator: np.random.Generator, n: int, *, leave: int = 0
) -> np.ndarray:
    """Draw `n` documents so that groups keep their shares, and each is left with `leave` at least."""
    # A shuffled group's documents stand at even distances; the n that stand first are the draw.
    places, drawn = [np.empty(0)], [np.empty(0, np.int64)]
    for group in groups:
        order = generator.permutation(group)[: max(0, len(group) - leave)]
        places.append((np.arange(len(order)) + generator.random()) / max(1, len(group)))
        drawn.append(order)
    first = np.argsort(np.concatenate(places), kind="stable")[:n]
    return np.sort(np.concatenate(drawn)[first])


def _with_text(corpus: Corpus, splits: tuple[str, ...]) -> np.ndarray:
    """Number the documents of some splits that have a token."""
    rows = np.sort(np.concatenate([corpus.rows(split) for split in splits]))
    return rows[corpus.offsets[rows + 1] > corpus.offsets[rows]]


def _documents(n: int) -> str:
    return f"{n:,} document{'' if n == 1 else 's'}"
