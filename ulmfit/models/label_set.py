"""The labels of a classifier as one frozen value: their kind, their names, and how sure its answers are to sound."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ulmfit.config import require
from ulmfit.errors import UserError
from ulmfit.files import from_json, read_json, write_json
from ulmfit.text.corpus import Corpus

LABELS = "labels.json"
KINDS = ("category", "multi", "number")
NUMBER = "number"  # the column of a classifier of numbers


@dataclass(frozen=True)
class LabelSet:
    """What a classifier's outputs mean, one after the other."""

    kind: str
    """category: one label a document; multi: any number of them; number: a value."""
    names: tuple[str, ...]
    """The labels in the order of the columns; `number` for a value."""
    temperature: float = 1.0
    """Logits are divided by it; fitted on validation documents."""

    def __post_init__(self) -> None:
        require(self.kind in KINDS, "label_kind", self.kind, ", ".join(KINDS))
        is_sound = math.isfinite(self.temperature) and self.temperature > 0
        require(is_sound, "temperature", self.temperature, "a number above 0")
        n_least = {"category": 2, "multi": 1, "number": 1}[self.kind]
        if len(self.names) < n_least or len(set(self.names)) < len(self.names):
            raise UserError(
                f"labels {', '.join(map(repr, self.names)) or 'without names'}: "
                f"give {n_least} or more different names"
            )

    @classmethod
    def of(cls, corpus: Corpus) -> LabelSet:
        """Take over the labels of a corpus."""
        if corpus.label_kind == "none":
            raise UserError(
                f"{corpus.folder} has no labels: prepare it again with --label COLUMN, "
                "and a classifier can be trained on it"
            )
        is_number = corpus.label_kind == "number"
        return cls(corpus.label_kind, (NUMBER,) if is_number else corpus.label_names)

    def tempered(self, temperature: float) -> LabelSet:
        """Return the same labels at another temperature."""
        return replace(self, temperature=temperature)

    def save(self, folder: Path) -> None:
        """Write labels.json."""
        write_json(folder / LABELS, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> LabelSet:
        """Read labels.json."""
        path = folder / LABELS
        content: Any = read_json(path)
        try:
            return from_json(cls, content)
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} does not hold labels ({error}): copy it again") from error
