"""Exercise 2: one long stream of ids -> batches of a language model."""

from __future__ import annotations

from random import Random

from ulmfit.exercises.exercise import Exercise, Wrong

Batches = list[tuple[list[list[int]], list[list[int]]]]


def lm_batches(ids: list[int], bs: int, seq_len: int) -> Batches:
    """Cut a stream into batches: a list of (x, y), each with `bs` rows of up to `seq_len` ids."""
    row_length = (len(ids) - 1) // bs  # one id is kept back, as the last label
    batches = []
    for start in range(0, row_length, seq_len):
        x, y = [], []
        for row in range(bs):
            x_row, y_row = [], []
            for column in range(start, min(start + seq_len, row_length)):
                x_row.append(ids[row * row_length + column])
                y_row.append(ids[row * row_length + column + 1])
            x.append(x_row)
            y.append(y_row)
        batches.append((x, y))
    return batches


def _solution(ids: list[int], bs: int, seq_len: int) -> list:
    import numpy as np

    row_length = (len(ids) - 1) // bs
    n = bs * row_length
    x = np.array(ids[:n]).reshape(bs, row_length)  # row r is mini-stream r
    y = np.array(ids[1 : n + 1]).reshape(bs, row_length)
    starts = range(0, row_length, seq_len)
    return [(x[:, s : s + seq_len], y[:, s : s + seq_len]) for s in starts]


def _make(random: Random, size: int) -> tuple[list[int], int, int]:
    bs = random.randint(1, 1 + size // 2)
    seq_len = random.choice([n for n in range(1, 4 + size // 2) if n != bs])
    n_batches = random.randint(1, 1 + size // 3)
    # A few ids more than rows can be filled with, and often a last batch that is shorter.
    row_length = max(1, seq_len * n_batches - random.randint(0, seq_len - 1))
    n_ids = bs * row_length + 1 + random.randint(0, bs - 1)
    first = random.randint(0, 9)
    return list(range(first, first + n_ids)), bs, seq_len


def _consecutive_rows(ids: list[int], bs: int, seq_len: int) -> Batches:
    """Fill the first batch row after row, then the next."""
    row_length = (len(ids) - 1) // bs
    batches, place = [], 0
    for start in range(0, row_length, seq_len):
        width = min(seq_len, row_length - start)
        starts = [place + row * width for row in range(bs)]
        x = [ids[s : s + width] for s in starts]
        batches.append((x, [ids[s + 1 : s + width + 1] for s in starts]))
        place += bs * width
    return batches


def _every_bs(ids: list[int], bs: int, seq_len: int) -> Batches:
    """Deal the ids out to the rows like cards."""
    row_length = (len(ids) - 1) // bs
    x, y = ([stream[row::bs] for row in range(bs)] for stream in (ids, ids[1:]))
    cuts = [(s, min(s + seq_len, row_length)) for s in range(0, row_length, seq_len)]
    return [([row[a:b] for row in x], [row[a:b] for row in y]) for a, b in cuts]


def _same_labels(ids: list[int], bs: int, seq_len: int) -> Batches:
    return [(x, x) for x, _ in lm_batches(ids, bs, seq_len)]


def _labels_wrap(ids: list[int], bs: int, seq_len: int) -> Batches:
    return [(x, [row[1:] + row[:1] for row in x]) for x, _ in lm_batches(ids, bs, seq_len)]


def _labels_cut(ids: list[int], bs: int, seq_len: int) -> Batches:
    pairs = [(x, [row[1:] for row in x]) for x, _ in lm_batches(ids, bs, seq_len)]
    return [([row[:-1] for row in x], y) for x, y in pairs]


def _no_last_batch(ids: list[int], bs: int, seq_len: int) -> Batches:
    return [batch for batch in lm_batches(ids, bs, seq_len) if len(batch[0][0]) == seq_len]


def _swapped(ids: list[int], bs: int, seq_len: int) -> Batches:
    return lm_batches(ids, seq_len, bs)


LM_STREAM = Exercise(
    title="Cut a language model's stream",
    task="""\
A language model reads all documents as one stream, `bs` places of it at a time.

1. Cut the stream into `bs` **mini-streams** of equal length, `(len(ids) - 1) // bs` each, one after the other (one id is
   kept back as the last label; what is too much at the end is left out). Mini-stream r is row r of *every* batch.
2. Walk along all of them together, `seq_len` columns at a time: `x` is (bs, seq_len). The last batch may be narrower.
3. `y` has the shape of `x` and holds the id that *follows* each of them in the stream.

Return the list of pairs `(x, y)`; lists of lists or arrays, as you like. `bs` and `seq_len` are never equal here, so that
rows and columns cannot be mixed up unnoticed.""",
    spec=lm_batches,
    make=_make,
    hint="row r of every batch belongs to mini-stream r, so row 1 of the second batch goes on where row 1 of the first "
    "ended; y is x moved on by one place in the stream.",
    wrong=(
        Wrong(
            _consecutive_rows,
            "your second row goes on where the first one ends. Then a row's text jumps from batch to batch, and the "
            "hidden state that is carried over belongs to other text. Cut the stream into bs long mini-streams first; "
            "row r of each batch is the next piece of mini-stream r.",
        ),
        Wrong(
            _every_bs,
            "you have dealt the ids out like cards, so that neighbours in a row are bs places apart. A row is "
            "running text: mini-stream r begins at r * ((len(ids) - 1) // bs).",
        ),
        Wrong(
            _same_labels, "y equals x: the model would only have to copy. y holds the *next* ids."
        ),
        Wrong(
            _labels_wrap,
            "the last label of a row is its own first id: you have rolled the row around. The label of the last "
            "column is the next id of the stream, which the next batch begins with.",
        ),
        Wrong(
            _labels_cut,
            "you lose a column in every batch. The last column has a label too: the next id of the stream.",
        ),
        Wrong(
            _no_last_batch,
            "the last batch is missing. Where seq_len does not divide the length of a mini-stream, the last batch is "
            "narrower; text must not be lost.",
        ),
        Wrong(
            _swapped,
            "rows and columns are mixed up: a batch has bs rows and up to seq_len columns.",
        ),
    ),
    solution=_solution,
    home="ulmfit/text/lm_stream.py",
)
