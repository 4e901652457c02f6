"""HTML for notebooks: whatever comes in is text, and reads as the same text in a browser."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from ulmfit.markup import Html, dimmed, escaped, facts, table, tokens

# A browser and its HTML parser normalise line ends, and cannot hold NUL or half surrogates.
TEXT = st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]))


class Reader(HTMLParser):
    """What a browser would see: the tags, and the text between them."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag in ("td", "th", "li", "b", "caption"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.cells:
            self.cells[-1] += data


@given(TEXT, TEXT, TEXT)
def test_a_table_holds_the_texts_and_no_other_tags(caption: str, name: str, cell: str) -> None:
    seen = Reader(table(("a", name), [(cell, "b")], caption=f"c{caption}"))
    assert seen.cells == [f"c{caption}", "a", name, cell, "b"]
    assert set(seen.tags) == {"table", "caption", "thead", "tbody", "tr", "th", "td"}


@given(TEXT, st.lists(TEXT))
def test_facts_are_a_title_and_a_list(title: str, lines: list[str]) -> None:
    seen = Reader(facts(title, lines))
    assert seen.cells == [title, *lines]
    assert seen.tags == ["b", "ul", *["li"] * len(lines)]


@given(st.lists(TEXT))
def test_tokens_are_text_with_some_of_it_dimmed(words: list[str]) -> None:
    seen = Reader(tokens(words, dim=set(words[::2])))
    assert seen.text == " ".join(words)
    assert seen.tags == ["span"] * sum(word in words[::2] for word in words)


def test_markup_is_not_escaped_twice() -> None:
    assert escaped(Html("<i>a</i>")) == "<i>a</i>"
    assert "&lt;i&gt;" in dimmed("<i>") and "&amp;lt;" not in dimmed(escaped("<i>"))


def test_numbers_have_separators_and_stand_to_the_right() -> None:
    shown = table(("n",), [(1234567,), (True,), ("1",)])
    assert "text-align:right;vertical-align:top" in shown.split("<td")[1]
    assert ">1,234,567<" in shown and ">True<" in shown
    assert "text-align:left" in shown.split("<td")[3]
