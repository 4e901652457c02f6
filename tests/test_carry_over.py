"""A language model in the vocabulary of a corpus: its rows are where they were, and nothing else has changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_lm import write_tiny_lm

import ulmfit
from ulmfit.errors import UserError
from ulmfit.inference.language_model import LanguageModel
from ulmfit.inference.pair import LanguageModelPair
from ulmfit.models.pair import save_language_model_pair
from ulmfit.stages.carry_over import carry_over
from ulmfit.text.corpus import Corpus

EMBEDDING = "encoder.embedding.weight"


CONFIG = ulmfit.TextConfig(min_freq=1)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """What the language model knows."""
    texts = [f"the {n} film is {mood} indeed" for n in range(30) for mood in ("fine", "dull")]
    return ulmfit.prepare(texts, tmp_path_factory.mktemp("large") / "corpus", config=CONFIG)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Words that it knows, and others."""
    texts = ["the film is xylophonic", "the book is fine"]
    return ulmfit.prepare(texts, tmp_path_factory.mktemp("small") / "corpus", config=CONFIG)


def require_carried(found: LanguageModel, lm: LanguageModel, corpus: Corpus) -> None:
    assert found.vocab == corpus.vocab
    ours, theirs = found.parts.weights, lm.parts.weights
    rows = {token: place for place, token in enumerate(lm.vocab)}
    n_known = 0
    for place, token in enumerate(corpus.vocab):
        known = rows.get(token)
        row = theirs[EMBEDDING].mean(0) if known is None else theirs[EMBEDDING][known]
        torch.testing.assert_close(ours[EMBEDDING][place], row)
        n_known += known is not None
    assert 9 < n_known < len(corpus.vocab)
    for name, tensor in theirs.items():
        if tensor.shape == ours[name].shape:
            assert torch.equal(ours[name], tensor), name


def test_one_direction(large: Corpus, small: Corpus, tmp_path: Path) -> None:
    write_tiny_lm(tmp_path / "lm", large, direction="backward")
    lm = LanguageModel.load(tmp_path / "lm")
    found = carry_over(lm, small, tmp_path / "out")
    assert isinstance(found, LanguageModel) and found.direction == "backward"
    require_carried(found, lm, small)
    made = found.manifest.provenance
    assert made.parent == lm.parts.fingerprint and "transplant" in made.notes[0]
    before = (tmp_path / "out" / "manifest.json").stat().st_mtime_ns
    carry_over(tmp_path / "lm", small.folder, tmp_path / "out")
    assert (tmp_path / "out" / "manifest.json").stat().st_mtime_ns == before


def test_both_directions_or_one_of_them(large: Corpus, small: Corpus, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("forward", "backward")}
    for name, folder in folders.items():
        write_tiny_lm(folder, large, direction=name)
    save_language_model_pair(
        tmp_path / "pair", forward=folders["forward"], backward=folders["backward"], settings={}
    )
    pair = LanguageModelPair.load(tmp_path / "pair")
    found = carry_over(pair, small, tmp_path / "out")
    assert isinstance(found, LanguageModelPair)
    for one, other in zip(found, pair, strict=True):
        require_carried(one, other, small)
    half = carry_over(pair, small, tmp_path / "half", direction="backward")
    assert isinstance(half, LanguageModel) and half.direction == "backward"


def test_tokens_of_another_kind_are_refused(large: Corpus, tmp_path: Path) -> None:
    """Words and characters share some strings by chance, and would carry their weights over."""
    lm = LanguageModel(write_tiny_lm(tmp_path / "lm", large))
    characters = ulmfit.prepare(
        ["a film"] * 9, tmp_path / "corpus", config=replace(CONFIG, tokenizer="char")
    )
    said = "read with the tokenizer 'char', and the language model .* reads with 'word': .* --lm"
    with pytest.raises(UserError, match=said):
        carry_over(lm, characters, tmp_path / "out")
    with pytest.raises(UserError, match=said):
        ulmfit.finetune_lm(lm, characters, tmp_path / "out")
    assert not (tmp_path / "out").exists()
