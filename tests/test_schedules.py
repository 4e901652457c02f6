"""Schedules against the paper's equation written out, fastai's own schedulers, and laws."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from fastai.callback.schedule import ParamScheduler, combined_cos
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import Adam
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ulmfit import UserError
from ulmfit.training.schedules import (
    CURVES,
    SCHEDULES,
    SHAPES,
    Phase,
    Plan,
    circular,
    one_cycle,
    rates,
    slanted_triangular,
)

steps = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n)))


def equation_3(t: int, T: int, cut_frac: float, ratio: float, lr_max: float) -> float:
    """The paper's Eq. 3, line by line, unguarded."""
    cut = math.floor(T * cut_frac)
    p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
    return lr_max * (1 + p * (ratio - 1)) / ratio


@given(
    st.integers(10, 3000), st.sampled_from([0.1, 0.125, 0.25, 0.5]), st.sampled_from([8.0, 32.0])
)
def test_slanted_triangular_is_the_papers_equation_at_every_step(
    n: int, cut_frac: float, ratio: float
) -> None:
    for t in range(n):
        expected = max(equation_3(t, n, cut_frac, ratio, 0.01), 0.01 / ratio)
        assert 0.01 * slanted_triangular(t, n, cut_frac=cut_frac, ratio=ratio) == pytest.approx(
            expected, rel=1e-9
        )


def test_slanted_triangular_begins_peaks_and_ends_where_the_paper_says() -> None:
    shares = [slanted_triangular(t, 1000) for t in range(1001)]
    assert shares[0] == pytest.approx(1 / 32)
    assert max(shares) == shares[100] == 1
    assert shares[1000] == pytest.approx(1 / 32)


def test_the_guards_are_needed() -> None:
    """Unguarded, a run of 19 steps would climb the gradient at its end, and one of 9 has no cut."""
    assert equation_3(18, 19, 0.1, 32, 0.01) < 0
    assert slanted_triangular(18, 19) == pytest.approx(1 / 32)
    with pytest.raises(ZeroDivisionError):
        equation_3(0, 9, 0.1, 32, 0.01)
    assert slanted_triangular(0, 9) == pytest.approx(1 / 32)


def test_circular_is_the_slanted_triangle_where_the_length_divides() -> None:
    for t in range(500):
        assert circular(t, 500) == pytest.approx(slanted_triangular(t, 500), rel=1e-9)
    for t, share in ((0, 1 / 8), (33, 1.0), (99, (1 + (1 / 67) * 7) / 8)):
        assert circular(t, 100, div=8, cut_div=3) == pytest.approx(share)  # fastai 0.7's classifier


@pytest.mark.parametrize("n", [7, 400])
@pytest.mark.parametrize(("rise", "div", "div_final"), [(0.25, 25, 1e5), (0.3, 10, 25e4)])
def test_one_cycle_is_fastais_combined_cosine(
    n: int, rise: float, div: float, div_final: float
) -> None:
    stock = combined_cos(rise, 1 / div, 1.0, 1 / div_final)
    for t in range(n):
        ours = one_cycle(t, n, pct_start=rise, div=div, div_final=div_final)
        assert ours == pytest.approx(float(stock(t / n)), abs=1e-5)


class Recorded(ParamScheduler):
    """Note rates and momentum of all groups before each batch, after the scheduler has set them."""

    def before_fit(self) -> None:
        super().before_fit()
        self.seen: list[tuple[list[float], float]] = []

    def before_batch(self) -> None:
        super().before_batch()
        self.seen.append(([h["lr"] for h in self.opt.hypers], self.opt.hypers[-1]["mom"]))


def stock_run(n_groups: int, lr: float | slice, n_batches: int) -> list[tuple[list[float], float]]:
    """Let fastai train a toy for two epochs of one cycle and note what its optimiser was set to."""
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(n_groups)))
    data = [(torch.zeros(1, 2), torch.zeros(1, 2))] * n_batches
    learner = Learner(
        DataLoaders(data, data, device=torch.device("cpu")),
        model,
        loss_func=nn.MSELoss(),
        opt_func=Adam,
        splitter=lambda m: [list(layer.parameters()) for layer in m],
    )
    learner.create_opt()
    learner.opt.set_hyper("lr", lr)
    top = np.array([h["lr"] for h in learner.opt.hypers])
    recorded = Recorded(
        {
            "lr": combined_cos(0.25, top / 25, top, top / 1e5),
            "mom": combined_cos(0.25, 0.95, 0.85, 0.95),
        }
    )
    with learner.no_bar(), learner.no_logging():
        learner.fit(2, cbs=recorded)
    return recorded.seen


def test_rates_and_momentum_are_those_of_a_stock_learner() -> None:
    """With five groups, slice(lr / 2.6**4, lr) is our factor of 2.6."""
    phase = Phase(2, 0.01, "one_cycle", SHAPES["one_cycle"], factor=2.6)
    seen = stock_run(5, slice(0.01 / 2.6**4, 0.01), n_batches=10)
    assert len(seen) == 20
    for step, (lrs, momentum) in enumerate(seen):
        ours = rates(phase, step, n_steps=20, n_groups=5)
        assert ours.lrs == pytest.approx(lrs, rel=1e-4)
        assert ours.momentum == pytest.approx(momentum, abs=1e-5)


def test_the_factor_stays_2_6_with_other_numbers_of_groups_where_fastais_slice_does_not() -> None:
    phase = Phase(2, 0.01, "flat", SHAPES["flat"], factor=2.6)
    for n_groups in (2, 4, 6):
        (stock, _), *_ = stock_run(n_groups, slice(0.01 / 2.6**4, 0.01), n_batches=2)
        ours = rates(phase, 0, n_steps=4, n_groups=n_groups).lrs
        assert ours[-1] == 0.01
        assert [b / a for a, b in itertools.pairwise(ours)] == pytest.approx([2.6] * (n_groups - 1))
        assert stock[1] / stock[0] == pytest.approx(2.6 ** (4 / (n_groups - 1)), rel=1e-4)


def test_explicit_group_factors() -> None:
    phase = Phase(1, 0.006, "flat", SHAPES["flat"], group_factors=(1 / 6, 1 / 3, 1.0, 1 / 2))
    assert rates(phase, 0, n_steps=1, n_groups=4).lrs == pytest.approx((0.001, 0.002, 0.006, 0.003))
    with pytest.raises(UserError, match="--group-factors has 4 values, but the model has 5"):
        phase.peaks(5)


def test_frozen_groups_do_not_learn() -> None:
    phase = Phase(1, 0.01, "flat", SHAPES["flat"], n_unfrozen=2)
    assert phase.is_trainable(4) == (False, False, True, True)
    assert rates(phase, 0, n_steps=1, n_groups=4).lrs == (0, 0, 0.01, 0.01)
    assert replace(phase, n_unfrozen=9).is_trainable(4) == (True,) * 4


@pytest.mark.parametrize("curve", CURVES)
@given(place=steps, factor=st.floats(1, 4), n_groups=st.integers(1, 6))
def test_a_rate_is_positive_and_never_above_its_peak(
    curve: str, place: tuple[int, int], factor: float, n_groups: int
) -> None:
    phase = Phase(1, 0.01, curve, SHAPES[curve], factor=factor)
    step, n_steps = place
    now = rates(phase, step, n_steps=n_steps, n_groups=n_groups)
    for lr, peak in zip(now.lrs, phase.peaks(n_groups)):
        assert 0 < lr <= peak * (1 + 1e-9)
    assert min(phase.shape.moms) - 1e-9 <= now.momentum <= max(phase.shape.moms) + 1e-9


@pytest.mark.parametrize("curve", CURVES)
@given(n_steps=st.integers(20, 500))
def test_a_rate_never_jumps(curve: str, n_steps: int) -> None:
    """No step changes the rate by more than the steepest slope there can be: pi / 2 over the rise."""
    shape = SHAPES[curve]
    shares = [CURVES[curve](t, n_steps, shape) for t in range(n_steps)]
    steepest = math.pi / 2 / (math.floor(n_steps * (shape.rise or 1)))
    assert all(abs(b - a) <= steepest for a, b in itertools.pairwise(shares))


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_makes_phases_of_a_plan(name: str) -> None:
    (only,) = SCHEDULES[name](Plan(epochs=10, lr=2e-3, factor=2.6))
    assert (only.epochs, only.lr, only.n_unfrozen, only.factor) == (10, 2e-3, None, 2.6)
    assert (only.curve, only.shape) == (name, SHAPES[name])


def test_the_head_warms_up_first() -> None:
    plan = Plan(epochs=10, lr=2e-3, frozen_epochs=1, frozen_lr=2e-2)
    frozen, full = SCHEDULES["one_cycle"](plan)
    assert (frozen.epochs, frozen.lr, frozen.n_unfrozen) == (1, 2e-2, 1)
    assert (full.epochs, full.lr, full.n_unfrozen) == (10, 2e-3, None)
