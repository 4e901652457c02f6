"""The English language model that travels with the package: small, whole, in both directions, and it knows English."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

import ulmfit
from ulmfit.config import PRESETS, TextConfig
from ulmfit.errors import UserError
from ulmfit.inference.pair import open_lm
from ulmfit.models import catalogue
from ulmfit.models.pretrained import load_pretrained, open_language_model
from ulmfit.recipe import first_model
from ulmfit.stages.direction import resolve_direction

# Written for this test.
PARAGRAPH = (
    "The old mill stands at the end of the village, where the river is wide and slow. It was built in the "
    "eighteenth century by a family of bakers, and for two hundred years it ground the corn of the whole valley. "
    "After the war the wheel was taken down, and the building became a school."
)
MOST_MB = 48


@pytest.fixture(scope="module")
def pair() -> ulmfit.LanguageModelPair:
    return ulmfit.load_pretrained("en")


def test_it_is_small(pair: ulmfit.LanguageModelPair) -> None:
    n_bytes = sum(path.stat().st_size for path in pair.folder.rglob("*") if path.is_file())
    assert n_bytes < MOST_MB * 1e6


def test_both_directions_read_the_same_pieces(pair: ulmfit.LanguageModelPair) -> None:
    assert [lm.direction for lm in pair] == ["forward", "backward"]
    assert pair.forward.vocab == pair.backward.vocab
    assert pair.text_config().tokenizer == "subword"


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_english_is_foreseen_and_its_words_in_disorder_are_not(
    pair: ulmfit.LanguageModelPair, direction: str
) -> None:
    words = PARAGRAPH.split()
    random.Random(0).shuffle(words)
    lm = getattr(pair, direction)
    english, disorder = lm.score([PARAGRAPH, " ".join(words)])
    # Ordinary compression by words and their frequencies needs about 2.1 bits a character or more.
    assert english.bits_per_character < 2.0
    assert disorder.bits_per_character > english.bits_per_character + 0.4


def test_it_goes_by_name_and_by_folder(pair: ulmfit.LanguageModelPair) -> None:
    assert open_language_model("en").folder == open_language_model(pair.folder).folder
    assert isinstance(open_lm("en"), ulmfit.LanguageModelPair)


def test_one_direction_is_taken_unless_more_is_asked_for(pair: ulmfit.LanguageModelPair) -> None:
    asked = ("auto", "forward", "backward", "both")
    found = [resolve_direction(pair, direction) for direction in asked]
    assert found == ["forward", "forward", "backward", "both"]


def test_who_begins_from_it() -> None:
    laptop, words = PRESETS["laptop"], TextConfig()
    assert first_model(None, laptop, is_pretraining=False) == "en"
    assert first_model(None, PRESETS["tiny"], is_pretraining=False) == "en"
    assert first_model(None, laptop, is_pretraining=True) is None
    assert first_model("none", laptop, is_pretraining=False) is None
    assert first_model(None, words, is_pretraining=False) is None
    assert first_model("wt103-fwd", words, is_pretraining=False) == "wt103-fwd"


def test_a_corpus_of_the_presets_fits_it(pair: ulmfit.LanguageModelPair, tmp_path) -> None:
    corpus = ulmfit.prepare([PARAGRAPH], tmp_path / "corpus", config=PRESETS["tiny"])
    assert corpus.vocab == pair.forward.vocab


def test_an_installation_without_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(catalogue, "PACKAGED", (tmp_path,))
    with pytest.raises(UserError, match="'en' is not part of this installation"):
        load_pretrained("en")


def test_an_import_does_not_read_it() -> None:
    code = "import sys, ulmfit; sys.exit('torch' in sys.modules or 'safetensors' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
