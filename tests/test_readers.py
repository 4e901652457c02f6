"""Tables are what was written to disk, read back; broken files are one line that names the place."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import sys

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit.errors import UserError
from ulmfit.text.frames import FrameTable, ListTable
from ulmfit.text.readers import open_table
from ulmfit.text.streams import file_text, lines

ROWS = [("a, b\nc", "1"), ('she said "no"', ""), ("\u0085one\u2028line", "é"), ("last", "x")]


def zstd_compress(content: bytes) -> bytes:
    return pytest.importorskip("zstandard").ZstdCompressor().compress(content)


COMPRESS = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress, ".zst": zstd_compress}


def csv_bytes(rows, header=("text", "label"), **kwargs) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, **kwargs).writerows([header, *rows] if header else rows)
    return out.getvalue().encode()


def read(path, *names, columns=None):
    table = open_table(path, columns=columns)
    return [tuple(cells) for cells in table.rows(names or ("text", "label"))]


@pytest.mark.parametrize("suffix", ["", *COMPRESS])
def test_csv_gives_back_what_was_written(tmp_path, suffix):
    path = tmp_path / f"d.csv{suffix}"
    path.write_bytes(COMPRESS.get(suffix, bytes)(csv_bytes(ROWS)))
    assert read(path) == ROWS
    assert read(path, "label") == [(label,) for _, label in ROWS]


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
            st.text('ab\n\r"'),
        )
    )
)
def test_any_text_survives_csv(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "d.csv"
    path.write_bytes(csv_bytes(rows, quoting=csv.QUOTE_ALL))
    assert read(path) == rows


def test_tab_separated_and_no_header(tmp_path):
    path = tmp_path / "d.tsv"
    path.write_bytes(csv_bytes(ROWS, header=None, delimiter="\t"))
    assert read(path, "y", "x", columns=["x", "y"]) == [(b, a) for a, b in ROWS]


def test_byte_order_mark_is_no_part_of_the_header(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes(b"\xef\xbb\xbf" + csv_bytes(ROWS))
    assert read(path) == ROWS


def test_a_field_larger_than_the_csv_module_likes(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes(csv_bytes([("x" * 300_000, "1")]))
    assert len(read(path)[0][0]) == 300_000


def test_nul_is_a_character_or_a_clear_error(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes(b"text,label\na\0b,1\n")
    if sys.version_info >= (3, 11):
        assert read(path) == [("a\0b", "1")]
    else:
        with pytest.raises(UserError, match="row 1"):
            read(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"text,label\na,1\nb\n", "row 2: 1 cells where the file has 2 columns"),
        (b'text,label\n"a ""b"" \nc",1\n"open,2\n', "row 2: not a valid row"),
        (b"text;label\na;1\nb\n", "row 2: 1 cells where the file has 2 columns"),
        (b"text,label\nfine,1\nf\xfcr,2\n", "row 2, byte offset 19: not UTF-8"),
        (b"t\xe9xt,label\n", "header, byte offset 1: not UTF-8"),
        ("text,label\na,1\n".encode("utf-16"), "header, byte offset 0: not UTF-8"),
    ],
)
def test_a_broken_csv_is_one_line_with_its_place(tmp_path, content, said):
    path = tmp_path / "broken.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        read(path)
    assert "broken.csv" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("mark", "name"), [(";", "d.csv"), ("\t", "d.csv"), ("|", "d.csv"), (",", "d.tsv")]
)
def test_another_separator_is_seen_where_two_rows_agree_on_it(tmp_path, mark, name):
    path = tmp_path / name
    path.write_bytes(csv_bytes(ROWS, delimiter=mark))
    assert read(path) == ROWS
    path.write_bytes(csv_bytes(ROWS, None, delimiter=mark))
    assert read(path, columns=["text", "label"]) == ROWS
    path.write_text(f"a{mark}b\nc{mark}d\n")
    assert read(path, "text", columns=["text"]) == [(f"a{mark}b",), (f"c{mark}d",)]


def test_given_columns_choose_between_marks_that_fit(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("Hello, world\tpos\nbad, film\tneg\n")
    assert read(path, columns=["text", "label"]) == [("Hello, world", "pos"), ("bad, film", "neg")]
    path.write_text("fine; really,pos\ndull; yes,neg\n")
    assert read(path, columns=["text", "label"]) == [("fine; really", "pos"), ("dull; yes", "neg")]


def test_a_mark_inside_the_only_column_is_no_separator(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("a | b\nfine\ndull\n")
    assert read(path, "a | b") == [("fine",), ("dull",)]


def test_lines_that_end_in_a_carriage_return_alone_are_named(tmp_path):
    path = tmp_path / "mac.csv"
    path.write_bytes(b"text,label\rfine,pos\rdull,neg\r")
    with pytest.raises(UserError, match="a carriage return alone is no end of a line"):
        read(path, "text")


def test_row_numbers_do_not_count_line_feeds_inside_quotes(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes(b'text,label\n"1\n2\n3",a\nb,b\n\xff,c\n')
    with pytest.raises(UserError, match="row 3, byte offset 25"):
        read(path)


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("name", ["d.csv", "d.jsonl"])
def test_a_cut_off_file_is_one_line(tmp_path, suffix, name):
    rows = [(f"text number {i * i * 7919}", "1") for i in range(5000)]
    as_json = b"".join(json.dumps({"text": t, "label": la}).encode() + b"\n" for t, la in rows)
    content = COMPRESS[suffix](csv_bytes(rows) if name == "d.csv" else as_json)
    path = tmp_path / (name + suffix)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cut off or damaged"):
        read(path)
    path.write_bytes(b"this is not compressed at all")
    with pytest.raises(UserError, match="cut off or damaged"):
        read(path)


def test_zst_of_several_frames(tmp_path):
    path = tmp_path / "d.txt.zst"
    path.write_bytes(zstd_compress(b"one\ntw") + zstd_compress(b"o\n"))
    assert list(lines(path)) == ["one\n", "two\n"]


def test_json_lines(tmp_path):
    path = tmp_path / "d.jsonl.gz"
    records = [{"text": t, "label": la} for t, la in ROWS] + [{"label": "no text"}]
    text = "\n\n".join(json.dumps(r, ensure_ascii=False) for r in records)
    path.write_bytes(gzip.compress(text.encode()))
    assert read(path) == [*ROWS, (None, "no text")]
    assert open_table(path).columns() == ["text", "label"]


def test_a_key_that_comes_late_is_a_column(tmp_path):
    path = tmp_path / "d.jsonl"
    path.write_text('{"text": "a"}\n' * 5000 + '{"text": "b", "label": "pos"}\n')
    assert open_table(path).columns() == ["text", "label"]
    assert read(path)[-1] == ("b", "pos")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{'text': 1}", "not valid JSON"),
        ('["a"]', "a list where an object"),
        ('{"text": "a', "not valid"),
    ],
)
def test_a_bad_json_line_is_named(tmp_path, line, said):
    path = tmp_path / "d.jsonl"
    path.write_text('{"text": "a"}\n\n' + line + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=said) as caught:
        read(path, "text")
    assert "row 2 (line 3)" in str(caught.value)


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "d.parquet"
    pd.DataFrame(ROWS, columns=["text", "label"]).to_parquet(path)
    assert read(path) == ROWS
    assert read(path, "label", "text", "label") == [(b, a, b) for a, b in ROWS]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="damaged or not a Parquet file"):
        read(path)


@pytest.mark.parametrize(("name", "module"), [("d.parquet", "pyarrow"), ("d.csv.zst", "zstandard")])
def test_a_missing_optional_package_names_its_extra(tmp_path, monkeypatch, name, module):
    (tmp_path / name).write_bytes(b"")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"pip install 'ulmfit\[data\]'"):
        read(tmp_path / name)


def test_an_unknown_kind_of_file_lists_the_known(tmp_path):
    with pytest.raises(UserError, match=r"\.jsonl"):
        open_table(tmp_path / "d.xlsx")


def test_a_text_file_in_another_encoding(tmp_path):
    path = tmp_path / "d.txt"
    path.write_bytes(b"\xef\xbb\xbfab\xe9")
    with pytest.raises(UserError, match="byte offset 5: not UTF-8"):
        file_text(path)


def test_frames_by_position_not_by_index():
    frame = pd.DataFrame({"text": [f"t{i}" for i in range(4500)], 7: range(4500)}).sample(
        frac=1, random_state=0
    )
    rows = list(FrameTable(frame).rows(["7", "text"]))
    assert rows == [(n, f"t{n}") for n in frame[7].tolist()]
    assert FrameTable(frame).content_hash(["7"]) != FrameTable(frame.sort_index()).content_hash(
        ["7"]
    )


def test_a_list_of_pairs_is_refused():
    with pytest.raises(UserError, match="row 2: a tuple"):
        list(ListTable(["a", ("b", "pos")], "text").rows(["text"]))
