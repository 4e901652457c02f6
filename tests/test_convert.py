"""Files of fastai v0.7, v1, v2, MultiFiT and fastai_ulmfit, both ways, against stock fastai's own logits."""

from __future__ import annotations

import io
import json
import os
import pickle
from collections import OrderedDict

import pytest
import torch
from fastai.text.models.awdlstm import AWD_LSTM
from fastai.text.models.core import get_text_classifier
from stock_files import (
    TOKENS,
    V07_TOKENS,
    V1_TOKENS,
    WORDS,
    stock_learner,
    stock_logits,
    stock_model,
    v07_weights,
    v1_weights,
    write_vocab,
)

from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.models.arch import ArchConfig
from ulmfit.models.convert import (
    convert,
    convert_classifier,
    export_fastai,
    find_files,
    guess_direction,
)
from ulmfit.models.foreign import order_tokens, read_foreign
from ulmfit.models.language_model import LanguageModel
from ulmfit.models.transplant import transplant
from ulmfit.models.weights import infer_arch, require_fit
from ulmfit.text.rules import CONTROL_TOKENS

PLAIN = TextConfig(tokenizer="char")  # its tokenizer needs neither a model nor a second to build


def same_logits(model, tokens, stock, foreign_tokens, *, same: dict[str, str] | None = None):
    """Feed both models the same words, each by its own ids, and compare the scores of the same words."""
    same = same or {}
    shared = [t for t in tokens if same.get(t, t) in foreign_tokens and t != "xxfake"]
    ours = torch.tensor([list(tokens).index(t) for t in shared])
    theirs = torch.tensor([list(foreign_tokens).index(same.get(t, t)) for t in shared])
    order = torch.randperm(len(shared), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        got = model(ours[order][None]).logits()[0][:, ours]
    expected = stock_logits(stock, theirs[order][None])[0][:, theirs]
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    assert len(shared) > len(WORDS) and expected.std() > 0.1


def module(found) -> LanguageModel:
    model = LanguageModel(found.arch, len(found.vocab), precision="fp32")
    model.load_state_dict(found.weights)
    return model.eval()


@pytest.mark.parametrize("with_opt", [False, True])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_what_a_learner_saves(tmp_path, with_opt, tied):
    stock = stock_model(len(TOKENS), n_layers=2, tied=tied)
    learn = stock_learner(tmp_path, stock, TOKENS)
    if with_opt:
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(1, slice(1e-3, 1e-2))  # rates become numpy numbers
    path = learn.save("lm", with_opt=with_opt)
    found = read_foreign(path, write_vocab(tmp_path / "vocab.pkl", TOKENS))
    assert (found.arch.emb_sz, found.arch.n_hid, found.arch.n_layers) == (16, 24, 2)
    assert found.arch.tie_weights == tied and list(found.vocab) == TOKENS and not found.notes
    same_logits(module(found), found.vocab, stock.cpu(), TOKENS)


def test_an_encoder_alone(tmp_path):
    stock = stock_model(len(TOKENS))
    torch.nn.init.zeros_(stock[1].decoder.bias)
    learn = stock_learner(tmp_path, stock, TOKENS)
    learn.save_encoder("enc")
    found = read_foreign(tmp_path / "models" / "enc.pth", write_vocab(tmp_path / "v.pkl", TOKENS))
    assert any("encoder alone" in note for note in found.notes)
    same_logits(module(found), found.vocab, stock, TOKENS)


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_fastai_v1(tmp_path, is_wrapped):
    stock = stock_model(len(V1_TOKENS))
    weights = v1_weights(stock)
    path = tmp_path / "lstm_fwd.pth"
    torch.save({"model": weights, "opt": {}} if is_wrapped else weights, path,
               _use_new_zipfile_serialization=False)  # fmt: skip
    found = read_foreign(path, write_vocab(tmp_path / "itos.pkl", V1_TOKENS))
    assert found.vocab[:9] == CONTROL_TOKENS and sorted(found.vocab) == sorted(V1_TOKENS)
    same_logits(module(found), found.vocab, stock, V1_TOKENS)


def test_fastai_v07(tmp_path):
    stock = stock_model(len(V07_TOKENS), bias=False)
    path = tmp_path / "fwd_wt103.h5"
    torch.save(OrderedDict(v07_weights(stock)), path, _use_new_zipfile_serialization=False)
    found = read_foreign(path, write_vocab(tmp_path / "itos_wt103.pkl", V07_TOKENS))
    assert not found.arch.out_bias
    old = {"xxunk": "_unk_", "xxpad": "_pad_", "xxbos": "xbos", "xxup": "t_up", "xxfld": "xfld",
           "xxrep": "tk_rep", "xxwrep": "tk_wrep"}  # fmt: skip
    same_logits(module(found), found.vocab, stock, V07_TOKENS, same=old)
    mean = stock[0].encoder.weight.detach().mean(0)
    maj = found.weights["encoder.embedding.weight"][found.vocab.id("xxmaj")]
    torch.testing.assert_close(maj, mean)
    assert "xxeos xxmaj" in " ".join(found.notes) and "_unk_ is xxunk" in " ".join(found.notes)


def test_control_tokens_of_a_sentencepiece_vocabulary():
    """Text brings the marked piece; the plain token, seen by nobody, gives way. xxunk and xxpad are plain."""
    tokens = [*CONTROL_TOKENS, "▁xxbos", "▁xxunk", "▁the", "s"]
    found = order_tokens(tokens)
    assert found.tokens == (*CONTROL_TOKENS, "▁xxunk", "▁the", "s")
    assert found.rows[:3] == (0, 1, 9) and "xxbos" in " ".join(found.notes)


def test_a_modern_vocabulary_keeps_the_word_xbos():
    assert order_tokens([*CONTROL_TOKENS, "xbos"]).tokens == (*CONTROL_TOKENS, "xbos")


def test_a_token_that_stands_twice():
    found = order_tokens([*CONTROL_TOKENS, "a", "b", "a"])
    assert found.tokens == (*CONTROL_TOKENS, "a", "b") and "twice: a" in found.notes[0]


@pytest.mark.parametrize("prefix", ["layers.0.linear", "linear"])
def test_multifit_folder(tmp_path, prefix):
    weights, tokens = qrnn_weights(prefix), ["▁" + t for t in V1_TOKENS]
    folder = tmp_path / "de-2" / "multifit.m"
    write_vocab(folder / "itos.pkl", tokens)
    torch.save({"model": weights}, folder / "lm_best.pth")
    torch.save({}, folder / "enc_best.pth")
    lm = convert(folder, tmp_path / "out", config=PLAIN)
    assert lm.arch.backbone == "qrnn" and (lm.arch.n_hid, lm.arch.n_layers) == (24, 3)
    ids = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(1))
    own = [t.removeprefix("▁") if t[1:] in CONTROL_TOKENS else t for t in tokens]
    ours = torch.tensor([lm.vocab.id(own[i]) for i in ids])
    with torch.no_grad():
        got = lm.model(precision="fp32")(ours[None]).logits()[0][:, ours]
    torch.testing.assert_close(got, qrnn_logits(weights, prefix, ids)[:, ids], atol=1e-5, rtol=0)


def qrnn_weights(prefix: str) -> dict[str, torch.Tensor]:
    """Name tensors as fastai v1's QRNN language model."""
    rng, n = torch.Generator().manual_seed(3), len(V1_TOKENS)
    sizes = [(32, 24), (24, 24), (24, 16)]  # the first layer looks at two tokens
    weights = {"0.encoder.weight": torch.randn(n, 16, generator=rng) / 2}
    weights["0.encoder_dp.emb.weight"] = weights["0.encoder.weight"]
    for i, (n_in, n_out) in enumerate(sizes):
        raw = torch.randn(3 * n_out, n_in, generator=rng) / 3
        weights[f"0.rnns.{i}.{prefix}.weight_raw"] = raw
        weights[f"0.rnns.{i}.{prefix}.module.weight"] = raw * 0.3
        weights[f"0.rnns.{i}.{prefix}.module.bias"] = torch.randn(3 * n_out, generator=rng) / 3
    weights["1.decoder.weight"] = weights["0.encoder.weight"]
    return weights | {"1.decoder.bias": torch.randn(n, generator=rng)}


def qrnn_logits(weights, prefix, ids):
    """Bradbury et al. 2017, equations 3 to 5, one token at a time."""
    x = list(weights["0.encoder.weight"][ids])
    for i in range(3):
        weight = weights[f"0.rnns.{i}.{prefix}.weight_raw"]
        bias = weights[f"0.rnns.{i}.{prefix}.module.bias"]
        cell, before, out = torch.zeros(len(bias) // 3), torch.zeros(len(x[0])), []
        for token in x:
            seen = torch.cat([token, before]) if i == 0 else token
            z, f, o = (weight @ seen + bias).chunk(3)
            cell = f.sigmoid() * z.tanh() + (1 - f.sigmoid()) * cell
            out.append(o.sigmoid() * cell)
            before = token
        x = out
    return torch.stack(x) @ weights["1.decoder.weight"].T + weights["1.decoder.bias"]


def test_weights_have_one_direction(tmp_path):
    with pytest.raises(UserError, match="direction is 'both'; allowed: forward, backward"):
        convert(tmp_path, tmp_path / "out", direction="both")


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_floleuerer_folder(tmp_path, direction):
    names = {"forward": "fwd", "backward": "bwd"}
    for name, shift in (("fwd", 0.0), ("bwd", 0.1)):
        stock = stock_model(len(TOKENS))
        with torch.no_grad():
            stock[0].encoder.weight.add_(shift)
        write_vocab(tmp_path / name / "lm_vocab.pkl", TOKENS)
        torch.save(stock.state_dict(), tmp_path / name / "lm_model.pth")
        torch.save(stock[0].state_dict(), tmp_path / name / "lm_encoder.pth")
    lm = convert(tmp_path, tmp_path / "out", direction=direction, config=PLAIN)
    assert lm.manifest.provenance.direction == direction
    stock = stock_model(len(TOKENS))
    stock.load_state_dict(
        torch.load(tmp_path / names[direction] / "lm_model.pth", weights_only=True)
    )
    same_logits(lm.model(precision="fp32"), lm.vocab, stock, TOKENS)
    alone = convert(tmp_path / "bwd", tmp_path / "alone", config=PLAIN)
    assert alone.manifest.provenance.direction == "backward"


def test_a_shared_sentencepiece_model_is_found(tmp_path):
    write_vocab(tmp_path / "fwd" / "lm_vocab.pkl", TOKENS)
    (tmp_path / "fwd" / "lm_model.pth").touch()
    (tmp_path / "spm").mkdir()
    (tmp_path / "spm" / "spm.model").touch()
    assert find_files(tmp_path).subword_model == tmp_path / "spm" / "spm.model"
    assert guess_direction(tmp_path / "wt103-bwd") == "backward"


@pytest.mark.parametrize("has_its_pieces", [True, False])
def test_a_sentencepiece_model_becomes_the_tokenizer_of_its_pieces(tmp_path, has_its_pieces):
    from ulmfit.text.pieces import SubwordSplitter, train_subwords

    texts = [f"the {a} film is a {b} thing" for a in "abcdefgh" for b in "stuvwxyz"]
    folder = tmp_path / "multifit.m"
    folder.mkdir()
    model = train_subwords(texts, folder / "spm.model", n_pieces=40, kind="unigram")
    n_controls = len(CONTROL_TOKENS)
    pieces = SubwordSplitter(model).vocabulary()[n_controls:]
    words = [f"word{i}" for i in range(len(V1_TOKENS))]
    tokens = [*CONTROL_TOKENS, *(pieces if has_its_pieces else words), *words][: len(V1_TOKENS)]
    write_vocab(folder / "itos.pkl", tokens)
    torch.save(qrnn_weights("linear"), folder / "lm_best.pth")
    lm = convert(folder, tmp_path / "out")
    assert lm.text.config.tokenizer == ("subword" if has_its_pieces else "word")
    if has_its_pieces:
        assert lm.text.subword_model.parent.parent == lm.folder
        assert "".join(next(lm.tokenizer().tokenize(["the film"]))[1:]) == "▁the▁film"


def test_several_candidates_are_not_guessed(tmp_path):
    for name in ("a.pth", "b.pth"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"several candidates \(a\.pth, b\.pth\)"):
        find_files(tmp_path)
    with pytest.raises(UserError, match="--vocab"):
        find_files(tmp_path / "a.pth")
    with pytest.raises(UserError, match="there is no"):
        find_files(tmp_path / "none.pth")


@pytest.fixture
def converted(tmp_path):
    """A language model of ours that came from fastai, and the stock model it came from."""
    stock = stock_model(len(TOKENS))
    torch.save(stock.state_dict(), tmp_path / "lm.pth")
    vocab = write_vocab(tmp_path / "v.pkl", TOKENS)
    return convert(tmp_path / "lm.pth", tmp_path / "lm", vocab=vocab, config=PLAIN), stock


@pytest.mark.filterwarnings("ignore")
def test_stock_fastai_loads_what_we_export(converted, tmp_path):
    lm, stock = converted
    files = export_fastai(lm, tmp_path / "models")
    ids = torch.randint(0, len(TOKENS), (3, 11))
    expected = stock_logits(stock, ids)
    learn = stock_learner(tmp_path, other_model(), TOKENS)
    learn.load("lm_model", device="cpu")
    torch.testing.assert_close(stock_logits(learn.model, ids), expected)
    learn = stock_learner(tmp_path, other_model(), TOKENS)
    learn.load_encoder("lm_encoder", device="cpu")
    for name, tensor in learn.model[0].state_dict().items():
        assert torch.equal(tensor, stock[0].state_dict()[name])
    learn = stock_learner(tmp_path, other_model(), TOKENS)
    learn.load_pretrained(files.model, files.vocab)
    # fastai finds one row for the fake token whatever their number; the others are ours
    torch.testing.assert_close(stock_logits(learn.model, ids), expected)
    again = read_foreign(files.model, files.vocab)
    assert all(torch.equal(again.weights[name], lm.weights[name]) for name in lm.weights)


def other_model():
    model = stock_model(len(TOKENS))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-2)
    return model


def test_a_qrnn_cannot_be_exported(tmp_path):
    folder = tmp_path / "m"
    write_vocab(folder / "itos.pkl", V1_TOKENS)
    torch.save(qrnn_weights("linear"), folder / "lm_best.pth")
    lm = convert(folder, tmp_path / "out", config=PLAIN)
    with pytest.raises(UserError, match="only awd_lstm"):
        export_fastai(lm, tmp_path / "export")


def test_a_vocabulary_of_another_length(tmp_path):
    torch.save(stock_model(len(TOKENS)).state_dict(), tmp_path / "lm.pth")
    vocab = write_vocab(tmp_path / "v.pkl", TOKENS[:-2])
    with pytest.raises(UserError) as caught:
        read_foreign(tmp_path / "lm.pth", vocab)
    message = str(caught.value)
    assert "expected 22x16 found 24x16" in message and "v.pkl" in message and "\n" not in message
    assert "the weights know 24 tokens and the vocabulary has 22" in message


def test_reasons_for_weights_that_do_not_fit(tmp_path):
    lstm = read(stock_model(len(TOKENS)), TOKENS, tmp_path)
    arch = infer_arch(lstm)
    cases = {
        "n_hid is 24 and 26 is asked for: set --n-hid 24": ArchConfig(emb_sz=16, n_hid=26),
        "backbone is awd_lstm and qrnn": ArchConfig(backbone="qrnn", emb_sz=16, n_hid=24),
        "n_layers is 3 and 4": ArchConfig(emb_sz=16, n_hid=24, n_layers=4),
        "emb_sz is 16 and 400": ArchConfig(n_hid=24),
        "tie_weights is True and False": ArchConfig(emb_sz=16, n_hid=24, tie_weights=False),
    }
    for reason, asked in cases.items():
        with pytest.raises(UserError) as caught:
            require_fit(lstm, asked, n_vocab=len(TOKENS), where="lm.pth")
        assert reason in str(caught.value) and str(caught.value).startswith("lm.pth: ")
    damaged = lstm | {"encoder.rnns.1.bias_hh": torch.zeros(7)}
    with pytest.raises(UserError, match=r"bias_hh expected 96 found 7; the tensors contradict"):
        require_fit(damaged, arch, n_vocab=len(TOKENS), where="lm.pth")


def read(stock, tokens, folder):
    torch.save(stock.state_dict(), folder / "lm.pth")
    return read_foreign(folder / "lm.pth", write_vocab(folder / "v.pkl", tokens)).weights


def test_a_classifier_is_refused(tmp_path):
    config = {"emb_sz": 16, "n_hid": 24, "n_layers": 2}
    classifier = get_text_classifier(AWD_LSTM, len(TOKENS), 2, config=config)
    torch.save(classifier.state_dict(), tmp_path / "c.pth")
    with pytest.raises(UserError, match="is a classifier's"):
        read_foreign(tmp_path / "c.pth", write_vocab(tmp_path / "v.pkl", TOKENS))


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil-was-here",)


@pytest.mark.parametrize("content", ["evil", "evil legacy", "learner", "junk", "cut off", "list"])
def test_files_that_are_not_tensors_alone(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    path, whole = tmp_path / "lm.pth", io.BytesIO()
    torch.save(stock_model(len(TOKENS)).state_dict(), whole)
    if content == "evil":
        torch.save({"a": Evil()}, path)
    elif content == "evil legacy":
        torch.save({"a": Evil()}, path, _use_new_zipfile_serialization=False)
    elif content == "learner":
        torch.save(torch.nn.Linear(2, 2), path)
    elif content == "list":
        torch.save([1, 2], path)
    else:
        path.write_bytes(whole.getvalue()[:5000] if content == "cut off" else b"junk" * 100)
    with pytest.raises(UserError) as caught:
        read_foreign(path, write_vocab(tmp_path / "v.pkl", TOKENS))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "evil-was-here").exists()


def test_the_evil_file_would_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Evil()))
    assert (tmp_path / "evil-was-here").exists()


def test_a_tensor_larger_than_its_data(tmp_path):
    weights = stock_model(len(TOKENS)).state_dict()
    torch.save(weights | {"1.decoder.bias": torch.zeros(1).expand(10**13)}, tmp_path / "lm.pth")
    with pytest.raises(UserError, match="larger than its data"):
        read_foreign(tmp_path / "lm.pth", write_vocab(tmp_path / "v.pkl", TOKENS))


def test_weights_of_a_training_that_diverged(tmp_path):
    stock = stock_model(len(TOKENS))
    torch.nn.init.constant_(stock[1].decoder.bias, float("nan"))
    with pytest.raises(UserError, match="not finite"):
        read(stock, TOKENS, tmp_path)


def test_half_precision_and_json_vocabulary(tmp_path):
    stock = stock_model(len(TOKENS)).half()
    torch.save(stock.state_dict(), tmp_path / "lm.pth")
    (tmp_path / "vocab.json").write_text(json.dumps(TOKENS))
    found = read_foreign(tmp_path / "lm.pth", tmp_path / "vocab.json")
    same_logits(module(found), found.vocab, stock.float(), TOKENS)


def test_what_a_stage_has_made_is_not_replaced(tmp_path):
    path = stock_learner(tmp_path, stock_model(len(TOKENS)), TOKENS).save("lm")
    vocab = write_vocab(tmp_path / "vocab.pkl", TOKENS)
    made = convert(path, tmp_path / "out", vocab=vocab, config=PLAIN)
    manifest = tmp_path / "out" / "manifest.json"
    content = json.loads(manifest.read_text()) | {"config": {"stage": "pretrain_lm"}}
    manifest.write_text(json.dumps(content))
    for verb in (convert, convert_classifier):
        with pytest.raises(UserError, match="out is what pretrain_lm made: choose another folder"):
            verb(path, made.folder, vocab=vocab)
    assert json.loads(manifest.read_text()) == content


def test_a_transplant_after_conversion_keeps_the_words(converted):
    lm, stock = converted
    target = [*CONTROL_TOKENS, "new", *reversed(WORDS)]
    moved = transplant(lm.weights, lm.vocab, target)
    model = LanguageModel(lm.arch, len(target), precision="fp32").eval()
    model.load_state_dict(moved.weights)
    same_logits(model, target, stock, TOKENS)
