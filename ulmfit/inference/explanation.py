"""An explanation as a value: the words of a text and how much each speaks for a label. As text, HTML and JSON."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_MOST_LISTED = 20  # words that `print` shows
_MOST_LABELS = 5
_BLUE, _RED = "33,102,172", "200,50,47"  # apart for every kind of colour vision
_DARKEST = 0.55  # black text stays readable on it
_BOX = (
    "background:#fff;color:#111;padding:.6em .9em;max-width:60em;line-height:1.9;"
    "font-family:system-ui,sans-serif;overflow-wrap:anywhere;print-color-adjust:exact;"
    "-webkit-print-color-adjust:exact"
)


@dataclass(frozen=True)
class PoolingParts:
    """What each word gave to the three parts of concat pooling and to the linear part; these add up to its weight."""

    last: tuple[float, ...]
    max: tuple[float, ...]
    mean: tuple[float, ...]
    n_won: tuple[int, ...]
    """Units of the maximum that the word's tokens won."""
    linear: tuple[float, ...]


@dataclass(frozen=True)
class Reading:
    """What one direction says by itself."""

    direction: str
    score: float
    weights: tuple[float, ...]
    base: float | None = None
    """The score less all weights; occlusion has none."""
    parts: PoolingParts | None = None


@dataclass(frozen=True)
class Explanation:
    """The words of a text, each with its weight: above 0 it speaks for `label`, below 0 against it."""

    label: str
    """The explained label."""
    kind: str
    """category, multi or number."""
    answer: str | tuple[str, ...] | float
    """What the classifier answers."""
    probabilities: Mapping[str, float]
    """Of every label; of a classifier of numbers, the value."""
    method: str
    """occlusion, pooling or integrated_gradients."""
    score: float
    """What is explained: the label's log-odds, or the value of a classifier of numbers."""
    words: tuple[str, ...]
    """Decoded for display."""
    gaps: tuple[str, ...]
    """The white space before each word."""
    tokens: tuple[tuple[str, ...], ...]
    """Each word as the model read it: what the vocabulary lacks is xxunk."""
    weights: tuple[float, ...]
    """In units of the score."""
    readings: tuple[Reading, ...]
    """The directions by themselves."""
    note: str
    """How the weights came about, and what was left out of account."""
    base: float | None = None
    """Base and weights add up to the score; occlusion has none."""

    @property
    def unit(self) -> str:
        """What the score is: log-odds or value."""
        return "value" if self.kind == "number" else "log-odds"

    def strongest(self, n: int = _MOST_LISTED) -> list[tuple[str, float]]:
        """List the words of largest weight, for or against, with their weights."""
        pairs = sorted(zip(self.words, self.weights), key=lambda pair: -abs(pair[1]))
        return pairs[:n]

    def to_json(self) -> dict[str, Any]:
        """Give everything as JSON."""
        return {**asdict(self), "unit": self.unit}

    def __str__(self) -> str:
        lines = [f"  {weight:+8.3f}  {word}" for word, weight in self.strongest()]
        if len(self.words) > _MOST_LISTED:
            lines.append(f"  {'...':>8}  {len(self.words) - _MOST_LISTED:,} weaker words")
        return "\n".join([self._answer(), self._explained(), *lines, self.note])

    def _repr_html_(self) -> str:
        escape = html.escape
        largest = max(map(abs, self.weights), default=0.0) or 1.0
        words = (self._word_html(i, largest) for i in range(len(self.words)))
        text = "".join(words) or "<i>no words</i>"
        name = escape(self.label)
        for_it, against = (
            ("raises the value", "lowers it")
            if self.kind == "number"
            else (f"speaks for {name}", "against it")
        )
        key = (
            f'<span style="{_style(1.0)}">blue</span> {for_it}, '
            f'<span style="{_style(-1.0)}">red, dotted</span> {against}'
        )
        return (
            f'<div class="ulmfit-explanation" style="{_BOX}"><div><b>{escape(self._answer())}</b></div>'
            f'<div dir="auto" style="margin:.5em 0;white-space:pre-wrap">{text}</div>'
            f"<small>{key}; {escape(self._explained())}; {escape(self.note)}</small></div>"
        )

    def _word_html(self, i: int, largest: float) -> str:
        """Shade a word beside the `largest` weight, and put its numbers where the mouse finds them."""
        numbers = f"{self.words[i]}: {self.weights[i]:+.3f}"
        if len(self.readings) > 1:
            each = (f"{reading.direction} {reading.weights[i]:+.3f}" for reading in self.readings)
            numbers += f" ({', '.join(each)})"
        title, word = html.escape(numbers), html.escape(self.words[i])
        style = _style(self.weights[i] / largest)
        return f'{self.gaps[i]}<span title="{title}" style="{style}">{word}</span>'

    def _answer(self) -> str:
        """Say what the classifier answers, and how sure it is."""
        if self.kind == "number":
            return f"value {self.score:.4g}"
        sorted_labels = sorted(self.probabilities.items(), key=lambda pair: -pair[1])
        shown = [f"{name} {100 * value:.1f} %" for name, value in sorted_labels[:_MOST_LABELS]]
        more = len(sorted_labels) - _MOST_LABELS
        return ", ".join(shown) + (f", {more} more" if more > 0 else "")

    def _explained(self) -> str:
        of_label = "" if self.kind == "number" else f" of {self.label}"
        base = "" if self.base is None else f", base {self.base:+.3f}"
        return f"{self.unit}{of_label} {self.score:+.3f}, by {self.method.replace('_', ' ')}{base}"


def html_page(explanation: Explanation) -> str:
    """Make a page of its own of an explanation."""
    title = html.escape(f"Why {explanation.label}?")
    return (
        '<!DOCTYPE html>\n<html><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title></head>\n<body>{explanation._repr_html_()}</body></html>\n"
    )


def _style(strength: float) -> str:
    """Colour a word of strength -1 to 1; what speaks against is dotted too, for those who see no colours."""
    colour = _BLUE if strength > 0 else _RED
    dots = f";border-bottom:2px dotted rgb({_RED})" if strength < -0.1 else ""
    return f"background:rgba({colour},{abs(strength) * _DARKEST:.2f}){dots};border-radius:.2em"
