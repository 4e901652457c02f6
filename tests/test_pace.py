"""The pace of a training: what is measured can be believed, leaves nothing behind, and fits every schedule."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace

import numpy as np
import pytest
import torch

from ulmfit.models.arch import ArchConfig
from ulmfit.models.threads import one_thread
from ulmfit.text.corpus import Corpus
from ulmfit.training import pace
from ulmfit.training.memory import peak_mb
from ulmfit.training.pace import Pace, classifier_pace, lm_pace
from ulmfit.training.presets import CLASSIFIER_PRESETS, PRETRAIN_PRESETS
from ulmfit.training.schedules import SHAPES, Phase

ARCH = ArchConfig(emb_sz=16, n_hid=24, n_layers=2)


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> Generator[None, None, None]:
    monkeypatch.setattr(pace, "SECONDS", 0.1)
    with one_thread():
        yield


def phase(**changes: int) -> Phase:
    return Phase(1, 0.1, "flat", SHAPES["flat"], **changes)


def test_a_phase_costs_what_its_gradient_flows_through() -> None:
    found = Pace(whole=5.0, top=1.0, reading=0.5)
    assert [found.learning(phase(n_unfrozen=n), 5) for n in (1, 2, 3, 4, 5)] == [1, 2, 3, 4, 5]
    assert found.learning(phase(), 5) == 5
    # Chain-thaw's single layers: the lowest alone needs the gradient all the way down.
    assert [found.learning(phase(only=n), 5) for n in (1, 3, 5)] == [1, 3, 5]


def test_a_language_model_is_measured_by_the_clock(demo_corpus: Corpus) -> None:
    config = replace(PRETRAIN_PRESETS["tiny"], arch=ARCH, epochs=1)
    state, began_at = torch.get_rng_state(), time.perf_counter()
    found = lm_pace(demo_corpus, config)
    took = time.perf_counter() - began_at
    assert found.whole == found.top > 0  # its schedule freezes nothing
    assert found.whole * config.bs * config.seq_len < took
    assert torch.equal(torch.get_rng_state(), state)


def test_a_classifier_that_freezes_is_measured_both_ways(demo_corpus: Corpus) -> None:
    config = replace(CLASSIFIER_PRESETS["tiny"], schedule="freez", bs=8)
    found = classifier_pace(demo_corpus, config, arch=ARCH)
    assert 0 < found.top != found.whole > 0
    whole = classifier_pace(demo_corpus, replace(config, schedule="full"), arch=ARCH)
    assert whole.top == whole.whole


def test_an_epoch_shorter_than_the_measurement_will_do(demo_corpus: Corpus) -> None:
    config = replace(PRETRAIN_PRESETS["tiny"], arch=ARCH, bs=512, seq_len=128)
    assert lm_pace(demo_corpus, config).whole > 0


@pytest.mark.skipif(np.isnan(peak_mb()), reason="this system does not tell")
def test_the_peak_grows_with_what_is_held() -> None:
    before = peak_mb()
    held = np.ones(round(before + 200) << 17)  # as many MB, of 8 bytes each
    assert peak_mb() >= before + 150
    assert len(held)
