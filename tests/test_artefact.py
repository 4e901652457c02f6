"""A language model's folder: what was saved comes back, and what does not belong together is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from dataclasses import replace

import pytest
import torch

import ulmfit
from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.models.arch import ArchConfig
from ulmfit.models.artefact import (
    TextPipeline,
    load_language_model,
    require_same_vocab,
    save_language_model,
)
from ulmfit.models.language_model import LanguageModel
from ulmfit.models.manifest import Provenance
from ulmfit.text.vocab import Vocab

ARCH = ArchConfig(emb_sz=8, n_hid=12, n_layers=2)
MADE = Provenance(
    origin="a test",
    direction="backward",
    seed=7,
    protocol="clean",
    metrics={"perplexity": 12.5},
    config={"lr": [1e-3, 1e-2]},
    parent="abc",
    notes=("a note",),
)


@pytest.fixture(scope="module")
def saved(demo_corpus, tmp_path_factory):
    """A folder with fresh weights over the demo corpus's vocabulary, never changed."""
    return save(tmp_path_factory.mktemp("lm") / "lm", demo_corpus)


def save(out, corpus, arch=ARCH, provenance=MADE):
    torch.manual_seed(0)
    model = LanguageModel(arch, len(corpus.vocab))
    return save_language_model(
        out,
        model.state_dict(),
        arch=arch,
        vocab=corpus.vocab,
        text=TextPipeline.of(corpus),
        provenance=provenance,
    )


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of it to damage."""
    return shutil.copytree(saved.folder, tmp_path / "lm")


@pytest.mark.parametrize(
    "arch", [ARCH, replace(ARCH, tie_weights=False), replace(ARCH, backbone="qrnn", out_bias=False)]
)
def test_what_was_saved_comes_back(demo_corpus, tmp_path, arch):
    lm = save(tmp_path / "lm", demo_corpus, arch)
    torch.manual_seed(0)
    model = LanguageModel(arch, len(demo_corpus.vocab)).eval()
    ids = torch.randint(0, len(demo_corpus.vocab), (2, 5))
    with torch.no_grad():
        assert torch.equal(lm.model()(ids).logits(), model(ids).logits())
    assert (lm.arch, lm.vocab, lm.manifest.provenance) == (arch, demo_corpus.vocab, MADE)
    assert lm.text.config == demo_corpus.config
    assert load_language_model(lm.folder).fingerprint == lm.fingerprint
    texts = ["What a film!"]
    assert list(lm.tokenizer().tokenize(texts)) == list(demo_corpus.tokenizer.tokenize(texts))


def test_the_files_of_a_folder(saved):
    names = {p.relative_to(saved.folder).as_posix() for p in saved.folder.rglob("*") if p.is_file()}
    assert names == {
        "manifest.json", "vocab.json", "tokenizer/config.json", "model.safetensors", "README.md",
    }  # fmt: skip
    manifest = json.loads((saved.folder / "manifest.json").read_text())
    assert manifest["kind"] == "language_model" and manifest["direction"] == "backward"
    assert manifest["seed"] == 7 and manifest["metrics"] == {"perplexity": 12.5}
    assert set(manifest["fingerprints"]) == {"vocab", "tokenizer", "architecture", "parent"}
    card = (saved.folder / "README.md").read_text()
    assert "perplexity 12.5" in card and "backward" in card and "a test" in card


def test_more_files_lie_beside_and_replace_no_part(demo_corpus, tmp_path):
    model = LanguageModel(ARCH, len(demo_corpus.vocab))
    files = {"steps.csv": b"step\n1\n", "history.png": b"\x89PNG", "vocab.json": b"[]"}
    lm = save_language_model(
        tmp_path / "lm",
        model.state_dict(),
        arch=ARCH,
        vocab=demo_corpus.vocab,
        text=TextPipeline.of(demo_corpus),
        provenance=MADE,
        files=files,
    )
    for name in ("steps.csv", "history.png"):
        assert (lm.folder / name).read_bytes() == files[name]
    assert lm.vocab == demo_corpus.vocab


def test_the_weights_lie_there_once_and_plain(saved):
    with open(saved.folder / "model.safetensors", "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    assert "decoder.weight" not in tensors
    assert {entry["dtype"] for entry in tensors.values()} == {"F32"}


def test_views_and_other_formats_are_saved_plain(demo_corpus, tmp_path):
    model = LanguageModel(ARCH, len(demo_corpus.vocab))
    weights = {name: t.double().t().contiguous().t() for name, t in model.state_dict().items()}
    lm = save_language_model(
        tmp_path / "lm",
        weights,
        arch=ARCH,
        vocab=demo_corpus.vocab,
        text=TextPipeline.of(demo_corpus),
        provenance=MADE,
    )
    assert all(torch.equal(lm.weights[n], t) for n, t in model.state_dict().items())


def test_the_fingerprint_follows_what_matters(saved, demo_corpus, tmp_path):
    other = save(tmp_path / "lm", demo_corpus, provenance=replace(MADE, parent="abd"))
    assert other.fingerprint != saved.fingerprint
    dropouts = save(tmp_path / "drop", demo_corpus, replace(ARCH, drop_mult=0.3))
    prints = [lm.manifest.fingerprints.architecture for lm in (saved, dropouts)]
    assert prints[0] == prints[1]


def test_nothing_is_written_for_weights_that_do_not_fit(demo_corpus, tmp_path):
    weights = LanguageModel(replace(ARCH, n_hid=10), len(demo_corpus.vocab)).state_dict()
    with pytest.raises(UserError, match="n_hid is 10 and 12"):
        save_language_model(
            tmp_path / "lm",
            weights,
            arch=ARCH,
            vocab=demo_corpus.vocab,
            text=TextPipeline.of(demo_corpus),
            provenance=MADE,
        )
    assert list(tmp_path.iterdir()) == []


def test_a_direction_that_does_not_exist():
    with pytest.raises(UserError, match="direction"):
        replace(MADE, direction="sideways")


def damage(folder, name, change):
    path = folder / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def swap_words(tokens):
    tokens[20], tokens[21] = tokens[21], tokens[20]


def lie(folder, header):
    """Write a safetensors file whose header claims what is not there, with its hash in the manifest."""
    raw = json.dumps(header).encode()
    content = struct.pack("<Q", len(raw)) + raw + b"\0" * 16
    (folder / "model.safetensors").write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    damage(folder, "manifest.json", lambda m: m["files"].update({"model.safetensors": found}))


FAR = {
    "encoder.embedding.weight": {"dtype": "F32", "shape": [2**40, 8], "data_offsets": [0, 2**45]}
}
SMALL = {"encoder.embedding.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
DAMAGES = {
    "vocab.json.* is not the vocabulary of these weights": lambda f: damage(f, "vocab.json", swap_words),
    r"model\.safetensors was changed or cut off": lambda f: cut(f / "model.safetensors"),
    r"model\.safetensors is not a safetensors file": lambda f: lie(f, FAR),
    "not the weights of a whole language model": lambda f: lie(f, SMALL),
    r"cannot read .*model\.safetensors": lambda f: (f / "model.safetensors").unlink(),
    r"vocab\.json is missing": lambda f: (f / "vocab.json").unlink(),
    r"config\.json is missing": lambda f: (f / "tokenizer" / "config.json").unlink(),
    r"manifest\.json is missing": lambda f: (f / "manifest.json").unlink(),
    "is not the tokenizer of these weights": lambda f: damage(
        f, "tokenizer/config.json", lambda c: c.update(fingerprint="x")
    ),
    "does not describe a text pipeline": lambda f: damage(
        f, "tokenizer/config.json", lambda c: c["config"].pop("lang")
    ),
    "architecture was changed by hand": lambda f: damage(
        f, "manifest.json", lambda m: m["arch"].update(n_hid=13)
    ),
    "holds a classifier, not a language model": lambda f: damage(
        f, "manifest.json", lambda m: m.update(kind="classifier")
    ),
    "has format 99": lambda f: damage(f, "manifest.json", lambda m: m.update(format=99)),
    r"is not the manifest of a language model.*seed": lambda f: damage(
        f, "manifest.json", lambda m: m.pop("seed")
    ),
    r"is not the manifest of a language model \('fields surprise": lambda f: damage(
        f, "manifest.json", lambda m: m.update(surprise=1)
    ),
    "n_vocab or files": lambda f: damage(f, "manifest.json", lambda m: m.update(files=[])),
    "not valid JSON": lambda f: (f / "manifest.json").write_text("{"),
}  # fmt: skip


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("message", DAMAGES)
def test_a_damaged_folder_is_refused_in_one_line(folder, message):
    DAMAGES[message](folder)
    with pytest.raises(UserError, match=message) as caught:
        load_language_model(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_every_changed_byte_of_the_weights_is_noticed(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    for position in (0, 8, len(content) // 2, len(content) - 1):
        content[position] ^= 1
        path.write_bytes(content)
        with pytest.raises(UserError, match="changed or cut off"):
            load_language_model(folder)
        content[position] ^= 1


def test_a_corpus_is_not_a_language_model(demo_corpus, tmp_path):
    with pytest.raises(UserError, match=r"holds a corpus, not a language model.*pretrain-lm"):
        load_language_model(demo_corpus.folder)
    with pytest.raises(UserError, match="is not a folder"):
        load_language_model(tmp_path / "none")


@pytest.fixture(scope="module")
def subword_corpus(tmp_path_factory):
    texts = [
        f"the {a} film is a {b} thing {i}" for i, (a, b) in enumerate(zip("abcdefgh", "stuvwxyz"))
    ]
    config = TextConfig(tokenizer="subword", max_vocab=60, min_freq=1)
    return ulmfit.prepare(texts * 5, tmp_path_factory.mktemp("sub") / "corpus", config=config)


def test_a_subword_model_travels_along(subword_corpus, tmp_path):
    lm = save(tmp_path / "lm", subword_corpus)
    shutil.move(lm.folder, tmp_path / "elsewhere")
    lm = load_language_model(tmp_path / "elsewhere")
    text = ["the film"]
    assert list(lm.tokenizer().tokenize(text)) == list(subword_corpus.tokenizer.tokenize(text))
    cut(lm.folder / "tokenizer" / "subwords.model")
    with pytest.raises(UserError, match="is not the tokenizer of these weights"):
        load_language_model(lm.folder)
    (lm.folder / "tokenizer" / "subwords.model").unlink()
    with pytest.raises(UserError, match=r"subwords\.model is missing"):
        load_language_model(lm.folder)


def test_equal_vocabularies_pass_and_others_are_compared_by_content(saved, demo_corpus):
    require_same_vocab(saved, demo_corpus)
    tokens = list(demo_corpus.vocab)
    swap_words(tokens)
    other = replace(demo_corpus, vocab=Vocab(tokens))  # of equal size
    with pytest.raises(UserError) as caught:
        require_same_vocab(saved, other)
    message = str(caught.value)
    assert "differ at 2 ids: id 20 is" in message and repr(tokens[20]) in message
    assert str(saved.folder) in message and str(demo_corpus.folder) in message
    assert "ulmfit finetune-lm" in message and "\n" not in message
    longer = replace(demo_corpus, vocab=Vocab([*demo_corpus.vocab, "onemoreword"]))
    with pytest.raises(UserError, match="differ at 1 ids; "):
        require_same_vocab(saved, longer)
