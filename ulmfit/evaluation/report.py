"""One report as a self-contained HTML page, and the same as Markdown with its pictures beside it.

In: `Evidence`. Out: files. All texts are escaped, since the documents of a corpus may hold anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from ulmfit.evaluation.blocks import BLOCKS
from ulmfit.evaluation.evidence import PROTOCOLS, Evidence
from ulmfit.evaluation.parts import Part, Picture
from ulmfit.evaluation.plots import data_uri, svg
from ulmfit.files import atomic_file

_MARKUP = re.compile(
    r"([\\`*_#|~$]|\](?=[(\[:]))"
)  # a bracket alone, as of an interval, is no link
# Controls, which HTML forbids, and half characters, which UTF-8 cannot hold.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Block:
    """A heading and what stands below it."""

    title: str
    parts: list[Part]


def blocks_of(evidence: Evidence) -> list[Block]:
    """Build the blocks that have data."""
    built = (Block(title, block(evidence)) for title, block in BLOCKS.items())
    return [block for block in built if block.parts]


def report_html(evidence: Evidence) -> str:
    """Return the report as one HTML page that loads nothing."""
    return _render("report.html.j2", evidence, blocks_of(evidence), "")


def report_markdown(evidence: Evidence, *, figures: str = "figures") -> str:
    """Return the report as Markdown; its pictures are expected as SVG files in the folder `figures`."""
    return _render("report.md.j2", evidence, blocks_of(evidence), figures)


def write_report(evidence: Evidence, out: str | Path) -> Path:
    """Write `out`, report.html by habit, the Markdown beside it, and the Markdown's pictures; return the page."""
    page = Path(out)
    blocks = blocks_of(evidence)
    folder = page.with_name(f"{page.stem}_figures")
    for picture in _pictures(blocks):
        _write(folder / f"{picture.name}.svg", svg(picture.figure))
    _write(page.with_suffix(".md"), _render("report.md.j2", evidence, blocks, quote(folder.name)))
    _write(page, _render("report.html.j2", evidence, blocks, ""))
    return page


def _pictures(blocks: list[Block]) -> Iterator[Picture]:
    return (part for block in blocks for part in block.parts if isinstance(part, Picture))


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def _render(template: str, evidence: Evidence, blocks: list[Block], figures: str) -> str:
    environment = Environment(
        loader=PackageLoader("ulmfit.evaluation"),
        autoescape=template.endswith("html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"plain": plain, "data_uri": data_uri}
    seeds = ", ".join(evidence.seed_names)
    lead = [
        f"Protocol: {evidence.protocol.replace('_', ' ')}. {PROTOCOLS[evidence.protocol]}",
        f"Seeds: {seeds}. {evidence.split.capitalize()} documents: {evidence.n_documents:,}.",
        *evidence.notes,
    ]
    text = environment.get_template(template).render(
        title=evidence.title, lead=lead, blocks=blocks, figures=figures
    )
    return _UNPRINTABLE.sub("�", text)


def plain(text: str) -> str:
    """Write a text so that Markdown shows it as it is, on one line."""
    marked = _MARKUP.sub(r"\\\1", " ".join(str(text).split()))
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
