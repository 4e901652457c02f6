"""A corpus, a vocabulary and batches as tables: what stands there is what is in the arrays, and nothing is code."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from test_markup import Reader

import ulmfit
from ulmfit.text.display import COLUMNS, ROWS, vocab_html
from ulmfit.text.rules import CONTROL_TOKENS
from ulmfit.text.vocab import Vocab

EVIL = "<script>alert('1')</script>"
TEXT = f"{EVIL} a &amp; b"
CONFIG = ulmfit.TextConfig(min_freq=1, rules="none")


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> ulmfit.Corpus:
    """A corpus whose texts, labels, name and folder are markup; some rows have no label."""
    rows = [(TEXT * (1 + i), f"<b>{i % 2}</b>", "train") for i in range(8)]
    rows += [(TEXT, "<b>1</b>", "test"), (TEXT, "", "unsup")]
    frame = pd.DataFrame(rows, columns=["text", "label", "split"])
    out = tmp_path_factory.mktemp("display") / "<u>"
    return ulmfit.prepare(frame, out, split="split", config=CONFIG)


def test_a_corpus_shows_its_splits(evil: ulmfit.Corpus) -> None:
    seen = Reader(evil._repr_html_())
    rows = [seen.cells[i : i + 6] for i in range(7, len(seen.cells), 6)]
    assert [row[:2] for row in rows] == [["train", "8"], ["test", "1"], ["unsup", "1"]]
    assert [row[5].split("note:")[0] for row in rows[:2]] == [
        "<b>0</b> 4, <b>1</b> 4",
        "<b>1</b> 1",
    ]
    n_tokens = [sum(len(evil[i]) for i in evil.rows(name)) for name in ("train", "test", "unsup")]
    assert [int(row[2]) for row in rows] == n_tokens
    assert evil.text(0) in seen.text and str(evil.folder) in seen.text
    assert not {"script", "u"} & set(seen.tags)


def test_label_counts_of_a_split_add_up(demo_corpus: ulmfit.Corpus) -> None:
    counts = [demo_corpus.label_counts(name) for name in ("train", "valid", "test", "unsup")]
    for name, whole in demo_corpus.label_counts().items():
        assert whole == sum(count[name] for count in counts) > 0


def test_an_empty_text_is_no_reason_to_fail(tmp_path: Path) -> None:
    config = ulmfit.TextConfig(min_freq=1, on_empty="keep")
    assert "1 documents" in ulmfit.prepare([""], tmp_path / "c", config=config)._repr_html_()


@pytest.mark.parametrize("n_words", [0, 1, 40, 41, 79, 200])
def test_a_vocabulary_shows_its_ends_once(n_words: int) -> None:
    words = [*CONTROL_TOKENS, *(f"<w{i}>" for i in range(n_words))]
    seen = Reader(vocab_html(Vocab(words)))
    shown = [token for cell in seen.cells for token in cell.split() if token in words]
    assert shown == [*words[:49], *words[max(49, len(words) - 40) :]]
    assert seen.tags.count("code") == len(shown)


def test_a_batch_of_a_language_model_shows_what_comes_next(demo_corpus: ulmfit.Corpus) -> None:
    dls = ulmfit.lm_dataloaders(demo_corpus, bs=8, seq_len=30, valid=("test",), device="cpu")
    read, following = dls.train.one_batch()
    cells = Reader(dls.train._repr_html_()).cells
    assert cells[1:4] == ["row", "reads", "has to say next"]
    for row in range(ROWS):
        first, later = (demo_corpus.vocab.decode(part[row].tolist()) for part in (read, following))
        shown = cells[4 + 3 * row : 7 + 3 * row]
        assert shown == [str(row), *(_joined(part) for part in (first, later))]
    assert dls._repr_html_() == dls.train._repr_html_()  # `dls` in a notebook shows the first


def test_a_batch_of_a_classifier_shows_padding_and_labels(evil: ulmfit.Corpus) -> None:
    dls = ulmfit.classifier_dataloaders(evil, bs=8, valid="unsup", device="cpu")
    ids, lengths, labels = dls.train.one_batch()
    seen = Reader(dls.train._repr_html_())
    rows = [seen.cells[5 + 4 * row : 9 + 4 * row] for row in range(ROWS)]
    for row, n, label, shown in zip(ids, lengths.tolist(), labels.tolist(), rows, strict=False):
        padding = sum(id_ == 1 for id_ in row.tolist())
        assert shown[:3] == [f"<b>{label}</b>", str(n), str(padding)]
        assert shown[3].split().count("xxpad") == min(padding, COLUMNS // 2)
    assert "script" not in seen.tags
    assert Reader(dls.valid._repr_html_()).cells[5] == ""  # without a label


@pytest.mark.parametrize("value", [1.5, float("nan")])
def test_a_number_is_shown_as_such(tmp_path: Path, value: float) -> None:
    frame = pd.DataFrame({"text": ["a b", "c d"], "label": [2.0, value]})
    config = ulmfit.TextConfig(min_freq=1, label_kind="number")
    corpus = ulmfit.prepare(frame, tmp_path / "c", config=config)
    shown = ulmfit.classifier_dataloaders(corpus, bs=2, valid="train", device="cpu").valid
    assert Reader(shown._repr_html_()).cells[5::4] == ["2", "1.5" if value == 1.5 else ""]


def test_several_labels_are_listed(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["a b", "c d", "e"], "x": [1, 0, 0], "<y>": [1, 1, 0]})
    corpus = ulmfit.prepare(frame, tmp_path / "c", label=("x", "<y>"), config=CONFIG)
    shown = ulmfit.classifier_dataloaders(corpus, bs=3, valid="train", device="cpu").valid
    assert sorted(Reader(shown._repr_html_()).cells[5::4]) == ["", "<y>", "x, <y>"]


def _joined(tokens: list[str]) -> str:
    return " ".join(token.replace("\n", "⏎") for token in tokens[:COLUMNS])
