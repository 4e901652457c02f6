"""How much an epoch reads: every document once, or so many batches, whatever the number of documents.

In: the batches of one pass over all documents. Out: the batch at which an epoch ends.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EpochSize:
    """Bounds on the batches of an epoch; None where there is none."""

    min_batches: int | None = None
    max_batches: int | None = None

    def most(self, n_batches: int) -> int | None:
        """Say at which batch an epoch ends before its last pass does; None if it reads that to the end."""
        if self.min_batches is not None and self.min_batches > n_batches:
            return self.min_batches
        if self.max_batches is not None and self.max_batches < n_batches:
            return self.max_batches
        return None

    def notice(self, n_batches: int) -> str:
        """Say in words what an epoch is, where it is not one pass."""
        most = self.most(n_batches)
        assert most is not None
        if most < n_batches:
            return f"an epoch reads a random {most / n_batches:.0%} of the documents ({most:,} batches)"
        return f"an epoch reads the documents {most / n_batches:.1f} times ({most:,} batches)"


WHOLE = EpochSize()
