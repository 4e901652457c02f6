"""The classifier against stock fastai's answer for a text alone, and against itself in any company."""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from fastai.text.models.awdlstm import awd_lstm_clas_split
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_classifier import pairs, stock_alone, stock_classifier
from torch import Tensor

from ulmfit.errors import UserError
from ulmfit.models.arch import ArchConfig
from ulmfit.models.backbones import BACKBONES
from ulmfit.models.classifier import Classifier, chunk_edges
from ulmfit.models.classifier_arch import CLASSIFIER_DROPOUTS, ClassifierArch, PoolingConfig
from ulmfit.models.language_model import LanguageModel
from ulmfit.models.regularisation import activation_reg, temporal_reg

pytestmark = pytest.mark.usefixtures("calm")

N_VOCAB, PAD_ID = 60, 1
BPTT, MAX_LEN = 8, 20
CLOSE = 1e-5
# Around the borders of chunks and of the pooled window.
LENGTHS = [1, 2, 7, 8, 9, 16, 17, 19, 20, 21, 24, 25, 28, 29, 40, 57]


def make_arch(backbone: str = "awd_lstm", **pooling: object) -> ClassifierArch:
    lm = ArchConfig(backbone, emb_sz=12, n_hid=16, n_layers=3 if backbone == "awd_lstm" else 4)
    return replace(
        ClassifierArch.of(lm, 3),
        pooling=PoolingConfig(**({"bptt": BPTT, "max_len": MAX_LEN} | pooling)),
    )


def no_dropout(arch: ClassifierArch) -> ClassifierArch:
    return replace(arch, encoder=replace(arch.encoder, drop_mult=0.0), head_p=0.0)


def make_model(arch: ClassifierArch, *, precision: str = "fp32") -> Classifier:
    """Make weights that let every token matter, and statistics as after training."""
    generator = torch.Generator().manual_seed(0)
    model = Classifier(arch, N_VOCAB, precision=precision)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.6, 0.6, generator=generator)
        model.encoder.embedding.weight.mul_(4)
        for block in model.head.blocks:
            block.norm.running_mean.uniform_(-0.5, 0.5, generator=generator)
            block.norm.running_var.uniform_(0.5, 2, generator=generator)
    return model.eval()


@cache
def shared_model(backbone: str) -> Classifier:
    return make_model(make_arch(backbone))


def make_document(length: int, seed: int = 0) -> list[int]:
    return np.random.default_rng([length, seed]).integers(9, N_VOCAB, length).tolist()


def padded(documents: list[list[int]], *, extra: int = 0, pad: int = PAD_ID) -> Tensor:
    width = max(map(len, documents)) + extra
    return torch.tensor([document + [pad] * (width - len(document)) for document in documents])


def classify(model: Classifier, documents: list[list[int]], **padding: int) -> Tensor:
    with torch.no_grad():
        return model(padded(documents, **padding), torch.tensor([*map(len, documents)])).logits


def require_stocks_answers(documents: list[list[int]], arch: ClassifierArch | None = None) -> None:
    """Compare each answer in the batch with fastai's for the document alone."""
    model = make_model(arch or make_arch())
    stock = stock_classifier(model)
    answers = classify(model, documents)
    assert answers.std(0).min() > 1e-3  # the documents can be told apart
    for document, answer in zip(documents, answers):
        assert (answer - stock_alone(stock, document)).abs().max() <= CLOSE, len(document)


# --- what fastai says of a text alone


@pytest.mark.parametrize("max_len", [MAX_LEN, 16, 8, None])
def test_a_text_alone_has_stock_fastais_answer(max_len: int | None) -> None:
    model = make_model(make_arch(max_len=max_len))
    stock = stock_classifier(model)
    for length in LENGTHS:
        document = make_document(length)
        answer = classify(model, [document])[0]
        assert (answer - stock_alone(stock, document)).abs().max() <= CLOSE, length


def test_published_lengths_have_stock_fastais_answer() -> None:
    documents = [make_document(n) for n in (71, 72, 73, 1440, 1441, 1512, 1600, 30)]
    require_stocks_answers(documents, replace(make_arch(), pooling=PoolingConfig()))


# --- the traps of stock fastai, each by its name


def test_no_row_loses_its_last_chunk() -> None:
    """fastai keeps the first rows of a chunk, although the rows that are over stand among them."""
    require_stocks_answers([make_document(n, 1) for n in (57, 9, 33, 3, 50, 41)])


def test_the_last_state_of_a_short_text_is_its_own() -> None:
    """fastai counts padding from the batch's end, and misses what stands in front."""
    require_stocks_answers([make_document(n, 2) for n in (5, 100)])


def test_the_window_does_not_shrink_beside_a_longer_text() -> None:
    """fastai measures the pooled window from the end of the longest text."""
    require_stocks_answers([make_document(n, 3) for n in (MAX_LEN, MAX_LEN + 1)])


def test_rows_may_come_in_any_order() -> None:
    """fastai takes for granted that the longest text comes first."""
    lengths = [3, 40, 8, 57, 16, 1]
    for order in (lengths, sorted(lengths), sorted(lengths)[::-1]):
        require_stocks_answers([make_document(n, 4) for n in order])


def test_a_padding_id_in_a_text_is_a_token() -> None:
    """fastai takes a row for absent when its chunk begins with the id of padding."""
    documents = [make_document(MAX_LEN, seed) for seed in range(4)]
    documents[1][BPTT] = documents[2][-1] = documents[3][0] = PAD_ID
    model = make_model(make_arch())
    together = classify(model, documents)
    for document, answer in zip(documents, together):
        assert (answer - classify(model, [document])[0]).abs().max() <= CLOSE
        changed = [9 if token == PAD_ID else token for token in document]
        if changed != document:  # it is read, not skipped
            assert (answer - classify(model, [changed])[0]).abs().max() > 1e-3


def test_what_stands_behind_a_text_is_not_read() -> None:
    model = make_model(make_arch())
    documents = [make_document(n) for n in (11, 30, 1)]
    expected = classify(model, documents)
    for pad in (0, 7, -100, N_VOCAB + 5):
        assert torch.equal(classify(model, documents, extra=9, pad=pad), expected)


# --- what a document costs


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=12))
def test_a_document_costs_its_own_chunks_whoever_stands_beside_it(lengths: list[int]) -> None:
    model = shared_model("awd_lstm")
    read: list[tuple[int, int]] = []
    hook = model.encoder.register_forward_pre_hook(lambda _, given: read.append(given[0].shape))
    classify(model, [make_document(n) for n in lengths])
    hook.remove()
    whole_chunks = sum(-(-n // BPTT) * BPTT for n in lengths)
    assert sum(lengths) <= sum(rows * steps for rows, steps in read) <= whole_chunks
    assert max(rows * steps for rows, steps in read) <= len(lengths) * BPTT  # at any one time
    before = [model.arch.pooling.first_token(n) for n in lengths]
    pooled = max(n - first for n, first in zip(lengths, before))
    assert len(read) == max(before) // BPTT + -(-pooled // BPTT)


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 90), min_size=2, max_size=12))
def test_a_gradient_costs_the_pooled_tokens_of_each_document(lengths: list[int]) -> None:
    model = make_model(make_arch()).train()
    read: list[tuple[int, bool]] = []

    def note(_: torch.nn.Module, given: tuple[Tensor, ...]) -> None:
        read.append((given[0].numel(), torch.is_grad_enabled()))

    model.encoder.register_forward_pre_hook(note)
    model(padded([make_document(n) for n in lengths]), torch.tensor(lengths))
    before = [model.arch.pooling.first_token(n) for n in lengths]
    assert sum(n for n, has_gradient in read if not has_gradient) == sum(before)
    pooled = sum(-(-(n - first) // BPTT) * BPTT for n, first in zip(lengths, before))
    assert sum(n for n, has_gradient in read if has_gradient) <= pooled


# --- batch invariance


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=9),
    seed=st.integers(0, 99),
    extra=st.integers(0, 20),
    backbone=st.sampled_from(sorted(BACKBONES)),
)
def test_company_order_and_padding_change_nothing(
    lengths: list[int], seed: int, extra: int, backbone: str
) -> None:
    model = shared_model(backbone)
    documents = [make_document(n, seed + i) for i, n in enumerate(lengths)]
    together = classify(model, documents, extra=extra)
    order = np.random.default_rng(seed).permutation(len(documents)).tolist()
    shuffled = classify(model, [documents[i] for i in order])
    for row, document in enumerate(documents):
        alone = classify(model, [document])[0]
        assert (together[row] - alone).abs().max() <= CLOSE
        assert (shuffled[order.index(row)] - alone).abs().max() <= CLOSE


@pytest.mark.parametrize("backbone", BACKBONES)
def test_threads_do_not_meet(backbone: str) -> None:
    model = shared_model(backbone)
    documents = [make_document(n) for n in LENGTHS]
    alone = torch.stack([classify(model, [document])[0] for document in documents])
    rng = np.random.default_rng(0)
    jobs = [rng.permutation(len(documents))[: rng.integers(1, 12)].tolist() for _ in range(40)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda job: classify(model, [documents[i] for i in job]), jobs))
    for job, answers in zip(jobs, found):
        assert (answers - alone[job]).abs().max() <= CLOSE


def test_bf16_only_rounds() -> None:
    model = make_model(make_arch(), precision="bf16")
    documents = [make_document(n) for n in LENGTHS]
    together = classify(model, documents).softmax(1)
    exact = classify(make_model(make_arch()), documents).softmax(1)
    for document, probabilities in zip(documents, together):
        alone = classify(model, [document])[0].softmax(0)
        assert (probabilities - alone).abs().max() <= 5e-3
    assert 0 < (together - exact).abs().max() <= 0.02


@pytest.mark.parametrize("backbone", BACKBONES)
def test_an_empty_document_has_an_answer(backbone: str) -> None:
    model = shared_model(backbone)
    with torch.no_grad():
        beside = model(padded([[], make_document(30)], pad=5), torch.tensor([0, 30])).logits[0]
        nothing = model(torch.zeros(1, 0, dtype=torch.long), torch.tensor([0])).logits[0]
        none_at_all = model(torch.zeros(0, 4, dtype=torch.long), torch.zeros(0).long()).logits
    assert bool(torch.isfinite(beside).all()) and none_at_all.shape == (0, 3)
    for other in (nothing, classify(model, [[PAD_ID]])[0]):
        assert (beside - other).abs().max() <= CLOSE


def test_a_length_beyond_the_ids_is_refused() -> None:
    with pytest.raises(ValueError, match="length of 5"):
        shared_model("awd_lstm")(torch.zeros(1, 4, dtype=torch.long), torch.tensor([5]))


def test_memory_does_not_grow_with_a_document() -> None:
    model, alive, most = make_model(make_arch(max_len=None)), [], []

    def watch(_model: object, _inputs: object, encoded: object) -> None:
        alive.append(weakref.ref(encoded.raw))
        most.append(sum(ref() is not None for ref in alive))

    model.encoder.register_forward_hook(watch)
    output = None
    with torch.no_grad():
        document = make_document(4000)
        output = model(torch.tensor([document]), torch.tensor([4000]))
    assert len(alive) == 500 and max(most) <= 2 and not output.chunks


# --- training: gradients, masks, what regularisation sees


@pytest.mark.parametrize("length", [5, 8, 30, 57])
def test_gradients_are_stock_fastais(length: int) -> None:
    model = make_model(make_arch())
    stock = stock_classifier(model)
    ids, label = torch.tensor([make_document(length)]), torch.tensor([1])
    for net, inputs in ((model, (ids, torch.tensor([length]))), (stock, (ids,))):
        output = net(*inputs)
        logits = output.logits if net is model else output[0]
        torch.nn.functional.cross_entropy(logits, label).backward()
    matched = [(theirs, ours) for theirs, ours in pairs(stock, model) if ours.requires_grad]
    assert len(matched) == 1 + 4 * 3 + 3 * 2
    for theirs, ours in matched:
        assert theirs.grad.abs().max() > 0
        assert (theirs.grad - ours.grad).abs().max() <= CLOSE


def embedding_gradient(arch: ClassifierArch, documents: list[list[int]]) -> Tensor:
    """Give the gradient's size for each id of the vocabulary."""
    model = make_model(arch)
    model(padded(documents), torch.tensor([*map(len, documents)])).logits.square().sum().backward()
    return model.encoder.embedding.weight.grad.abs().sum(1)


@pytest.mark.parametrize("detached", [True, False])
def test_gradients_reach_only_what_was_pooled(detached: bool) -> None:
    """Each chunk has a token of its own; the window of the longer document begins with the third."""
    document = [10 + position // BPTT for position in range(36)]  # 5 chunks, 20 tokens pooled
    other = [[*range(30, 36)], [40 + position // BPTT for position in range(20)]]
    gradient = embedding_gradient(make_arch(detach_chunks=detached), [document, *other])
    assert torch.equal(gradient[10:12], torch.zeros(2))
    assert gradient[12:15].min() > 0 and gradient[30:36].min() > 0 and gradient[40:43].min() > 0


def test_gradients_cross_chunks_if_asked() -> None:
    """Undetached, chunks change nothing: the gradient is that of the document in one piece."""
    documents = [make_document(n) for n in (30, 57, 8)]
    whole = embedding_gradient(make_arch(bptt=64, max_len=None), documents)
    for detached in (False, True):
        arch = make_arch(max_len=None, detach_chunks=detached)
        difference = (embedding_gradient(arch, documents) - whole).abs().max()
        assert (difference <= CLOSE * whole.max()) == (not detached)


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_one_weight_mask_for_a_batch_or_for_each_chunk(backbone: str, is_shared: bool) -> None:
    """With one mask, cutting into chunks changes nothing."""
    only_weights = dict.fromkeys(CLASSIFIER_DROPOUTS, 0.0) | {"weight_p": 0.5}

    def logits(bptt: int) -> Tensor:
        arch = make_arch(backbone, bptt=bptt, max_len=None, shared_mask=is_shared)
        arch = replace(arch, encoder=replace(arch.encoder, **only_weights), head_p=0.0)
        model = make_model(arch).train()
        torch.manual_seed(1)
        documents = [make_document(n) for n in (30, 64, 8)]
        return model(padded(documents), torch.tensor([30, 64, 8])).logits

    assert torch.allclose(logits(8), logits(64), atol=CLOSE) == is_shared
    torch.manual_seed(0)


def test_regularisation_sees_the_pooled_states_and_nothing_else() -> None:
    """Against the encoder run over each document in one piece."""
    lengths = [57, 3, 21, 40, 20, 8]
    documents = [make_document(n) for n in lengths]
    model = make_model(no_dropout(make_arch())).train()
    output = model(padded(documents, extra=4), torch.tensor(lengths))
    firsts = [-(-max(0, n - MAX_LEN) // BPTT) * BPTT for n in lengths]
    assert output.lengths.tolist() == [n - first for n, first in zip(lengths, firsts)]
    squares, changes = [], []
    for row, (document, first) in enumerate(zip(documents, firsts)):
        hidden = model.encoder(torch.tensor([document])).raw[0, first:]
        assert (output.raw[row, : len(hidden)] - hidden).abs().max() <= CLOSE
        squares.append(hidden.square().flatten())
        changes.append((hidden[1:] - hidden[:-1]).square().flatten())
    ar = activation_reg(output.dropped, lengths=output.lengths)
    tar = temporal_reg(output.raw, lengths=output.lengths)
    assert ar.item() == pytest.approx(torch.cat(squares).mean().item(), rel=1e-4)
    assert tar.item() == pytest.approx(torch.cat(changes).mean().item(), rel=1e-4)
    with torch.no_grad():
        still = model.eval()(padded(documents), torch.tensor(lengths))
    assert float(activation_reg(still.dropped, lengths=still.lengths)) == 0.0


def test_training_on_one_document_is_refused_and_seeds_repeat() -> None:
    model = make_model(make_arch()).train()
    with pytest.raises(UserError, match="--bs to 2"):
        model(torch.tensor([make_document(9)]), torch.tensor([9]))
    documents = [make_document(n) for n in (30, 9)]
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(model(padded(documents), torch.tensor([30, 9])).logits)
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


# --- groups, sizes, the encoder of a language model


def test_layer_groups_are_fastais() -> None:
    model = make_model(make_arch())
    stock = stock_classifier(model)
    ours_of = {id(theirs): id(ours) for theirs, ours in pairs(stock, model)}
    theirs_of = {id(p): p for p in stock.parameters()}
    names = dict(stock.named_parameters())
    for name, parameter in stock[1].named_parameters():  # linear and norm, matched by position
        assert names[f"1.{name}"] is theirs_of[id(parameter)]
    groups = model.layer_groups()
    expected = awd_lstm_clas_split(stock)
    assert len(groups) == len(expected) == 5
    for group, stock_group in zip(groups[:-1], expected[:-1]):
        assert {id(p) for p in group} == {ours_of[id(p)] for p in stock_group}
    assert sum(p.numel() for p in groups[-1]) == sum(p.numel() for p in expected[-1])
    assert sum(map(len, groups)) == len(list(model.parameters()))
    assert len(shared_model("qrnn").layer_groups()) == 6


def test_the_head_is_fastais_by_default() -> None:
    arch = ClassifierArch.of(ArchConfig(), 2, drop_mult=0.5)
    assert arch.widths() == (1200, 50, 2) and arch.dropouts() == (0.2, 0.1)
    encoder = arch.encoder
    assert (encoder.n_hid, encoder.dropout("weight_p"), encoder.dropout("input_p")) == (1152, 0.25, 0.2)  # fmt: skip
    deeper = Classifier(replace(make_arch(), hidden_sizes=(7, 5), head_bias=True), N_VOCAB)
    shapes = [tuple(block.linear.weight.shape) for block in deeper.head.blocks]
    assert shapes == [(7, 36), (5, 7), (3, 5)] and deeper.head.blocks[2].linear.bias is not None


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_encoder_comes_from_a_language_model(backbone: str) -> None:
    arch = make_arch(backbone)
    lm = LanguageModel(arch.encoder, N_VOCAB, precision="fp32").eval()
    model = make_model(arch)
    model.load_encoder(lm.state_dict())
    ids = torch.tensor([make_document(30)])
    with torch.no_grad():
        assert torch.equal(model.encoder(ids).raw, lm(ids).raw)


def test_architectures_travel_as_json_and_refuse_nonsense() -> None:
    arch = replace(make_arch("qrnn", max_len=None, shared_mask=True), hidden_sizes=(7, 5))
    assert ClassifierArch.from_json(arch.to_json()) == arch
    with pytest.raises(UserError, match="--max-len is 7"):
        PoolingConfig(bptt=8, max_len=7)
    with pytest.raises(UserError, match="--bptt is 0"):
        PoolingConfig(bptt=0)
    with pytest.raises(UserError, match="--n-outputs is 0"):
        ClassifierArch(0)
    with pytest.raises(UserError, match="--head-p is 1"):
        ClassifierArch(2, head_p=1.0)


@given(st.lists(st.integers(1, 400), max_size=20), st.integers(1, 80), st.integers(1, 80))
def test_chunks_end_where_documents_do(sizes: list[int], bptt: int, shortest: int) -> None:
    edges = chunk_edges(sizes, bptt=bptt, shortest=shortest)
    longest = max(sizes, default=0)
    grid = [*range(0, longest, bptt), longest]
    assert edges == sorted(set(edges)) and set(grid) <= set(edges)
    widths = [stop - start for start, stop in pairwise(edges)]
    assert max(widths, default=0) <= bptt
    for place, edge in enumerate(edges):
        if edge not in grid:
            assert min(edge - edges[place - 1], edges[place + 1] - edge) >= shortest
    for size in sizes:  # what a document reads on in vain
        assert next(edge for edge in edges if edge >= size) - size < 2 * shortest
    if shortest >= bptt:
        assert edges == sorted(set(grid))
