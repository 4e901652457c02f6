"""Exercise 4: the slanted triangular learning rate (Howard & Ruder 2018, Eq. 3)."""

from __future__ import annotations

import math
from random import Random

from ulmfit.exercises.exercise import Exercise, Wrong


def slanted_triangular(t: int, T: int, lr_max: float, cut_frac: float, ratio: float) -> float:
    """Give the learning rate of step `t` (from 0) of `T` steps."""
    cut = math.floor(T * cut_frac)
    if t < cut:
        p = t / cut
    else:
        p = 1 - (t - cut) / (cut * (1 / cut_frac - 1))
    return lr_max * (1 + p * (ratio - 1)) / ratio


def _solution(t: int, T: int, lr_max: float, cut_frac: float, ratio: float) -> float:
    import numpy as np

    cut = int(T * cut_frac)
    lowest = lr_max / ratio
    return float(np.interp(t, [0, cut, cut / cut_frac], [lowest, lr_max, lowest]))


def _make(random: Random, size: int) -> tuple[int, int, float, float, float]:
    cut_frac = random.choice((0.5, 0.25, 0.125, 0.1))  # with which T * cut_frac is exact
    T = round(1 / cut_frac) * random.randint(1, size)
    t = random.choice((0, random.randrange(T), int(T * cut_frac)))
    return t, T, random.choice((0.01, 0.004, 1.0)), cut_frac, random.choice((32, 8, 2))


def _from_zero(t: int, T: int, lr_max: float, cut_frac: float, ratio: float) -> float:
    cut = T * cut_frac
    return lr_max * (t / cut if t < cut else (T - t) / (T - cut))


def _share(t: int, T: int, lr_max: float, cut_frac: float, ratio: float) -> float:
    return slanted_triangular(t, T, 1.0, cut_frac, ratio)


def _falls_as_it_rose(t: int, T: int, lr_max: float, cut_frac: float, ratio: float) -> float:
    cut = math.floor(T * cut_frac)
    p = t / cut if t < cut else 1 - (t - cut) / cut
    return lr_max * (1 + p * (ratio - 1)) / ratio


def _stops_as_it_rose(t: int, T: int, lr_max: float, cut_frac: float, ratio: float) -> float:
    return max(lr_max / ratio, _falls_as_it_rose(t, T, lr_max, cut_frac, ratio))


def _ratio_in_the_fall(t: int, T: int, lr_max: float, cut_frac: float, ratio: float) -> float:
    cut = math.floor(T * cut_frac)
    p = t / cut if t < cut else 1 - (t - cut) / (cut * (ratio - 1))
    return lr_max * (1 + p * (ratio - 1)) / ratio


def _fall_over_all(t: int, T: int, lr_max: float, cut_frac: float, ratio: float) -> float:
    cut = math.floor(T * cut_frac)
    p = t / cut if t < cut else 1 - (t - cut) / T
    return lr_max * (1 + p * (ratio - 1)) / ratio


def _falls_only(t: int, T: int, lr_max: float, cut_frac: float, ratio: float) -> float:
    return lr_max * (1 + (1 - t / T) * (ratio - 1)) / ratio


def _mirrored(t: int, T: int, lr_max: float, cut_frac: float, ratio: float) -> float:
    cut = T - T * cut_frac
    p = t / cut if t < cut else (T - t) / (T - cut)
    return lr_max * (1 + p * (ratio - 1)) / ratio


def _floor_forgotten(t: int, T: int, lr_max: float, cut_frac: float, ratio: float) -> float:
    p = slanted_triangular(t, T, 1.0, cut_frac, 2) * 2 - 1
    return lr_max * (1 + p * ratio) / ratio


SLANTED_TRIANGULAR = Exercise(
    title="Slanted triangular rates",
    task="""\
A short, steep rise, then a long fall (Howard & Ruder 2018, 3.2, Eq. 3). With `cut = floor(T * cut_frac)`

    p  = t / cut                                            if t < cut
    p  = 1 - (t - cut) / (cut * (1 / cut_frac - 1))         otherwise
    lr = lr_max * (1 + p * (ratio - 1)) / ratio

`t` is the number of the step, from 0; `T` the number of all steps; `ratio` says how much smaller the lowest rate is than
`lr_max`. Here `T * cut_frac` is always a whole number above 0. (What happens when it is not? The library has two guards
for that: `ulmfit/training/schedules.py`.)""",
    spec=slanted_triangular,
    make=_make,
    hint="three points fix the curve: lr_max / ratio at t = 0, lr_max at t = cut, lr_max / ratio again at t = T; straight "
    "lines between them.",
    wrong=(
        Wrong(
            _from_zero,
            "your rate begins and ends at 0: that is lr_max * p. The lowest rate is lr_max / ratio: "
            "lr_max * (1 + p * (ratio - 1)) / ratio.",
        ),
        Wrong(_share, "you give the share of the peak rate: lr_max is not in your answer."),
        Wrong(
            _falls_as_it_rose,
            "your fall is as steep as the rise, and goes below 0. It is *slanted*: the fall takes the rest of the steps, "
            "cut * (1 / cut_frac - 1) of them.",
        ),
        Wrong(
            _stops_as_it_rose,
            "your fall is as steep as the rise, and then stays flat. It is *slanted*: the fall takes the rest of the "
            "steps, cut * (1 / cut_frac - 1) of them.",
        ),
        Wrong(
            _ratio_in_the_fall,
            "the fall's denominator has 1 / cut_frac in it, not ratio: it counts steps, cut * (1 / cut_frac - 1) of them.",
        ),
        Wrong(
            _fall_over_all,
            "your fall is too slow to arrive: it begins at cut, so it lasts cut * (1 / cut_frac - 1) steps, not T.",
        ),
        Wrong(_falls_only, "your rate only falls: for t < cut it rises, p = t / cut."),
        Wrong(
            _mirrored,
            "your rise is long and your fall short: cut_frac is the share of steps in which the rate *rises*.",
        ),
        Wrong(
            _floor_forgotten,
            "your peak is too high: p = 1 has to give lr_max, so it is p * (ratio - 1), not p * ratio.",
        ),
    ),
    solution=_solution,
    home="ulmfit/training/schedules.py",
)
