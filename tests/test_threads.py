"""Batches that threads share: in order, each on one thread, the same bits, and no thread is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_classifier import write_tiny_classifier

import ulmfit
from ulmfit.inference import classifier as module
from ulmfit.models.arch import ArchConfig
from ulmfit.models.threads import MOST_AT_ONCE, each, one_thread
from ulmfit.text.corpus import Corpus

SMALL, LARGE = ArchConfig(n_hid=64), ArchConfig(n_hid=1152)


@pytest.fixture(params=[1, 3])
def n_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    assert torch.get_num_threads() == request.param
    torch.set_num_threads(before)


def test_results_come_in_order(n_threads: int) -> None:
    for arch in (SMALL, LARGE):
        for n in range(12):
            assert list(each(lambda i: i * i, range(n), arch=arch, bs=64)) == [
                i * i for i in range(n)
            ]


def test_a_small_models_batches_are_worked_on_at_once_each_by_one_thread(n_threads: int) -> None:
    """All threads must be inside before any may go on."""
    together = threading.Barrier(n_threads, timeout=20)

    def work(item: int) -> tuple[int, int]:
        together.wait()
        return threading.get_ident(), torch.get_num_threads()

    found = list(each(work, range(4 * n_threads), arch=SMALL, bs=64))
    assert len({thread for thread, _ in found}) == n_threads
    assert {n for _, n in found} == {1}


def test_a_large_models_batches_have_all_threads(n_threads: int) -> None:
    found = each(
        lambda _: (threading.get_ident(), torch.get_num_threads()), range(9), arch=LARGE, bs=64
    )
    assert set(found) == {(threading.get_ident(), n_threads)}


def test_who_comes_while_others_work_starts_no_threads(n_threads: int) -> None:
    with one_thread(), ThreadPoolExecutor(1) as other:
        asked = other.submit(
            lambda: list(each(lambda _: threading.get_ident(), range(9), arch=SMALL, bs=64))
        )
        assert len(set(asked.result())) == 1


def test_callers_that_overlap_all_get_their_threads_back(n_threads: int) -> None:
    """torch has a setting a thread: the last one out cannot restore it for the first."""
    come, gone = threading.Event(), threading.Event()
    seen: list[int] = []

    def other() -> None:
        with one_thread():
            come.set()
            gone.wait(60)
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=other)
    with one_thread():
        thread.start()
        come.wait(60)
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == n_threads
    gone.set()
    thread.join()
    assert seen == [n_threads]
    assert torch.get_num_threads() == n_threads


def test_an_error_and_a_consumer_that_leaves_end_all(n_threads: int) -> None:
    def work(item: int) -> int:
        if item == 7:
            raise KeyError(item)
        return item

    before = threading.active_count()
    with pytest.raises(KeyError):
        list(each(work, range(100), arch=SMALL, bs=64))
    for found in each(work, range(100), arch=SMALL, bs=64):
        if found == 2:
            break
    assert threading.active_count() == before


def test_few_batches_are_drawn_ahead(n_threads: int) -> None:
    drawn: list[int] = []
    batches = (drawn.append(i) or i for i in range(1_000))
    results = each(lambda i: i, batches, arch=SMALL, bs=64)
    next(results)
    assert len(drawn) <= 2 * MOST_AT_ONCE
    results.close()


def test_answers_have_the_same_bits(
    demo_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BS", 3)
    folder = write_tiny_classifier(tmp_path / "clf", demo_corpus, direction="both").folder
    texts = ["a fine film " * (i % 7) for i in range(60)]
    found = []
    before = torch.get_num_threads()
    for n in (1, 2, 5):
        torch.set_num_threads(n)
        found.append(ulmfit.Classifier.load(folder).predict_proba(texts))
    torch.set_num_threads(before)
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
