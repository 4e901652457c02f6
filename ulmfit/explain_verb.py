"""The verb `explain`: which words of a text speak for a label. Its flags, and what it does with them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ulmfit.config import require
from ulmfit.errors import UserError
from ulmfit.files import atomic_file
from ulmfit.flags import Positional, Positionals, Switch, parse
from ulmfit.output import print_result, say
from ulmfit.text.streams import whole_text

if TYPE_CHECKING:
    from ulmfit.inference.explain import Method
    from ulmfit.inference.texts import Fields
    from ulmfit.models.precision import Precision

_USAGE = '`ulmfit explain MODEL "A fine film"`'
STDIN = "-"


@dataclass(frozen=True)
class ExplainFlags:
    """Show which words of a text speak for a label, and which against it."""

    model: Positional = ""
    """The folder of a classifier, or of the run that made it."""
    text: Positionals = ()
    """The text, in quotes, or - to read it from stdin; one for each text column, if there are several. Both come before the flags."""
    label: str | None = None
    """The label to explain; by default the most probable one."""
    method: str = "occlusion"
    """occlusion leaves out each word in turn and asks again; pooling takes one answer apart: quicker, less sure of causes; integrated_gradients follows the score from embeddings of zeros."""
    max_tokens: int | None = None
    """Tokens that occlusion may read; a text that would take more is left out in windows of several words."""
    precision: str = "auto"
    """auto (bf16 where the processor multiplies it natively), or fp32; bf16 moves weights by some hundredths."""
    out: Path | None = None
    """A page to write, such as why.html, with the words in colours."""
    json: Switch = False
    """Print the result as JSON on stdout."""

    def __post_init__(self) -> None:
        for name, allowed in {
            "method": ("occlusion", "pooling", "integrated_gradients"),
            "precision": ("auto", "fp32", "bf16"),
        }.items():
            value = getattr(self, name)
            require(value in allowed, name, value, ", ".join(allowed))
        n = self.max_tokens
        require(n is None or n >= 1, "max_tokens", n, "1 or more")


def explain(argv: Sequence[str]) -> None:
    """Explain what a classifier answers for one text."""
    flags = parse(ExplainFlags, "explain", argv)
    if not flags.model:
        raise UserError(f"explain: no MODEL: write it before the flags, as in {_USAGE}")
    if not flags.text:
        raise UserError(f"explain: no TEXT: put it in quotes after the model, as in {_USAGE}")
    from ulmfit.inference.classifier import Classifier
    from ulmfit.inference.explanation import html_page

    classifier = Classifier.load(flags.model)
    found = classifier.explain(
        _text(flags.text, classifier.n_fields),
        label=flags.label,
        method=cast("Method", flags.method),
        max_tokens=flags.max_tokens,
        precision=cast("Precision", flags.precision),
    )
    if flags.out is not None:
        with atomic_file(flags.out) as part:
            part.write_text(html_page(found), encoding="utf-8")
        say(f"wrote {flags.out}")
    print_result(found.to_json() if flags.json else str(found))


def _text(words: tuple[str, ...], n_fields: int) -> str | Fields:
    """Return the text that was given, or all of stdin; a text for each column that the classifier has learnt from."""
    if len(words) != n_fields and n_fields > 1:
        raise UserError(f"explain: {len(words)} given where {n_fields} texts are expected, one for each text column: put each in quotes after the model")  # fmt: skip
    if len(words) != n_fields:
        raise UserError(f"explain: {len(words)} words where one text is expected: put it in quotes after the model, as in {_USAGE}")  # fmt: skip
    if words == (STDIN,):
        return whole_text(sys.stdin.buffer, "stdin")
    return words if n_fields > 1 else words[0]
