"""What a check found, as text, HTML or JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ulmfit.markup import table


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: str
    """ok, note, warn or error."""
    what: str
    detail: str
    action: str = ""
    """What will be done about it, or what to do."""


@dataclass(frozen=True)
class CheckReport:
    """All findings about one source."""

    name: str
    rows: list[Finding]

    def __str__(self) -> str:
        wide = max(len(row.what) for row in self.rows)
        lines = [f"{row.level:5}  {row.what:{wide}}  {_sentence(row)}" for row in self.rows]
        return "\n".join([self.name, *lines])

    def _repr_html_(self) -> str:
        rows = [(row.level, row.what, row.detail, row.action) for row in self.rows]
        return table(("", "what", "found", "what is done about it"), rows, caption=self.name)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return {"name": self.name, "findings": [asdict(row) for row in self.rows]}

    def errors(self) -> list[Finding]:
        """Return what must be repaired before training."""
        return [row for row in self.rows if row.level == "error"]


def _sentence(row: Finding) -> str:
    return f"{row.detail}: {row.action}" if row.action else row.detail
