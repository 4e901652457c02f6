"""Exercise 7: hidden states of documents of different length -> one vector each (Howard & Ruder 2018, 3.3)."""

from __future__ import annotations

from random import Random
from typing import Any

from ulmfit.exercises.exercise import Exercise, Wrong, coins


def concat_pool(outputs: Any, lengths: list[int]) -> list[list[float]]:
    """Give [last, maximum, mean] over the true steps of each document: (bs, 3 * hid)."""
    pooled = []
    for document, length in zip(outputs, lengths):
        last, highest, mean = [], [], []
        for j in range(len(document[0])):
            seen = []
            for step in range(length):
                seen.append(float(document[step][j]))
            last.append(seen[-1])
            highest.append(max(seen))
            mean.append(sum(seen) / length)
        pooled.append(last + highest + mean)
    return pooled


def _solution(outputs: Any, lengths: list[int]) -> Any:
    import numpy as np

    n = np.array(lengths)
    is_text = (np.arange(outputs.shape[1]) < n[:, None])[:, :, None]  # (bs, time, 1)
    last = outputs[np.arange(len(n)), n - 1]
    highest = np.where(is_text, outputs, -np.inf).max(axis=1)
    mean = np.where(is_text, outputs, 0).sum(axis=1) / n[:, None]
    return np.concatenate([last, highest, mean], axis=1)


def _make(random: Random, size: int) -> tuple[Any, list[int]]:
    import numpy as np

    bs, time, hid = 1 + size // 3, 1 + (size + 1) // 2, 1 + size // 4
    outputs = np.array([[coins(random, hid) for _ in range(time)] for _ in range(bs)])
    if random.random() < 0.5:
        outputs = -abs(outputs) - 1  # below zero, where a maximum over zeros shows
    return outputs, [random.randint(1, time) for _ in range(bs)]


def _pool(
    outputs: Any, lengths: list[int], *, last: str = "", top: str = "", mean: str = ""
) -> Any:
    """Pool with one of the usual mistakes, or none, in each of the three parts."""
    import numpy as np

    n, time, hid = np.array(lengths), outputs.shape[1], outputs.shape[2]
    right = _solution(outputs, lengths)
    is_text = (np.arange(time) < n[:, None])[:, :, None]
    zeroed = np.where(is_text, outputs, 0)
    lasts = {"": right[:, :hid], "end": outputs[:, -1], "zeroed": zeroed[:, -1]}
    tops = {"": right[:, hid : 2 * hid], "all": outputs.max(1), "zeroed": zeroed.max(1)}
    means = {
        "": right[:, 2 * hid :],
        "all": outputs.mean(1),
        "zeroed": zeroed.mean(1),
        "sum": zeroed.sum(1),
    }
    return np.concatenate([lasts[last], tops[top], means[mean]], axis=1)


def _no_mask(outputs: Any, lengths: list[int]) -> Any:
    return _pool(outputs, lengths, last="end", top="all", mean="all")


def _all_zeroed(outputs: Any, lengths: list[int]) -> Any:
    return _pool(outputs, lengths, last="zeroed", top="zeroed", mean="zeroed")


def _zeroed_but_last(outputs: Any, lengths: list[int]) -> Any:
    return _pool(outputs, lengths, top="zeroed", mean="zeroed")


def _padded_but_last(outputs: Any, lengths: list[int]) -> Any:
    return _pool(outputs, lengths, top="all", mean="all")


def _end(outputs: Any, lengths: list[int]) -> Any:
    return _pool(outputs, lengths, last="end")


def _top_padded(outputs: Any, lengths: list[int]) -> Any:
    return _pool(outputs, lengths, top="all")


def _top_zeroed(outputs: Any, lengths: list[int]) -> Any:
    return _pool(outputs, lengths, top="zeroed")


def _mean_padded(outputs: Any, lengths: list[int]) -> Any:
    return _pool(outputs, lengths, mean="all")


def _mean_over_time(outputs: Any, lengths: list[int]) -> Any:
    return _pool(outputs, lengths, mean="zeroed")


def _sum(outputs: Any, lengths: list[int]) -> Any:
    return _pool(outputs, lengths, mean="sum")


def _order(outputs: Any, lengths: list[int], parts: tuple[int, int, int]) -> Any:
    import numpy as np

    last_top_mean = np.split(_solution(outputs, lengths), 3, axis=1)
    return np.concatenate([last_top_mean[part] for part in parts], axis=1)


_DIVIDE = "the mean divides by the number of all steps: divide by the document's own length."
_ZERO = (
    "setting padding to 0 before the maximum makes 0 win over every negative value: set it to minus infinity, "
    "or take the maximum of outputs[i, :lengths[i]]."
)

CONCAT_POOLING = Exercise(
    title="Concat pooling with a mask",
    task="""\
`outputs` is an array (bs, time, hid): the encoder's hidden states of `bs` documents, padded at the end to a common length.
Document i has `lengths[i]` true steps, at least one; what stands behind them is **garbage**, neither zero nor harmless.

Return (bs, 3 * hid): for each document its *last* hidden state, then the *maximum* over time, then the *mean* over time
(Howard & Ruder 2018, 3.3), all three over its true steps only. So a document's vector does not depend on its company.""",
    spec=concat_pool,
    make=_make,
    hint="compute with outputs[i, :lengths[i]] alone, in the order last, maximum, mean, each hid wide.",
    wrong=(
        Wrong(
            _no_mask,
            "the padding is in all three parts: you have not used lengths. A document's answer would then depend on how "
            "long the others in its batch are.",
        ),
        Wrong(_all_zeroed, _ZERO + " The last state and the mean need the true length as well."),
        Wrong(_zeroed_but_last, f"{_ZERO} And {_DIVIDE}"),
        Wrong(_padded_but_last, "the maximum and the mean take in the padding: mask both."),
        Wrong(
            _end,
            "the last state is read at the end of the padding: outputs[:, -1]. It stands at step lengths[i] - 1.",
        ),
        Wrong(_top_padded, "the maximum takes in the padding."),
        Wrong(_top_zeroed, _ZERO),
        Wrong(_mean_padded, "the mean takes in the padding."),
        Wrong(_mean_over_time, _DIVIDE),
        Wrong(_sum, "your third part is the sum: divide it by the document's length."),
        Wrong(
            lambda outputs, lengths: _order(outputs, lengths, (1, 2, 0)),
            "right parts, wrong order: last, maximum, mean. The head's weights know the columns by their place.",
        ),
        Wrong(
            lambda outputs, lengths: _order(outputs, lengths, (0, 2, 1)),
            "right parts, wrong order: the maximum comes before the mean.",
        ),
    ),
    solution=_solution,
    home="ulmfit/models/pooling.py",
)
