"""Values -> the HTML that a notebook shows. Whatever is not `Html` yet is escaped, so no text can speak to the browser."""

from __future__ import annotations

import html
from collections.abc import Container, Iterable, Sequence

_LEFT, _RIGHT = "text-align:left;vertical-align:top", "text-align:right;vertical-align:top"
_DIM = "color:#888"  # readable on white and on black


class Html(str):
    """Markup that is safe as it stands."""

    __slots__ = ()


def escaped(value: object) -> Html:
    """Escape a value, unless it is markup already; whole numbers get thousands separators."""
    if isinstance(value, Html):
        return value
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return Html(html.escape(f"{value:,}" if is_whole else str(value)))


def facts(title: str, lines: Iterable[object]) -> Html:
    """Show a title and a list of short statements."""
    items = "".join(f"<li>{escaped(line)}</li>" for line in lines)
    return Html(f"<b>{escaped(title)}</b><ul>{items}</ul>")


def table(header: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "") -> Html:
    """Show rows under a header; numbers stand to the right, text to the left."""
    above = f'<caption style="{_LEFT}">{escaped(caption)}</caption>' if caption else ""
    head = "".join(f'<th style="{_LEFT}">{escaped(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return Html(f"<table>{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def tokens(words: Iterable[str], *, dim: Container[str] = ()) -> Html:
    """Show tokens with a space between them, those in `dim` paler than the rest."""
    return Html(" ".join(dimmed(word) if word in dim else escaped(word) for word in words))


def dimmed(value: object) -> Html:
    """Show a value paler than its neighbours."""
    return Html(f'<span style="{_DIM}">{escaped(value)}</span>')


def _cell(value: object) -> str:
    style = _RIGHT if isinstance(value, (int, float)) else _LEFT
    return f'<td style="{style}">{escaped(value)}</td>'
