"""Labels as they come against what a table of them should hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ulmfit import UserError
from ulmfit.text.labels import LabelStore

names = st.sampled_from(["pos", "neg", "10", "9", "ä", ""])


def store(kind: str, batches) -> LabelStore:
    labels = LabelStore(kind)
    for batch in batches:
        labels.add(batch, ["train"] * len(batch))
    return labels


@given(st.lists(st.lists(st.none() | names), min_size=1))
def test_codes_stand_for_the_names_given(batches) -> None:
    flat = [label for batch in batches for label in batch]
    if len(set(flat) - {None}) < 2:
        with pytest.raises(UserError):
            store("category", batches).finish("f")
        return
    found = store("category", batches).finish("f")
    assert [None if code < 0 else found.names[code] for code in found.values] == flat


@given(st.lists(st.none() | st.lists(names, unique=True).map(tuple), min_size=1))
def test_rows_hold_the_names_given(labels) -> None:
    assume(any(labels))  # none at all is refused
    found = store("multi", [labels]).finish("f")
    for row, label in zip(found.values, labels, strict=True):
        if label is None:
            assert (row == -1).all()
        else:
            assert {n for n, holds in zip(found.names, row, strict=True) if holds} == set(label)


def test_numbers_stay_numbers() -> None:
    found = store("number", [[1.5, None], [-2.0]]).finish("f")
    assert np.array_equal(found.values, np.array([1.5, np.nan, -2], np.float32), equal_nan=True)
    assert found.names == ()


def test_several_labels_a_document_need_some_and_one_will_do() -> None:
    with pytest.raises(
        UserError, match="no document has a label, and a classifier learns from them"
    ):
        store("multi", [[None, ()]]).finish("f")
    assert store("multi", [[("spam",), ()]]).finish("f").names == ("spam",)


def test_one_number_in_two_spellings_is_one_label() -> None:
    labels = LabelStore("category")
    labels.add(["1.0", "0.0", None, "-2", "-2.00", "3.0", "1.5"], ["train"] * 7)
    labels.add(["0", "1", "1.0"], ["test"] * 3)
    found = labels.finish("f")
    assert found.names == ("0", "1", "1.5", "3.0", "-2")  # nothing else writes 3.0 otherwise
    named = [None if code < 0 else found.names[code] for code in found.values]
    assert named == ["1", "0", None, "-2", "-2", "3.0", "1.5", "0", "1", "1"]
    assert found.notice.endswith("count as one: '-2.00' and '-2', '0.0' and '0', '1.0' and '1'")
    multi = store("multi", [[("1", "2.0"), ("1.0",), ("2",)]]).finish("f")
    assert multi.names == ("1", "2") and multi.values.tolist() == [[1, 1], [1, 0], [0, 1]]
    assert not store("category", [["1.0", "2.0"]]).finish("f").notice
    split = store("category", [["1", "10", "2.0"]]).finish("f")  # 2 only in the file with gaps
    assert split.names == ("1", "2", "10") and split.notice.endswith("'2.0' and '2'")


def test_no_labels_are_none() -> None:
    assert store("none", []).finish("f").values is None


def test_names_sort_by_their_numbers() -> None:
    found = store("category", [["10 stars", "2 stars", "no stars", "1", "9" * 5000]]).finish("f")
    assert found.names == ("1", "2 stars", "10 stars", "9" * 5000, "no stars")


def test_labels_with_columns_of_their_own_stay_as_named() -> None:
    labels = LabelStore("multi", ("toxic", "insult", "zero"))
    labels.add([("insult",), (), None], ["train"] * 3)
    found = labels.finish("f")
    assert found.names == ("toxic", "insult", "zero")
    assert found.values is not None
    assert found.values.tolist() == [[0, 1, 0], [0, 0, 0], [-1, -1, -1]]
