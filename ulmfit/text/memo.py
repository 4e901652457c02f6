"""A coder's memory on disk, so that the next run starts where this one ended: arrays in one file, no code in it.

The file is a cache and nothing more. It is named after the tokenizer's fingerprint, and one that cannot be read is
as good as none.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ulmfit.errors import UserError
from ulmfit.files import atomic_file
from ulmfit.text.coder import Coder

_GROWTH = 1.1  # a memory that grew by less is not written again


class Memo:
    """Load a coder's chunks from a folder, and save them back if there are enough new ones."""

    def __init__(self, folder: str | Path | None, fingerprint: str) -> None:
        self._path = Path(folder) / f"{fingerprint[:32]}.npz" if folder else None
        self._known = 0

    def load(self, coder: Coder) -> None:
        """Make `coder` know what is on disk; it must be new."""
        if self._path and self._path.is_file():
            try:
                with np.load(self._path, allow_pickle=False) as arrays:
                    coder.restore({name: arrays[name] for name in arrays.files})
            except Exception:  # a damaged file raises whatever its bytes happen to mean
                coder.forget()
        self._known = len(coder.chunks)

    def save(self, coder: Coder) -> None:
        """Write what `coder` knows, if that is worth it; a folder that cannot be written is not an error."""
        if self._path and len(coder.chunks) > _GROWTH * self._known:
            try:
                with atomic_file(self._path) as part, open(part, "wb") as file:
                    np.savez(file, allow_pickle=False, **coder.memory())
            except UserError:
                return
            self._known = len(coder.chunks)


def cache_folder() -> Path | None:
    """Return where memories live: `ULMFIT_CACHE`, else the user's cache folder; None if that is set to `off`."""
    named = os.environ.get("ULMFIT_CACHE")
    if named is None:
        import pooch

        return Path(pooch.os_cache("ulmfit")) / "chunks"
    return None if named in ("", "off") else Path(named)
