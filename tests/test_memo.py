"""The memory on disk: the same tokens with it and without, whatever state the file is in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ulmfit import TextConfig, build_tokenizer
from ulmfit.text.memo import Memo, cache_folder

TEXTS = [
    "A film, a film!\n\nA FILM :) (really)",
    "so so so  good\u2003" + "x" * 40,
    "",
    "tschüß \u2028 ΣΊΣΥΦΟΣ",
]


def tokens(folder: Path | None) -> list[list[str]]:
    """Tokenize with the memory of a folder, and save it back."""
    tokenizer = build_tokenizer(TextConfig())
    memo = Memo(folder, tokenizer.fingerprint)
    memo.load(tokenizer.coder)
    made = list(tokenizer.tokenize(TEXTS))
    memo.save(tokenizer.coder)
    return made


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    tokens(tmp_path)
    (path,) = tmp_path.iterdir()
    return path


def test_tokens_are_the_same_with_a_memory(saved: Path) -> None:
    written = saved.stat().st_mtime_ns
    assert tokens(saved.parent) == tokens(None)
    assert saved.stat().st_mtime_ns == written  # nothing new, nothing written


def test_a_memory_is_used(saved: Path) -> None:
    with np.load(saved) as arrays:
        changed = {name: arrays[name] for name in arrays.files}
    changed["tokens"] = np.frombuffer(
        changed["tokens"].tobytes().replace(b"film", b"pony"), np.uint8
    )
    np.savez(saved, allow_pickle=False, **changed)
    assert "pony" in tokens(saved.parent)[0]


@pytest.mark.parametrize("keep", [0, 10, 500, -1])
def test_a_truncated_memory_is_as_good_as_none(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    assert tokens(saved.parent) == tokens(None)


@pytest.mark.parametrize("name", ["words", "lengths", "codes", "counts", "flags", "tokens"])
def test_arrays_that_do_not_fit_are_as_good_as_none(saved: Path, name: str) -> None:
    with np.load(saved) as arrays:
        changed = {key: arrays[key] for key in arrays.files}
    for other in (changed[name][:-1], np.zeros(0, changed[name].dtype), np.array([{}], object)):
        np.savez(saved, allow_pickle=True, **changed | {name: other})
        assert tokens(saved.parent) == tokens(None)


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert tokens(tmp_path / "file" / "below") == tokens(None)


def test_the_folder_is_the_users_to_choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ULMFIT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("ULMFIT_CACHE", "off")
    assert cache_folder() is None
    monkeypatch.delenv("ULMFIT_CACHE")
    folder = cache_folder()
    assert folder is not None and "ulmfit" in folder.parts
