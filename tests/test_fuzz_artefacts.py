"""Damaged and forged artefacts: whatever stands in their files, a reader returns a whole thing or says one line."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hostile import DEPTHS, JSON, damaged, edited, examples, lawful, replaced, write
from hypothesis import given
from tiny_classifier import tiny_linear, write_tiny_classifier
from tiny_lm import write_tiny_lm

import ulmfit
from ulmfit.errors import UserError
from ulmfit.files import fingerprint
from ulmfit.history import read_history, read_steps
from ulmfit.models.artefact import load_language_model
from ulmfit.models.classifier_artefact import load_classifier
from ulmfit.text.corpus import Corpus
from ulmfit.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ulmfit.training.run import open_run

HISTORY = "epoch,phase,lr,train_loss,valid_loss,accuracy,perplexity,bits_per_character,tokens,tokens_per_second,seconds\n1,1,0.1,2,3,0.5,9,1,100,50.5,2\n"
STEPS = "step,loss,momentum,lr_1\n1,2.5,0.9,0.001\n2,2.25,0.8,0.002\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_home(tmp_path_factory.mktemp("hostile"))


def write_home(folder: Path) -> Path:
    """Write a corpus, a language model, a classifier, and what a training keeps."""
    rows = [(f"the {i} film was {mood}", mood) for i in range(8) for mood in ("fine", "dull")]
    frame = pd.DataFrame(rows, columns=["text", "label"])
    corpus = ulmfit.prepare(frame, folder / "corpus", config=ulmfit.TextConfig(min_freq=1))
    write_tiny_lm(folder / "lm", corpus)
    write_tiny_classifier(folder / "clf", corpus, linear=tiny_linear(len(corpus.vocab)))
    (folder / "history.csv").write_text(HISTORY)
    (folder / "steps.csv").write_text(STEPS)
    tensors = {"a": torch_arange(3), "b": torch_arange(4).reshape(2, 2)}
    save_checkpoint(folder / "checkpoint.safetensors", Checkpoint(tensors, {"epoch": 1}))
    settings = folder / "run.training" / "settings.json"
    settings.parent.mkdir()
    write(settings, {"stage": "pretrain_lm", "corpus": "c", "parent": "", "config": {"lr": 0.5}})
    (settings.parent / "checkpoint.safetensors").write_bytes(b"a beginning")
    return folder


def torch_arange(n: int) -> Any:
    import torch

    return torch.arange(n, dtype=torch.float32)


def use_corpus(folder: Path) -> Any:
    """Read every document and every figure of a corpus."""
    corpus = Corpus.load(folder)
    for document in range(len(corpus)):
        corpus.text(document), corpus.label(document)
    return str(corpus), corpus._repr_html_(), json.dumps(corpus.summary())


def use_model(parts: Any) -> Any:
    """Look at all that a model's folder says, and build its module."""
    json.dumps(asdict(parts.manifest.provenance))
    return parts.fingerprint, len(parts.vocab), parts


def use_lm(folder: Path) -> Any:
    parts = load_language_model(folder)
    parts.model()
    return use_model(parts), str(ulmfit.LanguageModel(parts))


def use_classifier(folder: Path) -> Any:
    parts = load_classifier(folder)
    for direction in parts.directions:
        parts.model(direction)
    if parts.linear is not None:
        parts.linear.logits([np.arange(len(parts.vocab))])
    return use_model(parts), str(ulmfit.Classifier(parts))


def resume(folder: Path) -> Any:
    """Begin where settings.json says that a training has begun."""
    settings = {"stage": "pretrain_lm", "corpus": "c", "parent": "", "config": {"lr": 0.5}}
    with open_run(folder.with_name("run"), settings=settings) as run:
        run.checkpoint.write_bytes(b"a beginning")
        raise UserError("stopped here")


# What is read: the folder or file that is given to the reader, and the file that is damaged.
READERS: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "corpus manifest": (use_corpus, "corpus", "manifest.json"),
    "corpus vocabulary": (use_corpus, "corpus", "vocab.json"),
    "ids": (use_corpus, "corpus", "ids.npy"),
    "offsets": (use_corpus, "corpus", "offsets.npy"),
    "splits": (use_corpus, "corpus", "splits.npy"),
    "labels of documents": (use_corpus, "corpus", "labels.npy"),
    "model manifest": (use_lm, "lm", "manifest.json"),
    "model vocabulary": (use_lm, "lm", "vocab.json"),
    "text pipeline": (use_lm, "lm", "tokenizer/config.json"),
    "weights": (use_lm, "lm", "model.safetensors"),
    "classifier manifest": (use_classifier, "clf", "manifest.json"),
    "labels": (use_classifier, "clf", "labels.json"),
    "classifier weights": (use_classifier, "clf", "model.safetensors"),
    "linear part": (use_classifier, "clf", "linear.safetensors"),
    "history": (read_history, "history.csv", ""),
    "steps": (read_steps, "steps.csv", ""),
    "checkpoint": (load_checkpoint, "checkpoint.safetensors", ""),
    "settings": (resume, "run.training", "settings.json"),
}
AS_JSON = [name for name, (_, _, file) in READERS.items() if file.endswith(".json")]


@pytest.mark.parametrize("n", DEPTHS)
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused_in_one_line(home: Path, name: str, n: int) -> None:
    read, folder, file = READERS[name]
    path = home / folder / file if file else home / folder
    whole = path.read_bytes()

    @examples(n)
    @given(damaged(whole))
    def law(content: bytes) -> None:
        with replaced(path, content):
            lawful(lambda: forged(home, name, lambda: read(home / folder)))

    law()


@pytest.mark.parametrize("n", DEPTHS)
@pytest.mark.parametrize("name", AS_JSON)
def test_edited_json_is_read_or_refused_in_one_line(home: Path, name: str, n: int) -> None:
    read, folder, file = READERS[name]
    path = home / folder / file
    whole = json.loads(path.read_bytes())

    @examples(n)
    @given(edited(whole) | JSON)
    def law(content: Any) -> None:
        with replaced(path, json.dumps(content).encode()):
            lawful(lambda: forged(home, name, lambda: read(home / folder)))

    law()


def forged(home: Path, name: str, call: Callable[[], Any]) -> Any:
    """Read a folder twice: as it is, and with fingerprints that a forger has made to fit."""
    _, folder, file = READERS[name]
    path = home / folder / "manifest.json"
    if not file or not path.is_file():
        return call()
    lawful(call)
    try:
        manifest = json.loads(path.read_bytes())
        refit(manifest, home / folder)
        content = json.dumps(manifest).encode()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None  # so broken that no forger could mend it
    with replaced(path, content):
        return call()


def refit(manifest: dict[str, Any], folder: Path) -> None:
    """Make every hash in a manifest that of what lies there now."""
    from ulmfit.models.weights import ARCH_FACTS

    vocab = fingerprint(json.loads((folder / "vocab.json").read_bytes()))
    if manifest["kind"] == "corpus":
        manifest["vocab_fingerprint"] = vocab
        return
    prints, arch = manifest["fingerprints"], manifest["arch"]
    prints["vocab"] = vocab
    pipeline = json.loads((folder / "tokenizer/config.json").read_bytes())
    prints["tokenizer"] = pipeline["fingerprint"]
    if manifest["kind"] == "language_model":
        prints["architecture"] = fingerprint({name: arch[name] for name in ARCH_FACTS})
    else:
        encoder = {n: arch["encoder"][n] for n in ("backbone", "emb_sz", "n_hid", "n_layers")}
        pooling = [arch["pooling"]["bptt"], arch["pooling"]["max_len"]]
        widths = [3 * encoder["emb_sz"], *arch["hidden_sizes"], arch["n_outputs"]]
        prints["architecture"] = fingerprint([encoder, pooling, widths, arch["head_bias"]])
    for file in manifest["files"]:
        manifest["files"][file] = hashlib.sha256((folder / file).read_bytes()).hexdigest()


# --- arrays and tensors that lie about themselves


class Touch:
    """Create a file as soon as somebody unpickles it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return open, (str(self.marker), "w")


def npy(descr: str, shape: str, data: bytes = b"\0" * 64, fortran: bool = False) -> bytes:
    """Write an array's header by hand, and any bytes after it."""
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    header += b" " * (64 - (len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + data


LYING_ARRAYS = {
    "longer than its data": npy("'<u2'", "(10**12,)"),
    "longer than anything": npy("'<u2'", "(9999999999999999999999,)"),
    "negative": npy("'<i8'", "(-1,)"),
    "columns first": npy("'<u2'", "(4, 8)", fortran=True),
    "no shape": npy("'<i8'", "()"),
    "floats": npy("'<f8'", "(8,)"),
    "dates": npy("'<M8[s]'", "(8,)"),
    "huge items": npy("'V2000000000'", "(1,)"),
    "records": npy("[('a', '<i4')]", "(8,)"),
    "truth values": npy("'?'", "(64,)"),
    "ids of nobody": npy("'<u2'", "(32,)", b"\xff" * 64),
    "negative ids": npy("'<i2'", "(32,)", b"\xff" * 64),
    "a huge header": b"\x93NUMPY\x02\0\xff\xff\xff\x7f",
    "an archive": b"PK\x03\x04" + bytes(40),
    "nothing": b"",
}


@pytest.mark.parametrize("file", ["ids.npy", "offsets.npy", "splits.npy", "labels.npy", "characters.npy"])  # fmt: skip
@pytest.mark.parametrize("name", LYING_ARRAYS)
def test_an_array_that_lies_is_refused_by_name(home: Path, file: str, name: str) -> None:
    path = home / "corpus" / file
    with replaced(path, LYING_ARRAYS[name]), pytest.raises(UserError) as refusal:
        use_corpus(home / "corpus")
    said = str(refusal.value)
    assert "\n" not in said and str(home / "corpus") in said
    assert file in said or "the arrays do not fit" in said


def test_an_array_of_objects_is_refused_unexecuted(home: Path, tmp_path: Path) -> None:
    marker, bomb = tmp_path / "marker", tmp_path / "bomb.npy"
    np.save(bomb, np.array([Touch(marker)], dtype=object), allow_pickle=True)
    for file in ("ids.npy", "labels.npy"):
        path = home / "corpus" / file
        with replaced(path, bomb.read_bytes()), pytest.raises(UserError, match=file):
            Corpus.load(home / "corpus")
    assert not marker.exists()
    np.load(bomb, allow_pickle=True)[0].close()
    assert marker.exists(), "the bomb is none"


def tensors_file(header: Any, data: bytes = bytes(64), size: int | None = None) -> bytes:
    """Write a safetensors file by hand."""
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(content) if size is None else size) + content + data


def one(dtype: str, shape: list[Any], *offsets: Any) -> dict[str, Any]:
    return {"encoder.embedding.weight": {"dtype": dtype, "shape": shape, "data_offsets": [*offsets]}}  # fmt: skip


LYING_TENSORS = {
    "a header longer than the file": tensors_file({}, size=2**40),
    "a header longer than anything": tensors_file({}, size=2**64 - 1),
    "an end before the beginning": tensors_file(one("F32", [4], 16, 0)),
    "a negative place": tensors_file(one("F32", [4], -16, 0)),
    "a place behind the end": tensors_file(one("F32", [4], 64, 80)),
    "a shape that is not its length": tensors_file(one("F32", [5], 0, 64)),
    "a shape beyond all numbers": tensors_file(one("F32", [2**62, 2**62], 0, 64)),
    "a negative shape": tensors_file(one("F32", [-4, -4], 0, 64)),
    "a type that is none": tensors_file(one("F99", [16], 0, 64)),
    "whole numbers": tensors_file(one("I32", [16], 0, 64)),
    "complex numbers": tensors_file(one("C64", [8], 0, 64)),
    "one place for two": tensors_file({**one("F32", [16], 0, 64), "b": one("F32", [16], 0, 64)["encoder.embedding.weight"]}),
    "deep JSON": tensors_file(b"[" * 100_000),
    "half of it": tensors_file(one("F32", [16], 0, 64))[:40],
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("name", LYING_TENSORS)
def test_tensors_that_lie_are_refused_by_name(home: Path, name: str) -> None:
    path, manifest = home / "lm" / "model.safetensors", home / "lm" / "manifest.json"
    content = json.loads(manifest.read_bytes())
    content["files"]["model.safetensors"] = hashlib.sha256(LYING_TENSORS[name]).hexdigest()
    with replaced(path, LYING_TENSORS[name]), replaced(manifest, json.dumps(content).encode()):
        with pytest.raises(UserError, match=r"model\.safetensors") as refusal:
            load_language_model(home / "lm")
        assert "\n" not in str(refusal.value)
    checkpoint = home / "checkpoint.safetensors"
    with (
        replaced(checkpoint, LYING_TENSORS[name]),
        pytest.raises(UserError, match=r"checkpoint\.safetensors"),
    ):
        load_checkpoint(checkpoint)


# What is changed by hand, and the word that the refusal has for it.
CHANGES = {
    "vocab.json": lambda text: text.replace('"film"', '"flim"'),
    "tokenizer/config.json": lambda text: text.replace('"fingerprint": "', '"fingerprint": "0'),
    "labels.json": lambda text: text.replace("positive", "negativ3"),
    "manifest.json": lambda text: text.replace('"n_hid": 24', '"n_hid": 25'),
    "model.safetensors": None,
}


@pytest.mark.parametrize("file", CHANGES)
def test_what_is_edited_by_hand_is_refused_with_what_changed(home: Path, file: str) -> None:
    path, change = home / "clf" / file, CHANGES[file]
    content = path.read_bytes()
    edited_content = change(content.decode()).encode() if change else content[:-1] + b"?"
    assert edited_content != content
    with replaced(path, edited_content), pytest.raises(UserError) as refusal:
        load_classifier(home / "clf")
    assert file.split("/")[0] in str(refusal.value)
