"""From a source to a corpus folder: ids against stock fastai, and everything that can go wrong on the way."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ulmfit
from ulmfit import TextConfig, UserError, prepare
from ulmfit.recipe import RECIPE
from ulmfit.text import document_batches, parts
from ulmfit.text import prepare as module
from ulmfit.text.check import check
from ulmfit.text.corpus import Corpus
from ulmfit.text.parts import Parts
from ulmfit.text.tokenizers import build_tokenizer

ALL_WORDS = TextConfig(min_freq=1)


def fastai_ids(texts: list[str], *, min_freq: int) -> tuple[list[str], list[list[int]]]:
    """The vocabulary and the ids that fastai's own pipeline makes."""
    from fastai.text.core import tokenize_texts
    from fastai.text.data import Numericalize

    tokens = tokenize_texts(texts, n_workers=0)
    numericalize = Numericalize(min_freq=min_freq)
    numericalize.setup(tokens)
    return list(numericalize.vocab), [numericalize(t).tolist() for t in tokens]


def ids_of(corpus: Corpus) -> list[list[int]]:
    return [corpus[i].tolist() for i in range(len(corpus))]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("min_freq", [1, 3])
def test_vocabulary_and_ids_are_fastais(
    demo_frame: pd.DataFrame, tmp_path: Path, min_freq: int
) -> None:
    texts = demo_frame.text[:300].tolist()
    corpus = prepare(texts, tmp_path / "c", config=TextConfig(min_freq=min_freq, fake_tokens=True))
    vocab, ids = fastai_ids(texts, min_freq=min_freq)
    assert list(corpus.vocab) == vocab
    assert ids_of(corpus) == ids


def test_what_a_language_model_knows_stays_known(tmp_path: Path) -> None:
    general = prepare(["a dull plot", "a fine film"], tmp_path / "general", config=ALL_WORDS)
    texts = ["a fine score", "a fine fine film", "a score of one film"]
    plain = prepare(texts, tmp_path / "plain", config=TextConfig(min_freq=2))
    union = prepare(texts, tmp_path / "union", config=TextConfig(min_freq=2), known=general.vocab)
    assert list(union.vocab)[: len(general.vocab)] == list(general.vocab)
    assert list(union.vocab)[len(general.vocab) :] == ["score"]  # `of` and `one` are rare in both
    for row in range(len(texts)):
        known = set(general.vocab) | set(plain.vocab)
        words = build_tokenizer(TextConfig()).tokenize([texts[row]])
        assert union.tokens(row) == [w if w in known else "xxunk" for w in next(iter(words))]
    assert union.fingerprint != plain.fingerprint
    before = files_of(tmp_path / "union")
    prepare(texts, tmp_path / "union", config=TextConfig(min_freq=2), known=general.vocab)
    assert files_of(tmp_path / "union") == before


def test_numbers_of_a_column_with_gaps_are_those_of_one_without(tmp_path: Path) -> None:
    texts = ["fine", "dull", "fair"]
    gaps = pd.DataFrame({"text": texts, "label": [1, 0, None]})
    gaps.to_csv(tmp_path / "train.csv", index=False)  # 1.0, 0.0 and nothing
    pd.DataFrame({"text": texts[:2], "label": [1, 0]}).to_csv(tmp_path / "test.csv", index=False)
    files = {"train": tmp_path / "train.csv", "test": tmp_path / "test.csv"}
    corpus = prepare(files, tmp_path / "corpus", config=ALL_WORDS)
    assert corpus.label_names == ("0", "1") and corpus.labels.tolist() == [1, 0, -1, 1, 0]
    assert any("'1.0' and '1'" in notice for notice in corpus.manifest.notices)
    report = check(files, config=ALL_WORDS)
    assert "count as one" in str(report) and "unseen labels" not in str(report)


def test_two_columns_are_marked_as_fastai_marks_them(tmp_path: Path) -> None:
    from fastai.text.core import tokenize_df

    frame = pd.DataFrame({"title": ["Good film", "1"], "body": ["SO so so so dull...", "1 1 end"]})
    corpus = prepare(frame, tmp_path / "c", text=("title", "body"), label=None, config=ALL_WORDS)
    stock, _ = tokenize_df(frame, ["title", "body"], n_workers=0)
    assert [corpus.tokens(i) for i in range(2)] == [list(t) for t in stock["text"]]


def test_test_text_is_not_counted_unless_it_is_named(
    tiny_frame: pd.DataFrame, tmp_path: Path
) -> None:
    tiny_frame.loc[tiny_frame.split == "test", "text"] = "a zebra met a zebra"
    clean = prepare(tiny_frame, tmp_path / "a", split="split")
    assert "zebra" not in clean.vocab
    assert clean.manifest.splits["test"].unknown == 4 * 5
    wide = TextConfig(vocab_splits=("train", "test"))
    assert "zebra" in prepare(tiny_frame, tmp_path / "b", split="split", config=wide).vocab


def test_unknown_counts_are_those_of_a_loop(demo_corpus: Corpus) -> None:
    for name, split in demo_corpus.manifest.splits.items():
        ids = Counter(i for row in demo_corpus.rows(name) for i in demo_corpus[row].tolist())
        assert (split.tokens, split.unknown) == (ids.total(), ids[0])
        assert split.documents == len(demo_corpus.rows(name))


def test_any_number_of_workers_writes_the_same_bytes(
    demo_frame: pd.DataFrame, tmp_path: Path
) -> None:
    demo_frame.to_csv(tmp_path / "demo.csv", index=False)
    for n in (0, 1, 2):
        prepare(tmp_path / "demo.csv", tmp_path / f"w{n}", split="split", n_workers=n)
    assert files_of(tmp_path / "w0") == files_of(tmp_path / "w1") == files_of(tmp_path / "w2")


@pytest.mark.parametrize("tokenizer", ["word", "subword"])
@pytest.mark.parametrize("n_workers", [0, 2])
def test_forgetting_tokens_on_the_way_changes_nothing(
    demo_frame: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tokenizer: str,
    n_workers: int,
) -> None:
    source, add, sizes = tmp_path / "demo.csv", Parts.add, []
    demo_frame.to_csv(source, index=False)
    some = TextConfig(tokenizer=tokenizer, min_freq=2, max_vocab=400)
    prepare(source, tmp_path / "once", split="split", config=some)
    monkeypatch.setattr(
        Parts, "add", lambda parts, part: sizes.append(part.n_running) or add(parts, part)
    )
    monkeypatch.setattr(document_batches, "BATCH_DOCUMENTS", 400)
    monkeypatch.setattr(module, "MAX_TOKENS", 300)
    often = prepare(source, tmp_path / "often", split="split", config=some, n_workers=n_workers)
    assert files_of(tmp_path / "once") == files_of(tmp_path / "often")
    assert len(sizes) > 3
    assert sum(sizes) == len(often.ids)


def test_a_full_disk_while_tokens_are_counted_is_one_line(
    demo_frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(document_batches, "BATCH_DOCUMENTS", 40)
    monkeypatch.setattr(module, "MAX_TOKENS", 300)
    monkeypatch.setattr(parts, "_store", full)
    with pytest.raises(UserError, match=r"cannot write .*out: No space left on device; free"):
        prepare(demo_frame, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_warm_memory_changes_nothing(
    demo_frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = demo_frame.text[:200].tolist()
    monkeypatch.setenv("ULMFIT_CACHE", str(tmp_path / "cache"))
    prepare(texts, tmp_path / "cold")
    assert list((tmp_path / "cache").iterdir())
    prepare(texts, tmp_path / "warm")
    assert files_of(tmp_path / "cold") == files_of(tmp_path / "warm")


@pytest.mark.parametrize("tokenizer", ["word", "subword", "char"])
def test_a_corpus_is_kept_until_something_changes(
    demo_frame: pd.DataFrame, tmp_path: Path, tokenizer: str
) -> None:
    config = TextConfig(tokenizer=tokenizer, max_vocab=500)
    texts, out = demo_frame.text[:200].tolist(), tmp_path / "c"
    before = prepare(texts, out, config=config).fingerprint
    written = (out / "manifest.json").stat().st_mtime_ns
    prepare(texts, out, config=config)
    assert (out / "manifest.json").stat().st_mtime_ns == written
    changed = prepare(texts, out, config=TextConfig(tokenizer=tokenizer, max_vocab=400))
    assert changed.fingerprint != before
    assert prepare(texts[1:], out, config=config).fingerprint not in (before, changed.fingerprint)


def test_a_given_subword_model_is_copied_and_reused(
    demo_frame: pd.DataFrame, tmp_path: Path
) -> None:
    config = TextConfig(tokenizer="subword", max_vocab=400)
    first = prepare(demo_frame.text[:300].tolist(), tmp_path / "a", config=config)
    model = tmp_path / "a" / "tokenizer" / "subwords.model"
    given = TextConfig(tokenizer="subword", max_vocab=400, sp_model=str(model))
    second = prepare(["a film nobody has seen"], tmp_path / "b", config=given)
    assert list(second.vocab) == list(first.vocab)
    assert second.text(0) == "a film nobody has seen"
    assert (tmp_path / "b" / "tokenizer" / "subwords.model").read_bytes() == model.read_bytes()


def test_odd_characters_are_text(tmp_path: Path) -> None:
    texts = [
        "a\x00b zero",
        "line\u2028separator",
        "xxpad xxbos XXUP",
        "lone \ud800 surrogate",
        "﷽" * 50,
    ]
    corpus = prepare(texts, tmp_path / "c", config=ALL_WORDS)
    assert "a\x00b" in corpus.tokens(0)
    assert corpus.tokens(1) == ["xxbos", "line", "\u2028", "separator"]
    assert corpus.ids[corpus.offsets[2] : corpus.offsets[3]].tolist().count(2) == 1
    assert not {1, 3, 4, 5, 6} & set(corpus.ids.tolist()[: corpus.offsets[4]])
    assert corpus.text(3) == "lone \ufffd surrogate"


@pytest.mark.timeout(60)
def test_a_word_of_five_megabytes_is_cut(tmp_path: Path) -> None:
    texts = ["ordinary words", "ab!?" * 1_250_000, "ordinary words"]
    corpus = prepare(texts, tmp_path / "c", config=ALL_WORDS)
    assert corpus.tokens(0) == corpus.tokens(2) == ["xxbos", "ordinary", "words"]
    assert corpus.characters[1] == 5_000_000


def test_labels_have_codes_and_names(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": list("abcd"), "label": ["10", "9", None, "10"]})
    corpus = prepare(frame, tmp_path / "c", config=ALL_WORDS)
    assert corpus.label_names == ("9", "10")  # numbers in names count as numbers
    assert np.asarray(corpus.labels).tolist() == [1, 0, -1, 1]
    assert [corpus.label(i) for i in range(4)] == ["10", "9", "", "10"]
    assert corpus.label_counts() == {"9": 1, "10": 2}


def test_several_labels_and_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"text": list("abc"), "dull": [1, 0, 1], "long": [1, 1, 0], "stars": [1.5, None, 4]}
    )
    multi = prepare(frame, tmp_path / "m", label=("dull", "long"), config=ALL_WORDS)
    assert np.asarray(multi.labels).tolist() == [[1, 1], [0, 1], [1, 0]]
    assert multi.label(0) == "dull, long"
    more = frame.assign(zero=0)
    kept = prepare(more, tmp_path / "k", label=["long", "zero", "dull"], config=ALL_WORDS)
    assert kept.label_names == ("long", "zero", "dull")
    assert np.asarray(kept.labels).tolist() == [[1, 0, 1], [1, 0, 0], [0, 0, 1]]
    assert kept.label_counts() == {"long": 2, "zero": 0, "dull": 2}
    config = TextConfig(min_freq=1, label_kind="number")
    number = prepare(frame, tmp_path / "n", label="stars", config=config)
    assert np.isnan(number.labels[1])
    assert [number.label(i) for i in range(3)] == ["1.5", "", "4"]


# --- bad input: one line, nothing half-written


def refused(call, out: Path) -> str:
    """Run something that has to be refused in one line, and leave no trace of it at `out`."""
    with pytest.raises(UserError) as error:
        call()
    assert "\n" not in str(error.value)
    assert not out.exists()
    assert [p.name for p in out.parent.iterdir() if p.name.endswith((".part", ".old"))] == []
    return str(error.value)


def test_one_label_is_refused(tiny_frame: pd.DataFrame, tmp_path: Path) -> None:
    tiny_frame["label"] = "pos"
    said = refused(lambda: prepare(tiny_frame, tmp_path / "c"), tmp_path / "c")
    assert "'pos'" in said and "--label none" in said


def test_a_label_that_only_the_test_split_has_is_refused(
    tiny_frame: pd.DataFrame, tmp_path: Path
) -> None:
    tiny_frame.loc[tiny_frame.split == "test", "label"] = "neq"
    said = refused(lambda: prepare(tiny_frame, tmp_path / "c", split="split"), tmp_path / "c")
    assert "'neq' of 4 document(s) in split test" in said and "did you mean 'neg'?" in said


def test_no_text_to_count_is_refused(tiny_frame: pd.DataFrame, tmp_path: Path) -> None:
    config = TextConfig(vocab_splits=("unsup",))
    said = refused(lambda: prepare(tiny_frame, tmp_path / "c", config=config), tmp_path / "c")
    assert "unsup" in said and "--vocab-splits" in said


def test_a_full_disk_is_one_line_and_no_folder(
    tiny_frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "_write_ids", full)
    said = refused(lambda: prepare(tiny_frame, tmp_path / "c"), tmp_path / "c")
    assert "No space left on device" in said and str(tmp_path / "c") in said


def test_an_interrupted_run_keeps_the_corpus_before(
    tiny_frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "c"
    before = prepare(tiny_frame, out).fingerprint

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_write_arrays", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(tiny_frame[:8], out)
    assert Corpus.load(out).fingerprint == before
    assert os.listdir(tmp_path) == ["c"]


def test_the_corpus_of_a_run_is_left_alone(tiny_frame: pd.DataFrame, tmp_path: Path) -> None:
    before = prepare(tiny_frame, tmp_path / "c").fingerprint
    (tmp_path / RECIPE).write_text("{}")
    for rows, config in ((8, TextConfig()), (12, TextConfig(min_freq=2))):
        with pytest.raises(UserError, match="c is the corpus of a run, of other texts or settings"):
            prepare(tiny_frame[:rows], tmp_path / "c", config=config)
    assert prepare(tiny_frame, tmp_path / "c").fingerprint == before
    assert prepare(tiny_frame[:8], tmp_path / "c", restart=True).fingerprint != before


def test_a_folder_that_is_not_ours_is_left_alone(tiny_frame: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(UserError, match="not an artefact folder"):
        prepare(tiny_frame, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "ten years of work"


def test_a_language_model_is_not_overwritten(tiny_frame: pd.DataFrame, tmp_path: Path) -> None:
    manifest = tmp_path / "lm" / "manifest.json"
    manifest.parent.mkdir()
    manifest.write_text('{"kind": "language_model"}')
    with pytest.raises(UserError, match="holds language_model, not a corpus"):
        prepare(tiny_frame, tmp_path / "lm")
    assert manifest.read_text() == '{"kind": "language_model"}'


@pytest.mark.parametrize("name", ["vocab.json", "ids.npy"])
def test_preparing_again_repairs_a_damaged_corpus(
    tiny_frame: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    prepare(tiny_frame, tmp_path / "c")
    whole = files_of(tmp_path / "c")
    (tmp_path / "c" / name).write_bytes(b"")
    prepare(tiny_frame, tmp_path / "c")
    assert files_of(tmp_path / "c") == whole


def test_a_negative_number_of_workers_is_refused(tiny_frame: pd.DataFrame, tmp_path: Path) -> None:
    said = refused(lambda: prepare(tiny_frame, tmp_path / "c", n_workers=-1), tmp_path / "c")
    assert "--workers is -1" in said


# --- a corpus elsewhere


def test_a_corpus_is_read_without_tokenizers_or_fastai(demo_corpus: Corpus) -> None:
    code = f"""
import sys, json
for name in ("spacy", "sentencepiece", "fastai", "torch", "pandas"):
    sys.modules[name] = None
import ulmfit
corpus = ulmfit.load({str(demo_corpus.folder)!r})
print(json.dumps([corpus.text(0), corpus[1].tolist(), corpus.label(0), str(corpus)]))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = json.loads(run.stdout)
    assert said == [
        demo_corpus.text(0),
        demo_corpus[1].tolist(),
        demo_corpus.label(0),
        str(demo_corpus),
    ]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's VmHWM")
def test_memory_does_not_depend_on_the_corpus(demo_frame: pd.DataFrame, tmp_path: Path) -> None:
    # Not ru_maxrss, which begins with what the parent had when it forked.
    code = """
import sys, ulmfit
ulmfit.prepare(sys.argv[1], sys.argv[2])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    peaks = []
    for times in (2, 20):
        path = tmp_path / f"{times}.csv"
        pd.concat([demo_frame] * times).to_csv(path, index=False)
        argv = [sys.executable, "-c", code, str(path), str(tmp_path / f"c{times}")]
        run = subprocess.run(argv, capture_output=True, text=True, check=True)
        peaks.append(int(run.stdout))
    assert peaks[1] < 1.1 * peaks[0], peaks


@pytest.mark.slow
def test_imdb_with_its_unlabelled_half(real_data: Path, tmp_path: Path) -> None:
    corpus = ulmfit.prepare("imdb", tmp_path / "c", data_dir=real_data)
    sizes = {name: split.documents for name, split in corpus.manifest.splits.items()}
    assert sizes == {"train": 25_000, "test": 25_000, "unsup": 50_000}
    assert len(corpus.vocab) == 60_000
    assert corpus.label_counts() == {"neg": 25_000, "pos": 25_000}
