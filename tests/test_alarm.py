"""When a training is stopped: losses by hand, in place of a model's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ulmfit.errors import Diverged
from ulmfit.text.lm_stream import Position
from ulmfit.training.alarm import WINDOW, Alarm
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.config import PretrainConfig


def alarm(*, is_likelihood: bool = True) -> Alarm:
    made = Alarm(PretrainConfig(), Path("no checkpoint"), is_likelihood=is_likelihood)
    train = SimpleNamespace(state=lambda: Position(0, 7))
    made.learn = SimpleNamespace(dls=SimpleNamespace(train=train))
    return made


def hear(watch: Alarm, *losses: float) -> None:
    for loss in losses:
        watch.learn.loss = torch.tensor(loss)
        watch.after_loss()


@pytest.mark.parametrize(
    "losses",
    [
        [9.4, 9.6, 8.0] + [7.0] * 200,  # an ordinary one
        [4.8] * 3 + [6.4] * 40 + [4.5] * 200,  # a new head, and a rate that rises: worse at first
        [9.4] * 10 + [5.0] * 100 + [7.9] * 100,  # a little worse than it was, better than it began
        [0.7, 0.2, 0.01] + [0.9] * 100,
        [0.7, 9.0] + [0.6] * 100,  # one bad batch among the first
    ],
)
def test_what_may_be(losses: list[float]) -> None:
    hear(alarm(), *losses)


@pytest.mark.parametrize(
    "before", [[6.0], [6.0] * (WINDOW - 1), [6.0] * WINDOW, [9.0] * 30 + [5.0] * 300]
)
def test_what_has_left_all_earlier_losses_behind(before: list[float]) -> None:
    watch = alarm()
    hear(watch, *before)
    with pytest.raises(Diverged, match=r"the loss rose from \d.* at batch 7 of epoch 1"):
        hear(watch, *[300.0] * WINDOW)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_what_is_no_number(loss: float) -> None:
    watch = alarm(is_likelihood=False)
    hear(watch, 1.0, 1e9)  # an error of any size is none of its business
    with pytest.raises(Diverged, match=f"the loss became {loss}"):
        hear(watch, loss)


@pytest.mark.parametrize("n", [1, 5, WINDOW, 70])
def test_what_goes_on_is_watched_alike(n: int) -> None:
    losses = [9.0 - 0.05 * i for i in range(80)]
    whole, first, second = alarm(), alarm(), alarm()
    hear(whole, *losses)
    hear(first, *losses[:n])
    second.restore(first.facts())
    hear(second, *losses[n:])
    assert second.facts() == whole.facts()


@pytest.mark.parametrize(
    ("own", "says"),
    [(0.005, r"lower --backward-lr \(now 0.005\)"), (None, r"lower --lr \(now 0.01\)")],
)
def test_the_flag_that_set_the_rate_is_named(own: float | None, says: str) -> None:
    watch = alarm()
    watch.config = ClassifierConfig(direction="backward", lr=0.01, backward_lr=own)
    with pytest.raises(Diverged, match=says):
        hear(watch, float("nan"))
