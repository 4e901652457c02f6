"""The report: every figure with its interval, nothing of a text taken for markup, nothing loaded from elsewhere."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_evidence import NAMES, made_evidence

from ulmfit.evaluation import blocks
from ulmfit.evaluation.blocks import BLOCKS
from ulmfit.evaluation.evidence import Evidence
from ulmfit.evaluation.intervals import Interval
from ulmfit.evaluation.parts import Paragraph, Part, Table, shown, signed
from ulmfit.evaluation.report import plain, report_html, report_markdown, write_report

VOID = {"meta", "img", "br"}
# What a report may be made of; everything else would have come out of a text.
ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "section", "h1", "h2", "h3",
    "p", "span", "table", "thead", "tbody", "tr", "th", "td", "figure", "img", "figcaption",
}  # fmt: skip
# Fields of the evidence that a block needs.
NEEDS = {
    "Scores": "scores",
    "Directions": "directions",
    "Ours against published figures": "comparisons",
    "Baselines": "baselines",
    "Labels": "labels",
    "Confusions": "confusion",
    "Calibration": "calibration",
    "Training": "courses",
    "Worst errors": "errors",
    "Explanations": "explanations",
    "Data and run": "facts",
}


class Page(HTMLParser):
    """Collects elements, cells and addresses, and holds that every element is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.open: list[str] = []
        self.headings: list[str] = []
        self.cells: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return made_evidence(n=150)


@pytest.fixture(scope="module")
def page(evidence: Evidence) -> Page:
    return Page(report_html(evidence))


def empty(evidence: Evidence) -> Evidence:
    return Evidence(evidence.title, "clean", (0,), evidence.n_documents)


def test_the_page_is_well_formed_and_holds_every_block(page: Page) -> None:
    assert not page.open
    assert page.headings == list(BLOCKS)


def test_no_text_becomes_markup(page: Page) -> None:
    assert set(page.elements) <= ELEMENTS
    assert page.elements.count("script") == 0
    texts = [cell for cell in page.cells if "<script>alert('x')</script>" in cell]
    assert len(texts) == 5
    assert "<b>bold</b>" in page.cells


def test_the_page_carries_everything_itself(evidence: Evidence, page: Page) -> None:
    assert page.addresses and all(
        a.startswith("data:image/svg+xml;base64,") for a in page.addresses
    )
    assert "@import" not in report_html(evidence) and "url(" not in report_html(evidence)


def test_the_page_fits_a_phone_and_a_printer(evidence: Evidence) -> None:
    html = report_html(evidence)
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html
    assert "@media print" in html


def test_characters_that_no_page_may_hold_are_replaced(evidence: Evidence) -> None:
    html = report_html(evidence)
    assert "\x00" not in html and "\ud800" not in html
    html.encode("utf-8")


@pytest.mark.parametrize("title", BLOCKS)
def test_every_block_stands_by_its_own_data(title: str, evidence: Evidence) -> None:
    """Without its data it is left out; with nothing else it is still there, in both forms."""
    names = NEEDS[title].split()
    blank = {name: getattr(empty(evidence), name) for name in names}
    assert BLOCKS[title](replace(evidence, **blank)) == []
    alone = replace(empty(evidence), **{name: getattr(evidence, name) for name in names})
    assert Page(report_html(alone)).headings == [title]
    assert re.findall("^## (.*)$", report_markdown(alone), flags=re.MULTILINE) == [title]


def test_a_new_block_is_one_function_and_one_line(
    evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weather(evidence: Evidence) -> list[Part]:
        return [Paragraph("cold & <dry>"), Table(("day", "mm"), (("Monday", "0"),), "measured")]

    monkeypatch.setitem(BLOCKS, "Weather", weather)
    assert "cold &amp; &lt;dry&gt;" in report_html(empty(evidence))
    assert "| Monday | 0 |" in report_markdown(empty(evidence))


def test_every_figure_has_its_interval(page: Page) -> None:
    """A percentage is followed by brackets, but for published figures and confidences of single texts."""
    shares = [cell for cell in page.cells if re.fullmatch(r"[\d.]+\s%.*", cell, flags=re.DOTALL)]
    bare = [cell for cell in shares if "[" not in cell]
    assert len(bare) == 1 + 5
    assert len(shares) > 25


def test_the_lead_says_how_it_was_obtained(evidence: Evidence) -> None:
    for text in (report_html(evidence), report_markdown(evidence)):
        assert "Protocol: clean. Nothing of the test split was read" in text
        assert "Seeds: 0, 1. Test documents: 150." in text
    published = replace(evidence, protocol="as_published")
    assert "Protocol: as published. This is not a clean test result." in report_html(published)


def test_markdown_tables_have_as_many_cells_as_columns(evidence: Evidence) -> None:
    """Bars and line breaks inside a text do not end a cell."""
    tables = re.findall(r"(?:^\|.*\n)+", report_markdown(evidence), flags=re.MULTILINE)
    assert len(tables) > 6
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1
    assert r"a\|very long name" in report_markdown(evidence)
    assert "<script>" not in report_markdown(evidence)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a *b* _c_ `d`", r"a \*b\* \_c\_ \`d\`"),
        ("one\n\ntwo | three", r"one two \| three"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("[link](there) [1, 2]", r"[link\](there) [1, 2]"),
        ("$x$ \\", r"\$x\$ \\"),
    ],
)
def test_markdown_shows_texts_as_they_are(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_writing_a_report(evidence: Evidence, tmp_path: Path) -> None:
    page = write_report(evidence, tmp_path / "run 1" / "report.html")
    markdown = page.with_suffix(".md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[\w-]+\]\((.*?)\)", markdown)
    assert len(pictures) == 5
    for picture in pictures:
        assert (page.parent / picture).read_text(encoding="utf-8").lstrip().startswith("<?xml")
    assert page.read_text(encoding="utf-8") == report_html(evidence)
    assert not list(page.parent.rglob("*.part"))


def test_the_same_evidence_gives_the_same_page(evidence: Evidence) -> None:
    assert report_html(evidence) == report_html(evidence)


def test_figures_in_words() -> None:
    share = Interval(0.93521, 0.932, 0.9383)
    assert shown(share, "accuracy") == "93.52\xa0% [93.20,\xa093.83]"
    assert shown(share, "nll") == "0.9352 [0.9320,\xa00.9383]"
    assert shown(Interval(float("nan"), 0, 0), "auc") == "not defined"
    assert signed(-0.0186, -0.02, 0.001) == "-1.86 [-2.00,\xa0+0.10]"


def test_a_comparison_by_hand(evidence: Evidence) -> None:
    (row,) = evidence.comparisons
    row = replace(row, ours=Interval(0.94, 0.93, 0.95), theirs=0.954)
    (table,) = blocks.comparisons(replace(evidence, comparisons=(row,)))
    name, _, theirs, difference, seeds, source = table.rows[0]
    assert (name, theirs, seeds, source) == (row.name, "95.40\xa0%", "0", "Table 2")
    assert difference == "-1.40 [-2.40,\xa0-0.40]"


def test_confusions_are_listed_from_the_commonest(evidence: Evidence) -> None:
    matrix = ((9, 2, 0), (5, 9, 0), (0, 1, 9))
    three = replace(evidence, confusion=matrix, labels=evidence.labels[:3])
    _, table = blocks.confusion(three)
    assert table.rows == (
        (NAMES[1], NAMES[0], "5"), (NAMES[0], NAMES[1], "2"), (NAMES[2], NAMES[1], "1"),
    )  # fmt: skip


def test_the_model_stands_above_its_baselines(evidence: Evidence) -> None:
    (table,) = blocks.baselines(evidence)
    (accuracy,) = (shown(row.figure) for row in evidence.scores if row.name == "accuracy")
    assert [row[0] for row in table.rows] == ["this model", "majority", "tfidf", "nbsvm"]
    assert table.rows[0][1] == accuracy
    assert table.rows[0][-2:] == ("90.0\xa0s", "1.5\xa0s")


def test_documents_of_another_split_are_called_by_it(evidence: Evidence) -> None:
    html = report_html(replace(evidence, split="valid", seeds=(None, 1)))
    assert "Seeds: unknown, 1. Valid documents: 150." in html
    assert "150 valid documents, mean of seeds unknown, 1" in html
    assert "150 test documents" not in html


def test_wide_tables_become_lists_on_a_phone() -> None:
    assert not Table(("a", "b"), (("one", "two words that may wrap"),)).is_wide
    assert Table(tuple("abcdef"), (tuple(["12345678"] * 6),)).is_wide
    assert Table(("a", "b"), (("one", "word " * 30),)).is_wide
