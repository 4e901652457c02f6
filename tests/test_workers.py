"""Several processes: the order of one, and a clear end when one of them dies."""

from __future__ import annotations

import os

import pytest

from ulmfit import TextConfig, UserError
from ulmfit.text import workers
from ulmfit.text.document_batches import Documents
from ulmfit.text.frames import ListTable
from ulmfit.text.workers import DocumentCoder

TABLE = ListTable([], "text")


def batches(n: int) -> list[Documents]:
    return [
        Documents(
            ([f"text {i} of batch {b}" for i in range(3)],), None, ["train"] * 3, [1, 2, 3], TABLE
        )
        for b in range(n)
    ]


def decoded(n_workers: int) -> list[list[str]]:
    coder = DocumentCoder(TextConfig(tokenizer="char"), n_workers=n_workers)
    made = list(coder.code(batches(9)))
    assert [d.fields for d, _ in made] == [d.fields for d in batches(9)]
    return [[coder.tokens[code] for code in coded.codes] for _, coded in made]


def test_batches_come_back_in_order() -> None:
    assert decoded(2) == decoded(0)


def die(fields: tuple[list[str], ...]) -> None:
    os._exit(1)


def test_a_worker_that_dies_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_code", die)
    coder = DocumentCoder(TextConfig(tokenizer="char"), n_workers=1)
    with pytest.raises(UserError, match="lower --workers"):
        list(coder.code(batches(2)))
