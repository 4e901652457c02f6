"""Exercise 3: embeddings of one vocabulary -> embeddings of another."""

from __future__ import annotations

from random import Random
from typing import Any

from ulmfit.exercises.exercise import Exercise, Wrong, coins

_WORDS = ("xxunk", "the", "film", "plot", "joy", "dull", "actor", "scene")


def transplant(rows: Any, old_vocab: list[str], new_vocab: list[str]) -> list[list[float]]:
    """Give each word of `new_vocab` its old row, and a new word the mean of all old rows."""
    width = len(rows[0])
    mean = []
    for j in range(width):
        total = 0.0
        for row in rows:
            total += float(row[j])
        mean.append(total / len(rows))
    new_rows = []
    for word in new_vocab:
        new_row = mean
        for i, old_word in enumerate(old_vocab):
            if old_word == word:
                new_row = [float(value) for value in rows[i]]
        new_rows.append(new_row)
    return new_rows


def _solution(rows: Any, old_vocab: list[str], new_vocab: list[str]) -> Any:
    import numpy as np

    ids = {word: i for i, word in enumerate(old_vocab)}
    with_mean = np.vstack([rows, rows.mean(axis=0)])  # the mean is the row after the last
    return with_mean[[ids.get(word, len(old_vocab)) for word in new_vocab]]


def _make(random: Random, size: int) -> tuple[Any, list[str], list[str]]:
    import numpy as np

    n_old, n_new = (min(len(_WORDS), random.randint(1, 1 + size)) for _ in "on")
    old_vocab, new_vocab = random.sample(_WORDS, n_old), random.sample(_WORDS, n_new)
    width = 1 + size // 3
    return np.array([coins(random, width) for _ in old_vocab]), old_vocab, new_vocab


def _by_position(rows: Any, old_vocab: list[str], new_vocab: list[str]) -> list[Any]:
    mean = rows.mean(axis=0)
    return [rows[i] if i < len(rows) else mean for i in range(len(new_vocab))]


def _with_new(rows: Any, old_vocab: list[str], new_vocab: list[str], new_row: Any) -> list[Any]:
    return [rows[old_vocab.index(w)] if w in old_vocab else new_row for w in new_vocab]


def _zeros(rows: Any, old_vocab: list[str], new_vocab: list[str]) -> list[Any]:
    return _with_new(rows, old_vocab, new_vocab, rows[0] * 0)


def _mean_of_kept(rows: Any, old_vocab: list[str], new_vocab: list[str]) -> list[Any]:
    kept = [rows[i] for i, word in enumerate(old_vocab) if word in new_vocab]
    return _with_new(rows, old_vocab, new_vocab, sum(kept) / max(1, len(kept)) + rows[0] * 0)


def _row_of_unknown(rows: Any, old_vocab: list[str], new_vocab: list[str]) -> list[Any]:
    unknown = old_vocab.index("xxunk") if "xxunk" in old_vocab else 0
    return _with_new(rows, old_vocab, new_vocab, rows[unknown])


def _mean_number(rows: Any, old_vocab: list[str], new_vocab: list[str]) -> list[Any]:
    return _with_new(rows, old_vocab, new_vocab, rows[0] * 0 + rows.mean())


def _only_known(rows: Any, old_vocab: list[str], new_vocab: list[str]) -> list[Any]:
    return [rows[old_vocab.index(word)] for word in new_vocab if word in old_vocab]


def _old_order(rows: Any, old_vocab: list[str], new_vocab: list[str]) -> list[Any]:
    kept = [rows[i] for i, word in enumerate(old_vocab) if word in new_vocab]
    return kept + [rows.mean(axis=0)] * (len(new_vocab) - len(kept))


TRANSPLANT = Exercise(
    title="Transplant embeddings",
    task="""\
A pretrained model comes with `rows`, an array (old words, embedding size): row i belongs to word i of `old_vocab`. Your
corpus has another vocabulary, in another order.

Return the rows for `new_vocab`, in its order. A word that both know keeps its row. A word that is new gets the **mean of
all old rows**: a word in the middle of the cloud, which training can move anywhere.""",
    spec=transplant,
    make=_make,
    hint="for each word of new_vocab: the row at its place in old_vocab, or the mean over all old rows (one mean a "
    "column) if it is not there. Never a random row.",
    wrong=(
        Wrong(
            _by_position,
            "you have copied rows by their position. Row i belongs to word i of the *old* vocabulary: look each word up, "
            "else `film` gets the meaning of whatever stood at its place.",
        ),
        Wrong(
            _zeros,
            "new words got zeros. They are to get the mean of all old rows: a typical word, not the absence of one.",
        ),
        Wrong(
            _mean_of_kept,
            "you average the rows that are kept only. The mean is over all old rows, dropped words included.",
        ),
        Wrong(
            _row_of_unknown,
            "new words got the row of another word (xxunk, or the first). They are to get the mean of all old rows.",
        ),
        Wrong(
            _mean_number,
            "new words got one number everywhere: rows.mean() averages the whole table. Average over the words, "
            "column by column: rows.mean(axis=0).",
        ),
        Wrong(_only_known, "new words have no row in your answer: one row for each new word."),
        Wrong(
            _old_order,
            "your rows stand in the order of the old vocabulary. The model will read row i as word i of the *new* one.",
        ),
    ),
    solution=_solution,
    home="ulmfit/models/transplant.py",
)
