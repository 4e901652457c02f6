"""`import ulmfit` and `ulmfit --help` load nothing heavy, and every public name is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ulmfit

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {
    "numpy",
    "pandas",
    "torch",
    "fastai",
    "spacy",
    "sklearn",
    "matplotlib",
    "sentencepiece",
    "tyro",
}


def modules_after(code: str) -> set[str]:
    """Run code in a fresh interpreter and list the top-level modules it loaded."""
    code += (
        "\nimport json, sys; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_is_light() -> None:
    assert not HEAVY & modules_after(
        "import ulmfit; ulmfit.TextConfig; ulmfit.UserError; dir(ulmfit)"
    )


def test_help_is_light() -> None:
    assert not HEAVY & modules_after(
        "from ulmfit.cli import main; main(['--help']); main(['prepar'])"
    )


def test_flags_of_a_verb_need_no_learning_library() -> None:
    code = "from ulmfit.cli import main; main(['prepare', '--help']); main(['check', '--help'])"
    assert not (HEAVY - {"tyro", "numpy"}) & modules_after(code)


def test_preparing_needs_neither_torch_nor_fastai(tmp_path: Path) -> None:
    """spaCy loads torch by itself where it finds it, so the parts without spaCy are asked."""
    code = "import ulmfit.text.sources, ulmfit.text.vocab, ulmfit.text.prepare, ulmfit.text.corpus"
    assert not {"torch", "fastai", "spacy"} & modules_after(code)


@pytest.mark.parametrize("name", ulmfit.__all__)
def test_public_name(name: str) -> None:
    assert getattr(ulmfit, name).__doc__
    assert name in dir(ulmfit)


def test_lazy_names_are_the_public_names() -> None:
    assert set(ulmfit._HOMES) | {"load"} == set(ulmfit.__all__)
    assert set(ulmfit.KINDS.values()) <= set(ulmfit.__all__)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'pretrain'"):
        _ = ulmfit.pretrain


def test_load_returns_the_object_that_was_written(demo_corpus: ulmfit.Corpus) -> None:
    loaded = ulmfit.load(demo_corpus.folder)
    assert type(loaded) is ulmfit.Corpus
    assert list(loaded.vocab) == list(demo_corpus.vocab)


@pytest.mark.parametrize("manifest", [None, '{"kind": "cake"}', "[]", "{"])
def test_load_refuses_other_folders(tmp_path: Path, manifest: str | None) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(ulmfit.UserError, match=r"manifest\.json"):
        ulmfit.load(tmp_path)
