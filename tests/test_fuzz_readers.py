"""Texts as an enemy would write them: every reader gives rows or one line, in bounded time and memory."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hostile import DEPTHS, JSON, damaged, examples, lawful, nested
from hypothesis import given
from hypothesis import strategies as st

import ulmfit
from tests.hostile import peak_mb
from ulmfit import TextConfig
from ulmfit.errors import UserError, nearest
from ulmfit.text import streams
from ulmfit.text.corpus import Corpus
from ulmfit.text.rows import Rows, lines_of, texts_of
from ulmfit.text.sources import open_source

MB = 1 << 20
ROWS = 'text,label,split\n"a ""fine"" film,\nindeed",pos,train\nß dull,neg,train\nso so,pos,test\n'
LINES = (
    '{"text": "a fine film", "label": "pos"}\n'
    '{"text": "dull \\ud83d", "label": 3, "more": [1]}\n'
    '{"text": null, "label": "pos"}\n'
)
KINDS = st.sampled_from(["category", "number"])


def read(path: Path, kind: str = "category", *, split: str | None = None) -> Any:
    """Read a file in every way: as documents with labels, and as rows for answers."""
    config = TextConfig(label_kind=kind)
    source = open_source(path, config=config, split=split)
    found = [batch.labels for batch in source.batches()], source.fingerprint(), source.notices
    rows = Rows(texts_of(path))
    return found, rows.columns, [row.cells for row in rows]


def files(folder: Path) -> dict[str, tuple[Path, bytes]]:
    """Write an honest file of each kind."""
    table = pd.DataFrame({"text": ["a fine film", "dull", None], "label": ["pos", "neg", "pos"]})
    parquet = io.BytesIO()
    table.to_parquet(parquet)
    import zstandard

    content = {
        "d.csv": ROWS.encode(),
        "d.tsv": ROWS.replace(",", "\t").encode(),
        "d.jsonl": LINES.encode(),
        "d.txt": "﻿one text,\nwhole".encode(),
        "d.csv.gz": gzip.compress(ROWS.encode()),
        "d.csv.zst": zstandard.compress(ROWS.encode()),
        "d.parquet": parquet.getvalue(),
    }
    return {name: (folder / name, text) for name, text in content.items()}


@pytest.mark.parametrize("n", DEPTHS)
@pytest.mark.parametrize("name", files(Path()))
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path: Path, name: str, n: int) -> None:
    path, whole = files(tmp_path)[name]
    path.write_bytes(whole)
    read(path)  # whole, it is read

    @examples(n)
    @given(damaged(whole), KINDS, st.sampled_from([None, "split"]))
    def law(content: bytes, kind: str, split: str | None) -> None:
        path.write_bytes(content)
        lawful(lambda: read(path, kind, split=split))

    law()


@pytest.mark.parametrize("n", DEPTHS)
@pytest.mark.parametrize("delim", [None, ";"])
def test_json_of_any_kind_is_read_or_refused(tmp_path: Path, delim: str | None, n: int) -> None:
    path = tmp_path / "d.jsonl"
    config = TextConfig(label_delim=delim)

    @examples(n)
    @given(st.lists(st.fixed_dictionaries({"text": JSON, "label": JSON}) | JSON, max_size=4))
    def law(records: list[Any]) -> None:
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        lawful(lambda: list(open_source(path, config=config).batches()))
        lawful(lambda: [row.cells for row in Rows(texts_of(path))])

    law()


TEXTS = st.lists(st.text(st.characters(), max_size=20), min_size=2, max_size=5)
CONFIGS = st.sampled_from(
    [TextConfig(min_freq=1, tokenizer=t, max_vocab=300, label_kind="category") for t in ("word", "char")]
)  # fmt: skip


@pytest.mark.parametrize("n", [15, *DEPTHS[1:]])
def test_any_unicode_is_prepared_and_comes_back(tmp_path: Path, n: int) -> None:
    @examples(n)
    @given(TEXTS, st.lists(st.text(st.characters(), max_size=4), min_size=2, max_size=5), CONFIGS)
    def law(texts: list[str], labels: list[str], config: TextConfig) -> None:
        frame = pd.DataFrame({"text": pd.Series(texts, dtype=object)})
        frame["label"] = pd.Series((labels * 3)[: len(texts)], dtype=object)
        corpus = lawful(lambda: ulmfit.prepare(frame, tmp_path / "c", config=config))
        if corpus is not None:
            again = Corpus.load(tmp_path / "c")
            assert list(again.vocab) == list(corpus.vocab)
            assert again.label_names == corpus.label_names
            assert [again.label(i) for i in range(len(again))]
            str(again), again._repr_html_()

    law()


def test_a_file_whose_name_is_no_text_is_prepared(tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9.csv"
    try:
        path.write_text("text,label\na fine film,pos\ndull,neg\n")
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    corpus = ulmfit.prepare(path, tmp_path / "c", config=TextConfig(min_freq=1))
    assert Corpus.load(tmp_path / "c").manifest.name == corpus.manifest.name


# --- what is too large, too deep or too long


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make what is too long a megabyte, so that it is quickly written."""
    from ulmfit.text import csv_table, rows

    for module in (streams, csv_table, rows):
        monkeypatch.setattr(module, "LIMIT_BYTES", MB)


LONG = {
    "one cell": ("d.csv", b"text,label\n" + b"a" * 40 * MB + b",pos\n"),
    "open quote": ("d.csv", b'text,label\n"' + b"a fine film,pos\n" * (40 * MB // 16)),
    "open quotes": ("d.csv", b"text,label\n" + b'"\n",' * (8 * MB)),
    "one line": ("d.jsonl", b'{"text": "' + b"a" * 40 * MB + b'"}\n'),
    "one document": ("d.txt", b"a" * 40 * MB),
    "header": ("d.csv", b"a" * 40 * MB),
}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.usefixtures("small_limit")
def test_what_is_too_long_is_refused_in_bounded_memory(
    tmp_path: Path, name: str, suffix: str
) -> None:
    file, content = LONG[name]
    path = tmp_path / (file + suffix)
    path.write_bytes(gzip.compress(content, 1) if suffix else content)
    with pytest.raises(UserError, match="longer than 1 MB"):
        read(path)
    assert peak_mb(lambda: lawful(lambda: read(path))) < 20


@pytest.mark.usefixtures("small_limit")
def test_a_line_of_stdin_that_is_too_long_is_refused() -> None:
    stream = io.BytesIO(b"short\n" + b"a" * 2 * MB)
    with pytest.raises(UserError, match="stdin, line 2: longer than 1 MB"):
        list(Rows(lines_of(stream)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.jsonl", b'{"text": ' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"),
        ("d.jsonl", b'{"a":' * 1_000_000),
        ("d.jsonl", b'{"text": ' + b"9" * 1_000_000 + b"}"),
        ("d.jsonl", b'{"text": "a", "label": 1e999}\n{"text": "b", "label": NaN}'),
        ("d.csv", b"text,label\na,b\0c\nd,\0\n"),
        ("d.csv", b"text,label\n\xff\xfe,pos\n"),
        ("d.csv", b"," * 300_000 + b"\na\n"),
        ("d.csv", b"text,label\n\r\r\r,\n"),
        ("d.csv", b"text,text\na,b\n"),
        ("d.tsv", b"\n\n\n"),
        ("d.csv", "text,label\n\u2028\x85,\ufeff\n".encode()),
        ("d.parquet", b"PAR1" + bytes(100) + b"PAR1"),
        ("d.parquet", b"PAR1\xff\xff\xff\x7fPAR1"),
        ("d.csv.xz", b"\xfd7zXZ\0"),
        ("d.csv.bz2", b"BZh9" + b"\xff" * 50),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["category", "number"])
def test_a_known_trick_is_read_or_refused(
    tmp_path: Path, name: str, content: bytes, kind: str
) -> None:
    (tmp_path / name).write_bytes(content)
    lawful(lambda: read(tmp_path / name, kind))


def test_parquet_of_any_type_is_read_or_refused(tmp_path: Path) -> None:
    import datetime

    import pyarrow as pa
    from pyarrow import parquet

    path = tmp_path / "d.parquet"
    columns = [
        pa.array([b"\xff\xfe", b"a"], pa.binary()),
        pa.array([1, 2], pa.uint64()),
        pa.array([2**62, 1], pa.timestamp("us")),
        pa.array([2**31 - 1, 1], pa.date32()),
        pa.array([[1], [2]], pa.list_(pa.int8())),
        pa.array([{"a": 1}, None], pa.struct([("a", pa.int8())])),
        pa.array(["x", "y"]).dictionary_encode(),
        pa.array([None, None], pa.null()),
        pa.array([datetime.timedelta(1), None], pa.duration("us")),
        pa.Array.from_buffers(pa.utf8(), 1, [None, pa.py_buffer(bytes([0, 0, 0, 0, 2, 0, 0, 0])), pa.py_buffer(b"\xff\xfe")]),
    ]  # fmt: skip
    for one in columns:
        for other in columns:
            n = min(len(one), len(other))
            table = pa.table([one[:n], other[:n]], names=["text", "label"])
            parquet.write_table(table, path)
            lawful(lambda: read(path))
    parquet.write_table(pa.table([columns[1], columns[1]], names=["text", "text"]), path)
    lawful(lambda: read(path))


def test_names_that_are_no_names_are_compared_in_no_time() -> None:
    said = nearest("text" * 10_000, ["x" * MB + str(i) for i in range(50)])
    assert len(said) < 20_000
    assert len(nearest("text", (f"column{i}" for i in range(1_000_000)))) < 1_000


def test_deep_json_is_refused_where_artefacts_are_read(tmp_path: Path) -> None:
    from ulmfit.files import read_json

    path = tmp_path / "x.json"
    for depth in (60, 400, 900):
        path.write_text(json.dumps(nested(depth)))
        with pytest.raises(UserError, match="nested more than 50 deep"):
            read_json(path)
    path.write_text("[" * 1_000_000)
    with pytest.raises(UserError, match="not valid JSON"):
        read_json(path)
    path.write_text("9" * 100_000)
    with pytest.raises(UserError, match="not valid JSON"):
        read_json(path)
    path.write_text(json.dumps(nested(30)))
    assert read_json(path) == nested(30)
    with pytest.raises(UserError, match="cannot read"):
        read_json(tmp_path)
