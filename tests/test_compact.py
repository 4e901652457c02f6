"""Models in fewer bytes: every weight within half a step of its row, and the same model otherwise."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.torch import load_file, save_file
from tiny_classifier import write_tiny_classifier
from tiny_lm import write_tiny_lm

import ulmfit
from ulmfit import cli
from ulmfit.errors import UserError
from ulmfit.files import hash_file, read_json, write_json
from ulmfit.models.artefact import load_language_model
from ulmfit.models.compact import compact
from ulmfit.models.pair import save_language_model_pair
from ulmfit.models.storage import pack, unpack
from ulmfit.text.corpus import Corpus

MATRICES = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(-1e4, 1e4, width=32),
)


@given(MATRICES)
def test_an_8_bit_weight_is_off_by_half_a_step_at_most(matrix: np.ndarray) -> None:
    found = unpack(pack({"w": torch.from_numpy(matrix)}, storage="int8"))
    half = np.abs(matrix).max(axis=1, keepdims=True) / 254
    assert (np.abs(found["w"].numpy() - matrix) <= half * 1.001 + 1e-30).all()


@given(MATRICES)
def test_half_precision_is_rounded_once(matrix: np.ndarray) -> None:
    found = unpack(pack({"w": torch.from_numpy(matrix)}, storage="fp16"))
    assert np.array_equal(found["w"].numpy(), matrix.astype(np.float16).astype(np.float32))


def test_what_is_no_matrix_stays_as_it_is() -> None:
    weights = {"bias": torch.randn(5), "steps": torch.tensor(3), "w": torch.zeros(2, 3)}
    found = unpack(pack(weights, storage="int8"))
    assert {name: found[name].tolist() for name in weights} == {
        name: tensor.tolist() for name, tensor in weights.items()
    }


def test_half_precision_keeps_what_it_cannot_hold() -> None:
    """The last layer of a classifier of numbers is in their unit."""
    weights = {"bias": torch.tensor([2010.4]), "w": torch.tensor([[3e5, 1.0]])}
    found = unpack(pack(weights, storage="fp16"))
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())


@pytest.fixture(scope="module")
def folder(demo_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_lm(tmp_path_factory.mktemp("lm") / "lm", demo_corpus).folder


@pytest.mark.parametrize(("storage", "share"), [("int8", 0.4), ("fp16", 0.55)])
def test_the_folder_is_smaller_and_the_model_nearly_the_same(
    folder: Path, tmp_path: Path, storage: str, share: float
) -> None:
    small = compact(folder, tmp_path / "small", storage=storage)
    sizes = [(place / "model.safetensors").stat().st_size for place in (folder, small)]
    assert sizes[1] < share * sizes[0]
    before, after = ulmfit.LanguageModel.load(folder), ulmfit.LanguageModel.load(small)
    assert after.vocab == before.vocab
    assert after.manifest.provenance.parent == before.parts.fingerprint
    assert after.manifest.provenance.notes[-1] == f"weights stored as {storage}"
    ids = torch.randint(9, len(before.vocab), (2, 12), generator=torch.Generator().manual_seed(0))
    gap = (before.logits(ids) - after.logits(ids)).abs().max()
    assert 0 < gap < 0.05 * before.logits(ids).abs().max()


def test_a_pair_stays_a_pair(folder: Path, demo_corpus: Corpus, tmp_path: Path) -> None:
    halves = {
        name: write_tiny_lm(tmp_path / name, demo_corpus, direction=name).folder
        for name in ("forward", "backward")
    }
    pair = save_language_model_pair(tmp_path / "pair", **halves, settings={"lr": 1}).folder
    found = ulmfit.load(compact(pair, tmp_path / "small"))
    assert [lm.direction for lm in found] == ["forward", "backward"]
    assert found.parts.manifest.config == {"lr": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pair", "small"]


@pytest.mark.parametrize("direction", ["backward", "both"])
def test_a_classifier_answers_nearly_the_same(
    demo_corpus: Corpus, tmp_path: Path, direction: str
) -> None:
    whole = write_tiny_classifier(tmp_path / "clf", demo_corpus, direction=direction)
    before, after = (
        ulmfit.load(whole.folder),
        ulmfit.load(compact(whole.folder, tmp_path / "small")),
    )
    assert after.manifest.provenance.notes[-1] == "weights stored as int8"
    assert (after.labels, after.directions) == (before.labels, before.directions)
    for name in whole.manifest.weight_files().values():
        sizes = [(folder / name).stat().st_size for folder in (whole.folder, tmp_path / "small")]
        assert sizes[1] < 0.5 * sizes[0]
    texts = ["a fine film", "dull", ""]
    gap = abs(before.predict_proba(texts) - after.predict_proba(texts)).max()
    assert 0 < gap < 0.02


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("encoder.embedding.weight.scale"),
        lambda tensors: tensors.update({"encoder.embedding.weight.scale": torch.ones(3, 1)}),
        lambda tensors: tensors.update({"encoder.rnns.0.weight_hh.int8": torch.ones(4).char()}),
    ],
)
def test_integers_without_their_scales_are_refused(folder: Path, tmp_path: Path, change) -> None:
    small = compact(folder, tmp_path / "small")
    weights = small / "model.safetensors"
    tensors = load_file(weights)
    change(tensors)
    save_file(tensors, weights)
    manifest = read_json(small / "manifest.json")
    manifest["files"]["model.safetensors"] = hash_file(weights)
    write_json(small / "manifest.json", manifest)
    with pytest.raises(UserError, match=r"model\.safetensors is not a safetensors file"):
        load_language_model(small)


def test_the_model_that_is_read_is_not_replaced(folder: Path) -> None:
    before = hash_file(folder / "model.safetensors")
    for out in (folder, folder / ".." / folder.name, folder / "small"):
        with pytest.raises(UserError, match="is or lies in the model that is read"):
            compact(folder, out)
    assert hash_file(folder / "model.safetensors") == before
    assert not (folder / "small").exists()


@pytest.mark.parametrize("kind", ["lm", "pair", "classifier"])
def test_what_a_stage_has_made_is_not_replaced(
    kind: str, demo_corpus: Corpus, tmp_path: Path
) -> None:
    if kind == "classifier":
        write_tiny_classifier(tmp_path / "made", demo_corpus)
    elif kind == "lm":
        write_tiny_lm(tmp_path / "made", demo_corpus)
    else:
        halves = {
            name: write_tiny_lm(tmp_path / name, demo_corpus, direction=name).folder
            for name in ("forward", "backward")
        }
        save_language_model_pair(tmp_path / "made", **halves, settings={})
    stage = tmp_path / "stage"
    shutil.copytree(tmp_path / "made", stage)
    manifest = read_json(stage / "manifest.json")
    write_json(stage / "manifest.json", manifest | {"config": {"stage": "a_stage", "bs": 4}})
    with pytest.raises(UserError, match="stage is what a_stage made: choose another folder"):
        compact(tmp_path / "made", stage)
    for _ in range(2):  # a copy of it is no stage's, and may be made again
        small = ulmfit.load(compact(stage, tmp_path / "small"))
    provenance = small.parts.manifest if kind == "pair" else small.manifest.provenance
    assert provenance.config == {"bs": 4}


def test_on_the_command_line(folder: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "small"
    assert cli.main(["convert", str(folder), "--to", "int8", "--out", str(out)]) == 0
    assert "language model" in capsys.readouterr().out
    assert cli.main(["convert", str(folder), "--to", "int4", "--out", str(out)]) == 2
    assert "--to is 'int4'; allowed: ulmfit, fastai, int8, fp16" in capsys.readouterr().err
    shutil.rmtree(out)
    assert cli.main(["convert", str(tmp_path), "--to", "int8", "--out", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
