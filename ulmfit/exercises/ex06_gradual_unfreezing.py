"""Exercise 6: which layer groups train in which epoch (Howard & Ruder 2018, 3.3)."""

from __future__ import annotations

from random import Random

from ulmfit.exercises.exercise import Exercise, Wrong


def trains(epoch: int, n_groups: int) -> list[bool]:
    """Say of each layer group, bottom first, whether it trains in `epoch` (from 0)."""
    is_training = [False] * n_groups
    group = n_groups - 1
    for _ in range(epoch + 1):  # one group more an epoch, from the top
        if group >= 0:
            is_training[group] = True
        group -= 1
    return is_training


def _solution(epoch: int, n_groups: int) -> list[bool]:
    n_frozen = max(0, n_groups - 1 - epoch)
    return [group >= n_frozen for group in range(n_groups)]


def _make(random: Random, size: int) -> tuple[int, int]:
    return random.randrange(size + 1), random.randint(1, size)


def _from_the_bottom(epoch: int, n_groups: int) -> list[bool]:
    return [group <= epoch for group in range(n_groups)]


def _one_at_a_time(epoch: int, n_groups: int) -> list[bool]:
    return [group == n_groups - 1 - epoch for group in range(n_groups)]


def _one_late(epoch: int, n_groups: int) -> list[bool]:
    return [group >= n_groups - epoch for group in range(n_groups)]


def _one_early(epoch: int, n_groups: int) -> list[bool]:
    return _solution(epoch + 1, n_groups)


def _head_then_all(epoch: int, n_groups: int) -> list[bool]:
    return [epoch > 0 or group == n_groups - 1 for group in range(n_groups)]


def _frozen(epoch: int, n_groups: int) -> list[bool]:
    return [not on for on in _solution(epoch, n_groups)]


def _wraps(epoch: int, n_groups: int) -> list[bool]:
    return _solution(epoch % n_groups, n_groups)


def _indices(epoch: int, n_groups: int) -> list[int]:
    return [group for group, on in enumerate(_solution(epoch, n_groups)) if on]


GRADUAL_UNFREEZING = Exercise(
    title="Gradual unfreezing",
    task="""\
A fresh head on a pretrained encoder makes large errors at first, and they would wash out what the encoder knows. So the
head trains alone for one epoch; then one layer group *more* trains in each epoch, from the top down, until all do
(Howard & Ruder 2018, 3.3). From then on all of them train.

Return one `True` or `False` for each of the `n_groups` groups, **bottom first**. Epochs are counted from 0.""",
    spec=trains,
    make=_make,
    hint="in epoch 0 the top group trains (the last of the list), in epoch 1 the top two, and so on; never more than all.",
    wrong=(
        Wrong(
            _from_the_bottom,
            "you unfreeze from the bottom. The head, last in the list, comes first: it is the one that knows nothing yet.",
        ),
        Wrong(
            _one_at_a_time,
            "only one group trains in each epoch. A group that has been unfrozen goes on training (one at a time is "
            "another method, chain-thaw).",
        ),
        Wrong(
            _one_late,
            "you are one epoch late: epochs count from 0, and in epoch 0 the head trains already.",
        ),
        Wrong(_one_early, "you are one epoch early: in epoch 0 the head trains alone."),
        Wrong(
            _head_then_all,
            "after the head you unfreeze everything at once. One group more an epoch.",
        ),
        Wrong(_frozen, "True means that a group trains; you say which ones are frozen."),
        Wrong(
            _wraps,
            "you begin again with the head alone when all groups are unfrozen: from then on all of them train.",
        ),
        Wrong(
            _indices,
            "you return the numbers of the groups. One True or False for each group is wanted, bottom first.",
        ),
    ),
    solution=_solution,
    home="ulmfit/training/schedules.py",
)
