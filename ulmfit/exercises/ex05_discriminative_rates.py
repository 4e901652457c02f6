"""Exercise 5: one learning rate for each layer group (Howard & Ruder 2018, 3.2)."""

from __future__ import annotations

from random import Random

from ulmfit.exercises.exercise import Exercise, Wrong


def discriminative_rates(lr: float, n_groups: int, factor: float) -> list[float]:
    """Give the learning rate of each layer group, bottom first."""
    rates = []
    for group in range(n_groups):
        rate = lr
        for _ in range(group + 1, n_groups):  # once for each group above this one
            rate = rate / factor
        rates.append(rate)
    return rates


def _solution(lr: float, n_groups: int, factor: float) -> list[float]:
    return [lr / factor**depth for depth in reversed(range(n_groups))]


def _make(random: Random, size: int) -> tuple[float, int, float]:
    return random.choice((0.01, 0.02, 1.0)), size, random.choice((2.6, 2.0, 4.0))


def _top_first(lr: float, n_groups: int, factor: float) -> list[float]:
    return _solution(lr, n_groups, factor)[::-1]


def _divided_once(lr: float, n_groups: int, factor: float) -> list[float]:
    return [lr / factor] * (n_groups - 1) + [lr]


def _multiples(lr: float, n_groups: int, factor: float) -> list[float]:
    return [lr / (factor * depth) if depth else lr for depth in reversed(range(n_groups))]


def _four_powers(lr: float, n_groups: int, factor: float) -> list[float]:
    """Spread the groups between lr / factor ** 4 and lr, as slice(lr / 2.6**4, lr) does."""
    if n_groups == 1:
        return [lr]
    return [lr / factor ** (4 * depth / (n_groups - 1)) for depth in reversed(range(n_groups))]


def _top_divided(lr: float, n_groups: int, factor: float) -> list[float]:
    return [rate / factor for rate in _solution(lr, n_groups, factor)]


def _multiplied(lr: float, n_groups: int, factor: float) -> list[float]:
    return [lr * factor**group for group in range(n_groups)]


def _even_steps(lr: float, n_groups: int, factor: float) -> list[float]:
    lowest = _solution(lr, n_groups, factor)[0]
    step = (lr - lowest) / max(1, n_groups - 1)
    return [lr - step * depth for depth in reversed(range(n_groups))]


DISCRIMINATIVE_RATES = Exercise(
    title="Discriminative rates",
    task="""\
Lower layers know things that hold for all texts; they should change less. Each layer group learns at the rate of the
group *above* it divided by `factor` (2.6 in Howard & Ruder 2018, 3.2); the top group learns at `lr`.

Return the rates of all `n_groups` groups, **bottom first**.""",
    spec=discriminative_rates,
    make=_make,
    hint="the last rate of the list is lr, and each one before it is the next one divided by factor.",
    wrong=(
        Wrong(
            _top_first,
            "your list is upside down: bottom first, so the smallest rate comes first and lr last. As it is, the "
            "embedding would learn fastest.",
        ),
        Wrong(
            _divided_once,
            "all groups below the top have the same rate: divide once more for each group further down.",
        ),
        Wrong(
            _multiples,
            "you divide by factor times the depth. Each group divides the rate of the one above: factor to the power "
            "of the depth.",
        ),
        Wrong(
            _four_powers,
            "you spread the groups between lr / factor**4 and lr. That divides by factor a group only if there are five "
            "groups, which is the well-known trap of slice(lr / 2.6**4, lr).",
        ),
        Wrong(_top_divided, "one division too many: the top group learns at lr itself."),
        Wrong(
            _multiplied,
            "your rates grow beyond lr: lr is the rate of the *top* group, and the ones below are smaller.",
        ),
        Wrong(
            _even_steps,
            "your rates lie at equal distances. Equal *quotients* are wanted: each is the next one divided by factor.",
        ),
    ),
    solution=_solution,
    home="ulmfit/training/schedules.py",
)
