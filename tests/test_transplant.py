"""Transplanted weights against fastai's `match_embeds`, and the report against sets."""

from __future__ import annotations

import pytest
import torch
from fastai.text.learner import match_embeds
from hypothesis import given
from hypothesis import strategies as st

from ulmfit.errors import UserError
from ulmfit.models.transplant import compare, transplant
from ulmfit.text.rules import CONTROL_TOKENS
from ulmfit.text.vocab import FAKE, Vocab

WORDS = st.lists(st.sampled_from([f"w{i}" for i in range(12)]), unique=True)


def vocab(words: list[str], n_fake: int = 0) -> Vocab:
    return Vocab([*CONTROL_TOKENS, *words, *[FAKE] * n_fake])


def weights(n: int, *, has_bias: bool = True) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(n)
    made = {
        "encoder.embedding.weight": torch.randn(n, 4, generator=rng),
        "encoder.rnns.0.weight_hh": torch.randn(16, 4, generator=rng),
    }
    return made | ({"decoder.bias": torch.randn(n, generator=rng)} if has_bias else {})


@given(WORDS, WORDS, st.booleans())
def test_the_same_rows_as_fastai(old, new, has_bias):
    source, target = vocab(old), vocab(new)
    ours = weights(len(source), has_bias=has_bias)
    theirs = {"0.encoder.weight": ours["encoder.embedding.weight"].clone()}
    if has_bias:
        theirs["1.decoder.bias"] = ours["decoder.bias"].clone()
    theirs = match_embeds(theirs, list(source), list(target))
    moved = transplant(ours, source, target).weights
    torch.testing.assert_close(moved["encoder.embedding.weight"], theirs["0.encoder.weight"])
    if has_bias:
        torch.testing.assert_close(moved["decoder.bias"], theirs["1.decoder.bias"])
    assert moved["encoder.rnns.0.weight_hh"] is ours["encoder.rnns.0.weight_hh"]
    assert set(moved) == set(ours)


@given(WORDS, WORDS)
def test_the_report_counts_like_sets(old, new):
    report = compare(vocab(old, n_fake=3), vocab(new, n_fake=5))
    assert report.kept.count == len(set(old) & set(new)) + 9
    assert report.new.count == len(set(new) - set(old))
    assert report.dropped.count == len(set(old) - set(new))
    assert set(report.new.examples) <= set(new) - set(old)


def test_fake_tokens_bring_and_take_nothing():
    source, target = vocab(["a"], n_fake=2), vocab(["b"], n_fake=1)
    ours = weights(len(source))
    moved = transplant(ours, source, target).weights["encoder.embedding.weight"]
    mean = ours["encoder.embedding.weight"].mean(0)
    torch.testing.assert_close(moved[-1], mean)
    torch.testing.assert_close(moved[-2], mean)


def test_an_untied_decoder_moves_too():
    source, target = vocab(["a", "b"]), vocab(["b", "a"])
    ours = weights(11) | {"decoder.weight": torch.randn(11, 4)}
    moved = transplant(ours, source, target).weights["decoder.weight"]
    torch.testing.assert_close(moved[[9, 10]], ours["decoder.weight"][[10, 9]])


def test_the_weights_given_stay_as_they_were():
    source = vocab(["a", "b"])
    ours = weights(11)
    before = {name: tensor.clone() for name, tensor in ours.items()}
    transplant(ours, source, vocab(["c"])).weights["encoder.embedding.weight"].zero_()
    assert all(torch.equal(ours[name], before[name]) for name in ours)


def test_another_vocabulary_than_that_of_the_weights():
    with pytest.raises(UserError, match=r"rows for 11 tokens and the vocabulary has 10"):
        transplant(weights(11), vocab(["a"]), vocab(["b"]))


def test_the_report_in_words_and_html():
    report = compare(vocab(["a", "<b>"]), vocab(["a", "c"]))
    assert str(report) == (
        "10 tokens keep their weights (90.9% of the new vocabulary), 1 (c) are new and get the mean weights, "
        "1 (<b>) are dropped"
    )
    assert "&lt;b&gt;" in report._repr_html_() and "<b>" not in report._repr_html_()
