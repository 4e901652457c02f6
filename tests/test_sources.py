"""What the user names becomes documents, in order, under a law: nothing is lost, renamed or guessed."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.text import document_batches
from ulmfit.text.cells import LabelRule, is_missing, to_split, to_text
from ulmfit.text.sources import open_source

NUMBER = TextConfig(label_kind="number")


def rows(source):
    """Flatten a source to (texts, label, split) per document."""
    out = []
    for batch in source.batches():
        labels = batch.labels or [None] * len(batch.splits)
        texts = zip(*batch.fields)
        out += [
            (t if len(t) > 1 else t[0], label, split)
            for t, label, split in zip(texts, labels, batch.splits)
        ]
    return out


def labels(frame, **kwargs):
    return [label for _, label, _ in rows(open_source(pd.DataFrame(frame), **kwargs))]


@pytest.fixture
def reviews(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text(
        "stars,review,title,part\n5,good,A,train\n1,bad,B,dev\n3,so,C,unlabeled\n", encoding="utf-8"
    )
    return path


# columns


def test_any_column_names_and_several_text_columns(reviews):
    source = open_source(reviews, text=["title", "review"], label="stars", split="part")
    assert source.label_kind == "category"
    assert rows(source) == [
        (("A", "good"), "5", "train"),
        (("B", "bad"), "1", "valid"),
        (("C", "so"), None, "unsup"),
    ]


def test_columns_that_are_numbers_may_be_named_by_them():
    frame = pd.DataFrame([["A", "good", 5, "train"], ["B", "bad", 1, "dev"]])
    source = open_source(frame, text=[0, 1], label=2, split=np.int64(3))
    assert rows(source) == [(("A", "good"), "5", "train"), (("B", "bad"), "1", "valid")]


def test_a_missing_default_label_is_a_notice_that_names_a_likely_column(reviews):
    source = open_source(str(reviews), text="review")
    assert source.label_kind == "none"
    assert next(source.batches()).labels is None
    assert any("pass label='stars'" in notice for notice in source.notices)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({}, "has no column 'text'"),
        ({"text": "Review"}, "did you mean 'review'"),
        ({"text": "review", "label": "star"}, "did you mean 'stars'"),
        ({"text": "review", "split": "parts"}, "did you mean 'part'"),
        ({"text": "review", "label": ["stars", "sad"]}, "no column 'sad'"),
    ],
)
def test_a_named_column_must_exist(reviews, named, said):
    with pytest.raises(UserError, match=said) as caught:
        rows(open_source(reviews, **named))
    assert "reviews.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("d.csv", "text|label\na|1|2\n", "its one column seems to be separated by '|'"),
        ("d.tsv", "text,label\na\n", "its one column seems to be separated by ','"),
        ("d.csv", "so fine,1\nso dull,0\n", "a file without header needs columns=, or --columns"),
    ],
)
def test_a_header_that_lacks_the_text_says_what_it_may_be(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError, match=f"{name} has no column 'text': .*{said}"):
        rows(open_source(path))


def test_a_folder_beside_a_table_is_read_whatever_the_texts_are_called_there(tmp_path):
    (tmp_path / "d.csv").write_text("review,label\nfine,pos\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "1.txt").write_text("dull")
    source = open_source({"train": tmp_path / "d.csv", "unsup": tmp_path / "more"}, text="review")
    assert rows(source) == [("fine", "pos", "train"), ("dull", None, "unsup")]
    assert source.text_columns == ("review",)


def test_a_missing_label_is_told_before_the_separator(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("text;class\nfine;pos\n")
    notices = []
    open_source(path).parts[0].check(notices)
    assert "pass label='class'" in notices[0] and "separated by ';'" in notices[1]


def test_a_likely_label_may_have_space_around_it(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("text, Label\na,1\n")
    source = open_source(path)
    list(source.batches())
    assert "if it is ' Label', pass label=' Label'" in source.notices[0]


def test_a_split_column_that_is_not_used_is_a_notice(tmp_path):
    source = open_source(pd.DataFrame({"text": ["a"], "label": [1], "split": ["test"]}))
    assert rows(source) == [("a", "1", "train")]
    assert source.notices == [
        "column 'split' of DataFrame is not used: pass split='split' for its splits"
    ]


def test_two_columns_of_one_name():
    with pytest.raises(UserError, match="2 columns 'text'"):
        rows(open_source(pd.DataFrame([["a", "b"]], columns=["text", "text"])))


def test_columns_of_a_file_without_header(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("4,news\n", encoding="utf-8")
    assert rows(open_source(path, columns=["label", "text"])) == [("news", "4", "train")]
    with pytest.raises(UserError, match="columns names the columns of a CSV"):
        open_source(pd.DataFrame({"text": ["a"]}), columns=["text"])


# labels


def test_white_space_around_labels_sets_none_apart():
    cells = ["pos", "pos ", "\tpos", " neg", "neg", "a b", " a b", "a  b", None, " ", " once"]
    source = open_source(pd.DataFrame({"text": ["a"] * len(cells), "label": cells}))
    found = [label for _, label, _ in rows(source)]
    assert found == ["pos"] * 3 + ["neg"] * 2 + ["a b"] * 2 + ["a  b", None, None, "once"]
    assert [n for n in source.notices if "white space" in n] == [
        "labels of DataFrame that only white space around them sets apart are one: 'a b', 'neg', 'pos'"
    ]


def test_labels_that_others_read_as_missing_are_kept_and_named():
    cells = ["NA", "pos", "nan", "None of them", "null"]
    source = open_source(pd.DataFrame({"text": ["a"] * len(cells), "label": cells}))
    assert [label for _, label, _ in rows(source)] == cells
    (notice,) = source.notices
    assert "may mean that there is none: 'NA', 'nan', 'null'; they are kept as labels" in notice


@pytest.mark.parametrize(
    "named", [{"text": "label"}, {"text": ["text", "text"]}, {"split": "label"}]
)
def test_a_column_is_one_thing(named):
    frame = pd.DataFrame({"text": ["a", "b"], "label": ["train", "test"]})
    source = open_source(frame, **{"label": "label", **named})
    with pytest.raises(UserError, match="is asked for twice: a column is text, label or split"):
        list(source.batches())


def test_labels_stay_the_strings_they_were():
    assert labels({"text": ["a", "b", "c"], "label": ["Pos", "1.0", "01"]}) == [
        "Pos",
        "1.0",
        "01",
    ]
    assert labels({"text": ["a", "b"], "label": [1, 2]}) == ["1", "2"]
    assert labels({"text": ["a", "b", "c"], "label": [1.0, 2.5, math.nan]}) == ["1", "2.5", None]
    assert labels({"text": ["a", "b"], "label": [True, False]}) == ["True", "False"]
    assert labels({"text": ["a", "b"], "label": pd.Categorical(["x", None])}) == ["x", None]
    assert labels({"text": ["a"], "label": np.array([3], dtype=np.float32)}) == ["3"]


def test_documents_without_label_are_counted():
    source = open_source(pd.DataFrame({"text": list("abc"), "label": ["x", None, ""]}))
    assert [label for _, label, _ in rows(source)] == ["x", None, None]
    assert source.notices == [
        "2 documents (rows 2, 3) of DataFrame without label outside the unsup split"
    ]


def test_the_unsup_label_of_imdb_is_no_category():
    frame = pd.DataFrame({"text": ["a", "b"], "label": ["unsup", "pos"]})
    assert rows(open_source(frame)) == [("a", None, "unsup"), ("b", "pos", "train")]


TEXT_FIRST = "text,label\n" + "so fine,pos\ntoo long,neg\n" * 3
LABEL_FIRST = "label,text\n" + "pos,so fine\nneg,too long\n" * 3


@pytest.mark.parametrize(
    ("before", "place", "rows"),
    [
        (TEXT_FIRST, 7, '"so dull,neg\nfine,pos\nmy 5",pos\n'),
        (TEXT_FIRST, 7, '"dull,neg\nmy 5",pos\n'),
        (TEXT_FIRST, 8, 'fine,pos\n"dull,neg\r\nmy 5",pos\n'),
        (LABEL_FIRST, 7, 'neg,"so dull\npos,fine\npos,my 5"\n'),
        (LABEL_FIRST, 7, 'neg,"dull\npos,my 5"\n'),
        (LABEL_FIRST, 8, 'pos,fine\nneg,"dull\r\npos,my 5"\n'),
    ],
)
def test_a_quote_left_open_that_swallows_rows_is_told(
    tmp_path: Path, before: str, place: int, rows: str
) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes((before + rows).encode())
    source = open_source(path)
    for _ in range(2):
        list(source.batches())
        (notice,) = source.notices
        assert f"1 text (row {place}) of d.csv with lines that look like further rows" in notice


@pytest.mark.parametrize("step", [1, -1])
def test_paragraphs_with_commas_are_no_rows(tmp_path: Path, step: int) -> None:
    path = tmp_path / "d.csv"
    text = "Well, I liked it.\n\nBut, it is long\nno comma\n1, 2, 3, neg"
    rows = [(text, "pos"), ("dull", "neg"), ('a "word",\nor two', "neg"), ("no\ncomma", "pos")]
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(row[::step] for row in [("text", "label"), *rows])
    source = open_source(path)
    (batch,) = source.batches()
    assert list(batch.fields[0]) == [text for text, _ in rows] and not source.notices


def test_numbers():
    frame = {"text": list("abc"), "label": ["1", 2.5, None]}
    assert labels(frame, config=NUMBER) == [1.0, 2.5, None]
    assert open_source(pd.DataFrame(frame), config=NUMBER).label_kind == "number"
    with pytest.raises(UserError, match="row 2: label is 'many', not a number"):
        labels({"text": ["a", "b"], "label": ["1", "many"]}, config=NUMBER)


def test_numbers_beyond_what_labels_are_kept_in_are_refused():
    largest = float(np.finfo(np.float32).max)
    assert labels({"text": ["a", "b"], "label": [largest, -largest]}, config=NUMBER) == [
        largest,
        -largest,
    ]
    with pytest.raises(UserError, match=r"row 2: label is 1e\+39, beyond what 32 bits hold"):
        labels({"text": ["a", "b"], "label": [1, 1e39]}, config=NUMBER)


def test_several_label_columns_are_multi_label():
    frame = pd.DataFrame(
        {"text": list("abcd"), "x": [1, 0, 1.0, None], "y": ["0", "0", "true", None]}
    )
    source = open_source(frame, label=["x", "y"])
    assert source.label_kind == "multi"
    assert [label for _, label, _ in rows(source)] == [("x",), (), ("x", "y"), None]
    with pytest.raises(UserError, match="row 1: label column 'y' is 2; allowed: 0 or 1"):
        rows(open_source(pd.DataFrame({"text": ["a"], "y": [2]}), label=["y"]))


def test_columns_may_be_named_by_an_index_or_an_array():
    frame = pd.DataFrame({"text": ["a", "b"], "x": [1, 0], "y": [0, 1]})
    for named in (frame.columns[1:], np.array(["x", "y"])):
        assert labels(frame, label=named) == [("x",), ("y",)]


def test_columns_of_labels_are_asked_of_no_list():
    for texts in (["a", "b"], pd.Series(["a", "b"]), {"train": ["a"], "test": np.array(["b"])}):
        with pytest.raises(UserError, match="a list of texts has no columns: leave label"):
            open_source(texts, label="stars")
    with pytest.raises(UserError, match="a list of texts has no columns"):
        open_source(["a", "b"], split="part")
    assert rows(open_source({"train": ["a"]}, label=None)) == [("a", None, "train")]


def test_a_split_column_and_further_splits_contradict(reviews):
    with pytest.raises(UserError, match="split='part' and further splits contradict each other"):
        open_source({"train": reviews, "unsup": ["more"]}, split="part")


def test_a_delimiter_splits_one_cell():
    config = TextConfig(label_delim=";")
    frame = {"text": list("abc"), "label": ["x; y;x", "", None]}
    assert labels(frame, config=config) == [("x", "y"), (), None]
    assert open_source(pd.DataFrame(frame), config=config).label_kind == "multi"


@pytest.mark.parametrize("cell", ["", " ", "\t", None, float("nan")])
def test_a_blank_label_is_none(cell: object) -> None:
    assert LabelRule(("label",), "category").read([cell]) is None


@given(st.lists(st.lists(st.text("abc", min_size=1), unique=True)))
def test_joining_and_splitting_labels_is_a_round_trip(names):
    rule = LabelRule(("label",), "multi", "|")
    assert [rule.read(["|".join(row)]) for row in names] == [tuple(row) for row in names]


@pytest.mark.parametrize(
    ("label", "config"),
    [(["a", "b"], NUMBER), (["a", "b"], TextConfig(label_delim=";")), ([], TextConfig())],
)
def test_label_options_that_contradict(label, config):
    with pytest.raises(UserError, match="label"):
        open_source(pd.DataFrame({"text": ["a"]}), label=label, config=config)


# splits


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("Train", "train"),
        (" dev ", "valid"),
        ("val", "valid"),
        ("TEST", "test"),
        ("unlabelled", "unsup"),
    ],
)
def test_split_names(name, split):
    assert to_split(name) == split


def test_an_unknown_split_names_the_row():
    frame = pd.DataFrame({"text": ["a", "b"], "fold": ["train", "hold-out"]})
    with pytest.raises(UserError, match="row 2: split is 'hold-out'; allowed: train"):
        rows(open_source(frame, split="fold"))


def test_is_valid_column():
    frame = pd.DataFrame({"text": ["a", "b"], "is_valid": [False, True]})
    assert [split for *_, split in rows(open_source(frame, split="is_valid"))] == ["train", "valid"]


def test_a_dict_of_splits(tmp_path, reviews):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "1.txt").write_text("alone", encoding="utf-8")
    source = open_source(
        {
            "train": reviews,
            "test": pd.DataFrame({"review": ["x"], "stars": [4]}),
            "unsup": ["y", "z"],
        },
        text="review",
        label="stars",
    )
    assert source.name == "reviews.csv + DataFrame + list of texts"
    assert rows(source) == [
        *[("good", "5", "train"), ("bad", "1", "train"), ("so", "3", "train")],
        *[("x", "4", "test"), ("y", None, "unsup"), ("z", None, "unsup")],
    ]
    assert all(batch.labels is not None for batch in source.batches())
    assert rows(open_source({"dev": tmp_path / "more"})) == [("alone", None, "valid")]


def test_a_folder_keeps_its_test_split_beside_more_text(tmp_path):
    for place in ("train/pos", "train/neg", "test/pos"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "1.txt").write_text(place, encoding="utf-8")
    assert set(rows(open_source({"train": tmp_path, "unsup": ["more"]}))) == {
        ("train/pos", "pos", "train"),
        ("train/neg", "neg", "train"),
        ("test/pos", "pos", "test"),
        ("more", None, "unsup"),
    }


def test_unsup_documents_never_have_a_label(reviews):
    source = open_source({"unsup": reviews}, text="review", label="stars")
    assert source.label_kind == "none"
    assert {label for _, label, _ in rows(source)} == {None}


@pytest.mark.parametrize(
    "source", [{}, {"fold1": ["a"]}, {"train": {"test": ["a"]}}, {"train": "imdb"}]
)
def test_a_bad_dict(source):
    with pytest.raises(UserError, match="dict of sources"):
        open_source(source)


# texts


def test_a_part_without_documents_is_told():
    nothing = pd.DataFrame({"text": [], "label": []})
    source = open_source({"train": pd.DataFrame({"text": ["a"], "label": ["b"]}), "test": nothing})
    assert len(rows(source)) == 1
    assert source.notices == ["DataFrame holds no document with text"]


def test_missing_and_empty_texts_are_dropped_and_counted():
    frame = pd.DataFrame({"text": ["a", None, " \n", "b", math.nan, pd.NA, "", pd.NaT]})
    source = open_source(frame, label=None)
    assert [text for text, *_ in rows(source)] == ["a", "b"]
    assert source.notices == ["dropped 6 empty texts (rows 2, 3, 5, 6, 7, ...) of DataFrame"]
    assert [text for text, *_ in rows(source)] == ["a", "b"]
    assert len(source.notices) == 1


def test_empty_texts_can_be_kept_or_refused():
    frame = pd.DataFrame({"text": ["a", None, "b", None]})
    keep = open_source(frame, label=None, config=TextConfig(on_empty="keep"))
    assert [text for text, *_ in rows(keep)] == ["a", "", "b", ""]
    assert keep.notices == ["kept 2 empty texts (rows 2, 4) of DataFrame"]
    with pytest.raises(UserError, match=r"2 empty texts \(rows 2, 4\)"):
        rows(open_source(frame, label=None, config=TextConfig(on_empty="error")))


def test_one_of_two_fields_may_be_empty():
    frame = pd.DataFrame({"title": [None, None], "body": ["b", None]})
    assert rows(open_source(frame, text=["title", "body"], label=None)) == [
        (("", "b"), None, "train")
    ]


def test_numbers_are_texts_and_lists_are_not():
    assert [text for text, *_ in rows(open_source(pd.DataFrame({"text": [7, 1.5]})))] == [
        "7",
        "1.5",
    ]
    with pytest.raises(UserError, match="row 1: expected a text, found a list"):
        rows(open_source(pd.DataFrame({"text": [["a", "b"]]})))


@given(st.text())
def test_every_text_can_be_encoded_and_whole_ones_are_untouched(text):
    assert to_text(text) == text
    broken = text + "\ud83d"
    assert to_text(broken) == text + "\ufffd"
    assert to_text("\ud83d\ude00") == "\U0001f600"


def test_is_missing():
    assert all(map(is_missing, [None, math.nan, np.float32("nan"), pd.NA, pd.NaT]))
    assert not any(map(is_missing, ["", "nan", 0, False, np.int8(0)]))


# batches, order, fingerprint


@pytest.mark.parametrize("texts", [["a"] * 4500, ["x" * 1_500_000] * 7])
def test_batches_are_bounded_and_in_order(texts):
    numbered = [f"{n} {text}" for n, text in enumerate(texts)]
    batches = list(open_source(numbered).batches())
    assert [text for batch in batches for text in batch.fields[0]] == numbered
    for batch in batches:
        assert len(batch.splits) <= document_batches.BATCH_DOCUMENTS
        assert sum(map(len, batch.fields[0][:-1])) < document_batches.BATCH_CHARACTERS


@pytest.mark.parametrize(
    "source", [pd.Series(["a", "b"]), ("a", "b"), np.array(["a", "b"]), ["a", "b"]]
)
def test_anything_like_a_list_of_texts(source):
    assert rows(open_source(source, text="review")) == [("a", None, "train"), ("b", None, "train")]


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes(b"\xff\xfe broken")
    source = open_source(path)
    with pytest.raises(UserError, match="not UTF-8"):
        source.fingerprint()


def test_fingerprint_is_content_and_reading_not_place(tmp_path, reviews):
    first = open_source(reviews, text="review", label="stars").fingerprint()
    other = tmp_path / "renamed.csv"
    other.write_bytes(reviews.read_bytes())
    assert open_source(other, text="review", label="stars").fingerprint() == first
    different = [
        open_source(reviews, text="title", label="stars"),
        open_source(reviews, text="review", label=None),
        open_source(reviews, text="review", label="stars", split="part"),
        open_source(reviews, text="review", label="stars", config=TextConfig(on_empty="keep")),
        open_source({"test": reviews}, text="review", label="stars"),
    ]
    other.write_bytes(reviews.read_bytes() + b"2,new,D,train\n")
    different.append(open_source(other, text="review", label="stars"))
    assert len({first, *(source.fingerprint() for source in different)}) == 7


def test_fingerprint_of_a_frame():
    frame = pd.DataFrame({"text": ["a", "b"], "label": [1, 2], "other": [object(), object()]})
    first = open_source(frame)
    assert (
        first.fingerprint()
        == open_source(frame.copy().set_index("label", drop=False)).fingerprint()
    )
    assert first.fingerprint() != open_source(frame[::-1]).fingerprint()


def test_a_source_without_documents(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("text,label\n,1\n", encoding="utf-8")
    with pytest.raises(UserError, match="holds no document with text"):
        rows(open_source(path))


# what is named


def test_a_path_that_is_not_there_offers_what_is(reviews, monkeypatch):
    with pytest.raises(UserError, match=r"did you mean 'reviews\.csv'"):
        open_source(reviews.with_name("review.csv"))
    monkeypatch.chdir(reviews.parent)
    with pytest.raises(UserError, match="did you mean 'imdb'"):
        open_source("imbd")


@pytest.mark.parametrize("source", [7, None, b"text", "a text. " * 100])
def test_what_is_no_source(source):
    with pytest.raises(UserError) as caught:
        open_source(source)
    assert len(str(caught.value)) < 500


def test_a_text_file_is_one_document(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("one\ntwo\n", encoding="utf-8", newline="")
    assert rows(open_source(path)) == [("one\ntwo\n", None, "train")]


@pytest.mark.parametrize("name", ["demo", Path("demo")])
def test_a_data_set_is_no_split_of_another_source(name: str | Path) -> None:
    """As a path, too, which is how the command line gives it."""
    with pytest.raises(UserError, match="'test' must be a file, a folder, a DataFrame or a list"):
        open_source({"train": ["a text"], "test": name}, label=None)
