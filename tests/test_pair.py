"""Both directions as one folder: the two models that were put in come out, and nothing else is taken for them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_lm import write_tiny_lm

import ulmfit
from ulmfit.errors import UserError
from ulmfit.inference.pair import LanguageModelPair, open_lm
from ulmfit.models import pair
from ulmfit.models.artefact import load_language_model
from ulmfit.models.pair import load_language_model_pair, save_language_model_pair
from ulmfit.text.corpus import Corpus

SETTINGS = {"stage": "pretrain_lm", "config": {"lr": 0.1, "moms": [0.8, 0.7, 0.8]}}


def write_pair(out: Path, corpus: Corpus) -> Path:
    parts = out.with_name("parts")
    folders = {
        name: write_tiny_lm(parts / name, corpus, direction=name).folder
        for name in ("forward", "backward")
    }
    return save_language_model_pair(out, **folders, settings=SETTINGS).folder


@pytest.fixture(scope="module")
def saved(demo_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair that no test changes."""
    return write_pair(tmp_path_factory.mktemp("pair") / "lm", demo_corpus)


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return shutil.copytree(saved, tmp_path / "lm")


def files(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_two_folders_move_into_one(demo_corpus: Corpus, tmp_path: Path) -> None:
    sources = {
        name: write_tiny_lm(tmp_path / "parts" / name, demo_corpus, direction=name).folder
        for name in ("forward", "backward")
    }
    before = {name: files(source) for name, source in sources.items()}
    out = tmp_path / "lm"
    save_language_model_pair(out, **sources, settings=SETTINGS)
    assert {name: files(out / name) for name in sources} == before
    assert {p.name for p in out.iterdir()} == {"manifest.json", "README.md", "forward", "backward"}
    assert not list((tmp_path / "parts").iterdir())
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest == {
        "kind": "language_model_pair",
        "format": 1,
        "config": SETTINGS,
        "fingerprints": {name: load_language_model(out / name).fingerprint for name in sources},
    }


def test_a_disk_without_links_gets_copies(
    demo_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert load_language_model_pair(write_pair(tmp_path / "lm", demo_corpus)).forward.weights


def test_models_stay_where_they_are_when_the_pair_cannot_be_written(
    demo_corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pair, "write_json", fail)
    with pytest.raises(UserError, match="cannot write"):
        write_pair(tmp_path / "lm", demo_corpus)
    assert [p.name for p in tmp_path.iterdir()] == ["parts"]
    assert load_language_model(tmp_path / "parts" / "forward").weights
    assert load_language_model(tmp_path / "parts" / "backward").weights


def test_a_pair_replaces_a_pair_and_no_model(demo_corpus: Corpus, saved: Path, tmp_path) -> None:
    for _ in range(2):
        write_pair(tmp_path / "lm", demo_corpus)
    with pytest.raises(UserError, match="holds language_model, not a language_model_pair"):
        write_pair(shutil.copytree(saved / "forward", tmp_path / "other" / "lm"), demo_corpus)


@pytest.mark.parametrize(
    ("forward", "backward", "says"),
    [
        ("backward", "forward", "backward is a backward language model, where a pair has its forward"),
        ("forward", "forward", "forward is a forward language model, where a pair has its backward"),
    ],
)  # fmt: skip
def test_directions_are_not_taken_for_each_other(saved, tmp_path, forward, backward, says) -> None:
    with pytest.raises(UserError, match=says):
        save_language_model_pair(
            tmp_path / "lm", forward=saved / forward, backward=saved / backward, settings={}
        )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def other_backward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backward model over another vocabulary."""
    texts = [f"a fine film about {word}" for word in ("ships", "dogs", "rain", "snow")] * 3
    out = tmp_path_factory.mktemp("other")
    corpus = ulmfit.prepare(texts, out / "corpus", config=ulmfit.TextConfig(min_freq=1))
    return write_tiny_lm(out / "lm", corpus, direction="backward").folder


def test_other_vocabularies_are_refused(folder: Path, other_backward: Path, tmp_path) -> None:
    shutil.rmtree(folder / "backward")
    shutil.copytree(other_backward, folder / "backward")
    with pytest.raises(UserError, match=r"vocabularies of .*forward and .*backward differ"):
        load_language_model_pair(folder)
    with pytest.raises(
        UserError, match=r"vocabularies of .* differ: train both on the same corpus"
    ):
        save_language_model_pair(
            tmp_path / "new", forward=folder / "forward", backward=other_backward, settings={}
        )


def edit(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "backward is missing": lambda f: shutil.rmtree(f / "backward"),
    r"manifest\.json is missing": lambda f: (f / "manifest.json").unlink(),
    "holds a cake, not a language model pair": lambda f: edit(
        f / "manifest.json", lambda m: m.update(kind="cake")
    ),
    "has format 2": lambda f: edit(f / "manifest.json", lambda m: m.update(format=2)),
    "is not the manifest of a pair.*backward": lambda f: edit(
        f / "manifest.json", lambda m: m["fingerprints"].pop("backward")
    ),
    "is not the manifest of a pair.*cake": lambda f: edit(
        f / "manifest.json", lambda m: m.update(cake=1)
    ),
    "forward is not the model that this pair was made of": lambda f: edit(
        f / "forward" / "manifest.json", lambda m: m.update(seed=99)
    ),
    "backward is not the model that this pair was made of": lambda f: edit(
        f / "manifest.json", lambda m: m["fingerprints"].update(backward="x")
    ),
    "changed or cut off": lambda f: (f / "forward" / "model.safetensors").write_bytes(b"short"),
}


@pytest.mark.parametrize("says", DAMAGES)
def test_a_damaged_pair_is_refused_in_one_line(folder: Path, says: str) -> None:
    DAMAGES[says](folder)
    with pytest.raises(UserError, match=says) as caught:
        load_language_model_pair(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_one_model_is_no_pair(saved: Path) -> None:
    with pytest.raises(
        UserError, match=r"holds a language_model, not a language model pair: .*both"
    ):
        load_language_model_pair(saved / "forward")


def test_a_loaded_pair_is_its_two_models(saved: Path, demo_corpus: Corpus) -> None:
    both = ulmfit.load(saved)
    assert type(both) is LanguageModelPair is ulmfit.LanguageModelPair
    assert [lm.direction for lm in both] == ["forward", "backward"]
    assert list(both) == [both.forward, both.backward]
    assert (both.folder, both.vocab) == (saved, demo_corpus.vocab)
    ids = torch.tensor([[5, 9, 12]])
    for lm in both:
        alone = ulmfit.LanguageModel.load(saved / lm.direction)
        assert torch.equal(lm.logits(ids), alone.logits(ids))


def test_a_pair_says_what_it_is(saved: Path) -> None:
    both = LanguageModelPair.load(saved)
    for said in (str(both), repr(both), both._repr_html_()):
        assert said.index("language model pair") < said.index("forward awd_lstm")
        assert said.index("forward awd_lstm") < said.index("backward awd_lstm")
    shown = LanguageModelPair(both.parts)
    object.__setattr__(shown.parts, "folder", Path("a<b"))
    assert "a&lt;b" in shown._repr_html_()


def test_what_is_asked_of_a_pair_the_forward_model_does(saved: Path) -> None:
    both = LanguageModelPair.load(saved)
    assert both.generate("a film", 5, seed=3) == both.forward.generate("a film", 5, seed=3)
    assert both.score(["a film"]) == both.forward.score(["a film"])
    assert both.embed(["a film"]).tolist() == both.forward.embed(["a film"]).tolist()
    ids = torch.tensor([[2, 9, 10]])
    assert torch.equal(both.logits(ids), both.forward.logits(ids))


def test_a_pair_has_a_card_that_names_its_models(saved: Path) -> None:
    card = (saved / "README.md").read_text()
    assert "forward/" in card and "backward/" in card and "perplexity" in card


@pytest.mark.parametrize("wrong", [None, 3, ["en"]])
def test_what_is_no_language_model_is_refused(wrong: object) -> None:
    with pytest.raises(UserError, match="is no language model: give one, its folder"):
        open_lm(wrong)  # ty: ignore[invalid-argument-type]
