"""A classifier's folder: what was saved comes back, and what does not belong together is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_artefact import cut, damage, swap_words
from tiny_classifier import LABELS, tiny_weights, write_tiny_classifier
from tiny_lm import write_tiny_lm

from ulmfit.errors import UserError
from ulmfit.models.classifier import Classifier
from ulmfit.models.classifier_artefact import (
    ClassifierParts,
    join_classifiers,
    load_classifier,
    save_classifier,
)
from ulmfit.models.classifier_weights import infer_classifier_arch
from ulmfit.models.label_set import LabelSet
from ulmfit.models.manifest import Provenance
from ulmfit.models.parts import TextPipeline
from ulmfit.text.corpus import Corpus

FILES = {
    "manifest.json", "vocab.json", "tokenizer/config.json", "model.safetensors", "labels.json",
    "README.md",
}  # fmt: skip


@pytest.fixture(scope="module")
def saved(demo_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> ClassifierParts:
    """A folder of both directions, never changed."""
    out = tmp_path_factory.mktemp("classifier") / "both"
    return write_tiny_classifier(out, demo_corpus, direction="both")


@pytest.fixture
def folder(saved: ClassifierParts, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return shutil.copytree(saved.folder, tmp_path / "both")


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("backbone", ["awd_lstm", "qrnn"])
@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_what_was_saved_comes_back(
    demo_corpus: Corpus, tmp_path: Path, direction: str, backbone: str
) -> None:
    out = tmp_path / "classifier"
    parts = write_tiny_classifier(out, demo_corpus, direction=direction, backbone=backbone)
    expected = ("forward", "backward") if direction == "both" else (direction,)
    assert parts.directions == expected and (parts.labels, parts.vocab) == (
        LABELS,
        demo_corpus.vocab,
    )
    assert files_of(out) == FILES | (
        {"model-backward.safetensors"} if direction == "both" else set()
    )
    ids, lengths = torch.randint(0, len(parts.vocab), (3, 90)), torch.tensor([90, 1, 40])
    for seed, name in enumerate(expected):
        model = Classifier(parts.arch, len(parts.vocab), precision="fp32").eval()
        model.load_state_dict(tiny_weights(parts.arch, len(parts.vocab), seed=seed))
        with torch.no_grad():
            found = parts.model(name, precision="fp32")(ids, lengths).logits
            assert torch.equal(found, model(ids, lengths).logits)
    assert load_classifier(out).fingerprint == parts.fingerprint
    text = ["What a film!"]
    assert list(parts.tokenizer().tokenize(text)) == list(demo_corpus.tokenizer.tokenize(text))


def test_the_folder_says_what_it_is(saved: ClassifierParts) -> None:
    manifest = json.loads((saved.folder / "manifest.json").read_text())
    assert (manifest["kind"], manifest["direction"], manifest["seed"]) == ("classifier", "both", 7)
    assert set(manifest["fingerprints"]) == {"vocab", "tokenizer", "architecture", "parent"}
    assert json.loads((saved.folder / "labels.json").read_text()) == {
        "kind": "category", "names": ["negative", "positive", "undecided"], "temperature": 1.0,
    }  # fmt: skip
    card = (saved.folder / "README.md").read_text()
    assert "forward and backward" in card and "positive" in card and "accuracy 0.75" in card


def test_models_share_the_tensors(saved: ClassifierParts) -> None:
    models = [saved.model("forward", precision=precision) for precision in ("fp32", "bf16")]
    places = {model.encoder.embedding.weight.data_ptr() for model in models}
    assert len(places) == 1 and not any(p.requires_grad for p in models[0].parameters())


def test_two_directions_become_one(demo_corpus: Corpus, tmp_path: Path) -> None:
    one, other = (
        write_tiny_classifier(tmp_path / name, demo_corpus, direction=name)
        for name in ("forward", "backward")
    )
    made = Provenance("both of them", metrics={"accuracy": 0.8})
    both = join_classifiers(
        tmp_path / "both", forward=one, backward=other, provenance=made, temperature=1.5,
        files={"report.txt": b"fine"},
    )  # fmt: skip
    assert both.directions == ("forward", "backward") and both.labels.temperature == 1.5
    assert (both.folder / "report.txt").read_bytes() == b"fine"
    for parts, name in ((one, "forward"), (other, "backward")):
        assert all(torch.equal(t, parts.weights[name][n]) for n, t in both.weights[name].items())
    labels = LabelSet("category", ("a", "b", "c"))
    stranger = write_tiny_classifier(
        tmp_path / "c", demo_corpus, direction="backward", labels=labels
    )
    with pytest.raises(UserError, match=r"the labels of .* differ"):
        join_classifiers(tmp_path / "no", forward=one, backward=stranger, provenance=made)
    assert not (tmp_path / "no").exists()


def test_shapes_tell_the_architecture(saved: ClassifierParts) -> None:
    assert infer_classifier_arch(saved.weights["forward"]).widths() == (48, 50, 3)
    arch = replace(saved.arch, hidden_sizes=(9, 5), head_bias=True)
    found = infer_classifier_arch(tiny_weights(arch, 30))
    assert (found.widths(), found.head_bias) == ((48, 9, 5, 3), True)
    assert (found.encoder.n_hid, found.encoder.n_layers) == (24, 2)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "vocab.json.* is not the vocabulary of these weights": lambda f: damage(f, "vocab.json", swap_words),
    r"model\.safetensors was changed or cut off": lambda f: cut(f / "model.safetensors"),
    r"model-backward\.safetensors was changed": lambda f: cut(f / "model-backward.safetensors"),
    r"cannot read .*model-backward\.safetensors": lambda f: (f / "model-backward.safetensors").unlink(),
    r"labels\.json was changed or cut off": lambda f: damage(f, "labels.json", lambda c: c["names"].reverse()),
    r"cannot read .*labels\.json": lambda f: (f / "labels.json").unlink(),
    "is not the tokenizer of these weights": lambda f: damage(
        f, "tokenizer/config.json", lambda c: c.update(fingerprint="x")
    ),
    "architecture was changed by hand": lambda f: damage(
        f, "manifest.json", lambda m: m["arch"]["pooling"].update(max_len=800)
    ),
    "holds a language_model, not a classifier.*train-classifier": lambda f: damage(
        f, "manifest.json", lambda m: m.update(kind="language_model")
    ),
    "has format 99": lambda f: damage(f, "manifest.json", lambda m: m.update(format=99)),
    r"is not the manifest of a classifier.*seed": lambda f: damage(
        f, "manifest.json", lambda m: m.pop("seed")
    ),
    r"is not the manifest of a classifier \('encoder'\)": lambda f: damage(
        f, "manifest.json", lambda m: m["arch"].pop("encoder")
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", DAMAGES)
def test_a_damaged_folder_is_refused_in_one_line(folder: Path, message: str) -> None:
    DAMAGES[message](folder)
    with pytest.raises(UserError, match=message) as caught:
        load_classifier(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_a_language_model_is_no_classifier(demo_corpus: Corpus, tmp_path: Path) -> None:
    lm = write_tiny_lm(tmp_path / "lm", demo_corpus)
    with pytest.raises(UserError, match="holds a language_model, not a classifier: train one"):
        load_classifier(lm.folder)
    with pytest.raises(UserError, match="is not a folder: give the folder of a classifier"):
        load_classifier(tmp_path / "none")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": LabelSet("category", ("a", "b"))}, "2 labels .a, b. for 3 outputs"),
        ({"provenance": Provenance("x", "both")}, "weights of forward for .* forward and backward"),
        ({"arch": "n_hid"}, "expected 80x20 found 96x24|these are not the weights"),
        ({"vocab": "short"}, "the weights know .* tokens and the vocabulary has"),
    ],
)  # fmt: skip
def test_parts_that_contradict_each_other_are_not_written(
    saved: ClassifierParts, tmp_path: Path, change: dict[str, object], says: str
) -> None:
    parts: dict[str, object] = {
        "arch": saved.arch,
        "vocab": saved.vocab,
        "labels": saved.labels,
        "provenance": Provenance("a test"),
    } | change
    if parts["arch"] == "n_hid":
        parts["arch"] = replace(saved.arch, encoder=replace(saved.arch.encoder, n_hid=20))
    if parts["vocab"] == "short":
        parts["vocab"] = type(saved.vocab)(saved.vocab[:-1])
    weights = {"forward": saved.weights["forward"]}
    with pytest.raises(UserError, match=says):
        save_classifier(tmp_path / "no", weights, text=saved.text, **parts)
    assert list(tmp_path.iterdir()) == []


def test_labels_of_a_corpus(demo_corpus: Corpus) -> None:
    labels = LabelSet.of(demo_corpus)
    assert (labels.kind, labels.names) == (demo_corpus.label_kind, demo_corpus.label_names)
    assert TextPipeline.of(demo_corpus).config == demo_corpus.config
    for kind, names in (("category", ("a",)), ("multi", ()), ("category", ("a", "a"))):
        with pytest.raises(UserError, match="different names"):
            LabelSet(kind, names)
    with pytest.raises(UserError, match="--label-kind is 'none'"):
        LabelSet("none", ("a", "b"))


@pytest.mark.parametrize("wrong", ["2", 0, -1, True, 1.5, [1]])
def test_a_number_of_texts_that_is_none_is_refused(
    wrong: object, demo_corpus: Corpus, tmp_path: Path
) -> None:
    write_tiny_classifier(tmp_path / "clf", demo_corpus)
    path = tmp_path / "clf" / "tokenizer" / "config.json"
    content = json.loads(path.read_text())
    assert content["n_fields"] == 1
    path.write_text(json.dumps(content | {"n_fields": wrong}))
    with pytest.raises(UserError, match=r"does not describe a text pipeline .*n_fields"):
        load_classifier(tmp_path / "clf")
