"""Schedules as data: a tuple of phases, and the rates that a phase gives each layer group at a step.

In: what a stage config says about epochs and learning rates. Out: phases, made by pure functions.
The slanted triangular curve is Howard & Ruder 2018, 3.2; discriminative rates are 3.2, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from ulmfit.errors import UserError

Momenta = tuple[float, float, float]  # at the first step, at the peak of the rate, after the last


@dataclass(frozen=True)
class Shape:
    """What a curve leaves open: when its peak comes, how far from it the ends are, the momenta."""

    rise: float
    """Share of the steps before the peak: cut_frac of the paper, pct_start of fastai."""
    div: float
    """Peak rate / rate of the first step: ratio of the paper, div of fastai."""
    div_final: float
    """Peak rate / rate after the last step."""
    moms: Momenta
    """Momentum, Adam's beta 1; the same three times keeps it constant."""


SHAPES: dict[str, Shape] = {
    "stlr": Shape(0.1, 32, 32, (0.7, 0.7, 0.7)),  # Howard & Ruder 2018, 3.2 and 4.1
    "clr": Shape(0.1, 32, 32, (0.8, 0.8, 0.8)),  # fastai 0.7, use_clr=(32, 10)
    "one_cycle": Shape(0.25, 25, 1e5, (0.95, 0.85, 0.95)),  # fastai 2.8, fit_one_cycle
    "cosine": Shape(0.0, 1, 1e5, (0.7, 0.7, 0.7)),  # the paper's table 7 compares with one
    "flat": Shape(0.0, 1, 1, (0.7, 0.7, 0.7)),
}


@dataclass(frozen=True)
class Phase:
    """A stretch of training in which the same layer groups learn along one curve."""

    epochs: int
    lr: float
    """Peak rate of the top layer group."""
    curve: str
    shape: Shape
    n_unfrozen: int | None = None
    """Layer groups that learn, counted from the top; None for all."""
    only: int | None = None
    """Of these, the single one that learns, counted from the top: 1 is the head; None for all (chain-thaw)."""
    factor: float = 1.0
    """Each group's rate is that of the group above divided by this, however many groups there are."""
    group_factors: tuple[float, ...] = ()
    """Instead of `factor`: one multiple of `lr` for each group, bottom first."""

    def is_trainable(self, n_groups: int) -> tuple[bool, ...]:
        """Say of each layer group, bottom first, whether it learns."""
        if self.only is not None:
            return tuple(group == n_groups - self.only for group in range(n_groups))
        n_frozen = 0 if self.n_unfrozen is None else n_groups - self.n_unfrozen
        return tuple(group >= n_frozen for group in range(n_groups))

    def peaks(self, n_groups: int) -> tuple[float, ...]:
        """Give each layer group's peak rate, bottom first, as if none were frozen."""
        if not self.group_factors:
            return tuple(self.lr / self.factor**depth for depth in reversed(range(n_groups)))
        if len(self.group_factors) != n_groups:
            raise UserError(
                f"--group-factors has {len(self.group_factors)} values, but the model has "
                f"{n_groups} layer groups; give as many, bottom first, or use --factor"
            )
        return tuple(self.lr * multiple for multiple in self.group_factors)


@dataclass(frozen=True)
class Rates:
    """What the optimiser is set to before a step."""

    lrs: tuple[float, ...]
    """Learning rate of each layer group, bottom first; 0 where it is frozen."""
    momentum: float


@dataclass(frozen=True)
class Plan:
    """What a schedule makes phases of; `shape` is None for the curve's own."""

    epochs: int
    lr: float
    frozen_epochs: int = 0
    frozen_lr: float = 0.0
    factor: float = 1.0
    group_factors: tuple[float, ...] = ()
    shape: Shape | None = None
    n_groups: int = 0
    """Layer groups of the model, for schedules that unfreeze one after the other."""


def slanted_triangular(t: int, n_steps: int, *, cut_frac: float = 0.1, ratio: float = 32) -> float:
    """Give the share of the peak rate at step `t`: Eq. 3 of the paper, in its corrected version.

    Two guards for runs whose length is no multiple of 1 / cut_frac, where the equation divides by
    zero (no whole step before the cut) or ends below lr / ratio, even below 0 in very short runs.
    """
    cut = max(1, math.floor(n_steps * cut_frac))
    if t < cut:
        p = t / cut
    else:
        p = max(0.0, 1 - (t - cut) / (cut * (1 / cut_frac - 1)))
    return (1 + p * (ratio - 1)) / ratio


def circular(t: int, n_steps: int, *, div: float = 32, cut_div: int = 10) -> float:
    """Give the share of the peak rate under use_clr=(div, cut_div) of fastai 0.7.

    Unlike Eq. 3 it falls until the very last step, whatever the number of steps.
    """
    cut = max(1, n_steps // cut_div)
    p = t / cut if t <= cut else 1 - (t - cut) / (n_steps - cut)
    return (1 + p * (div - 1)) / div


def one_cycle(
    t: int, n_steps: int, *, pct_start: float = 0.25, div: float = 25, div_final: float = 1e5
) -> float:
    """Give the share of the peak rate in fastai's fit_one_cycle: half a cosine up, half one down."""
    return _two_cosines(t / n_steps, pct_start, (1 / div, 1.0, 1 / div_final))


def cosine(t: int, n_steps: int, *, div_final: float = 1e5) -> float:
    """Give the share of the peak rate on half a cosine from the peak down to 1 / div_final."""
    return _two_cosines(t / n_steps, 0.0, (1.0, 1.0, 1 / div_final))


def flat(t: int, n_steps: int) -> float:
    """Give the whole peak rate at every step."""
    return 1.0


CURVES: dict[str, Callable[[int, int, Shape], float]] = {
    "stlr": lambda t, n, s: slanted_triangular(t, n, cut_frac=s.rise, ratio=s.div),
    "clr": lambda t, n, s: circular(t, n, div=s.div, cut_div=round(1 / s.rise)),
    "one_cycle": lambda t, n, s: one_cycle(
        t, n, pct_start=s.rise, div=s.div, div_final=s.div_final
    ),
    "cosine": lambda t, n, s: cosine(t, n, div_final=s.div_final),
    "flat": lambda t, n, s: flat(t, n),
}


def rates(phase: Phase, step: int, *, n_steps: int, n_groups: int) -> Rates:
    """Give the rates for `step`, counted from 0, of the phase's `n_steps`."""
    share = CURVES[phase.curve](step, n_steps, phase.shape)
    learns = phase.is_trainable(n_groups)
    lrs = (peak * share if on else 0.0 for peak, on in zip(phase.peaks(n_groups), learns))
    momentum = _two_cosines(step / n_steps, phase.shape.rise, phase.shape.moms)
    return Rates(tuple(lrs), momentum)


def frozen_then_all(plan: Plan, *, curve: str) -> tuple[Phase, ...]:
    """Train the top group alone for `frozen_epochs`, if any, then all groups; a curve for each."""
    phase = _phase(plan, curve)
    frozen = phase(epochs=plan.frozen_epochs, lr=plan.frozen_lr, n_unfrozen=1)
    full = phase(epochs=plan.epochs, lr=plan.lr)
    return tuple(p for p in (frozen, full) if p.epochs)


def _phase(plan: Plan, curve: str, *, discriminative: bool = True) -> Callable[..., Phase]:
    """Fill in what all phases of a plan share."""
    return partial(
        Phase,
        curve=curve,
        shape=plan.shape or SHAPES[curve],
        factor=plan.factor if discriminative else 1.0,
        group_factors=plan.group_factors if discriminative else (),
    )


def all_at_once(plan: Plan, *, curve: str, discriminative: bool) -> tuple[Phase, ...]:
    """Train everything from the first epoch on."""
    phase = _phase(plan, curve, discriminative=discriminative)
    return (phase(epochs=plan.epochs, lr=plan.lr),)


def last_layer(plan: Plan, *, curve: str) -> tuple[Phase, ...]:
    """Train the head alone."""
    return (_phase(plan, curve)(epochs=plan.epochs, lr=plan.lr, n_unfrozen=1),)


def gradual_unfreezing(plan: Plan, *, curve: str, discriminative: bool) -> tuple[Phase, ...]:
    """Begin with the head and add a layer group an epoch; then `epochs` with all (paper, 3.3)."""
    phase = _phase(plan, curve, discriminative=discriminative)
    thawing = [phase(epochs=1, lr=plan.lr, n_unfrozen=n) for n in range(1, plan.n_groups)]
    return (*thawing, phase(epochs=plan.epochs, lr=plan.lr))


def chain_thaw(plan: Plan, *, curve: str) -> tuple[Phase, ...]:
    """Train the head, then each group alone from the bottom up, then all (Felbo et al. 2017).

    All but the head's own epoch take a tenth of the rate, as in the paper's comparison (5).
    """
    phase = _phase(plan, curve, discriminative=False)
    low = plan.lr / 10
    singles = [phase(epochs=1, lr=low, only=n) for n in range(plan.n_groups, 1, -1)]
    return (phase(epochs=1, lr=plan.lr, only=1), *singles, phase(epochs=plan.epochs, lr=low))


def authors_unfreezing(plan: Plan) -> tuple[Phase, ...]:
    """Head, head and one group, everything: imdb_scripts/train_clas.py with use_clr=(8, 3), then (8, 8)."""
    phase = _phase(plan, "clr")
    third = replace(plan.shape or SHAPES["clr"], rise=1 / 3)
    thawing = [phase(epochs=1, lr=plan.lr, n_unfrozen=n, shape=third) for n in (1, 2)]
    return (*thawing, phase(epochs=plan.epochs, lr=plan.lr))


def fastai_unfreezing(plan: Plan) -> tuple[Phase, ...]:
    """One cycle each for head, two groups, three groups and all, at falling rates (fastai 1 and 2)."""
    phase = _phase(plan, "one_cycle")
    thawing = [
        phase(epochs=1, lr=plan.lr * share, n_unfrozen=n)
        for n, share in ((1, 1.0), (2, 1 / 2), (3, 1 / 4))
    ]
    return (*thawing, phase(epochs=plan.epochs, lr=plan.lr / 20))


@dataclass(frozen=True)
class ClassifierSchedule:
    """A way to unfreeze, and the curve of its phases."""

    curve: str
    phases: Callable[[Plan], tuple[Phase, ...]]


def _full(curve: str, *, discriminative: bool) -> ClassifierSchedule:
    return ClassifierSchedule(
        curve, partial(all_at_once, curve=curve, discriminative=discriminative)
    )


def _freez(curve: str, *, discriminative: bool) -> ClassifierSchedule:
    return ClassifierSchedule(
        curve, partial(gradual_unfreezing, curve=curve, discriminative=discriminative)
    )


# The schedules of a classifier; the first nine are rows of the paper's table 7, in its words.
CLASSIFIER_SCHEDULES: dict[str, ClassifierSchedule] = {
    "full": _full("flat", discriminative=False),
    "full_discr": _full("flat", discriminative=True),
    "last": ClassifierSchedule("flat", partial(last_layer, curve="flat")),
    "chain_thaw": ClassifierSchedule("flat", partial(chain_thaw, curve="flat")),
    "freez": _freez("flat", discriminative=False),
    "freez_discr": _freez("flat", discriminative=True),
    "freez_stlr": _freez("stlr", discriminative=False),
    "freez_cos": _freez("cosine", discriminative=False),
    "freez_discr_stlr": _freez("stlr", discriminative=True),
    "paper_code": ClassifierSchedule("clr", authors_unfreezing),
    "fastai": ClassifierSchedule("one_cycle", fastai_unfreezing),
    "one_cycle": _full("one_cycle", discriminative=True),
}

# The schedules of a language model: a function Plan -> phases each.
SCHEDULES: dict[str, Callable[[Plan], tuple[Phase, ...]]] = {
    curve: partial(frozen_then_all, curve=curve) for curve in CURVES
}


def _two_cosines(position: float, rise: float, values: tuple[float, float, float]) -> float:
    """Go from the first value to the second in a share `rise` of the way, then to the third."""
    first, peak, last = values
    if position < rise:
        return _half_cosine(first, peak, position / rise)
    return _half_cosine(peak, last, (position - rise) / (1 - rise))


def _half_cosine(start: float, end: float, position: float) -> float:
    return start + (end - start) * (1 - math.cos(math.pi * position)) / 2
