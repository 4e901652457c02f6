"""A flat array in a file, read a window at a time. In: an .npy file. Out: what slices and arrays of places hold.

Mapping a file as a whole takes no memory but address space, which `ulimit -v` and many job schedulers limit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias, Union, overload

import numpy as np

WHOLE_BYTES = 1 << 28  # mapped as a whole up to here: four times IMDb
WINDOW_BYTES = 1 << 26
FlatArray: TypeAlias = Union[np.ndarray, "WindowedArray"]


def open_flat(path: Path) -> FlatArray:
    """Open a list of numbers: mapped as a whole, or in windows if it is long."""
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"of version {version}")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        begin, size = file.tell(), path.stat().st_size
    if len(shape) != 1 or dtype.hasobject:
        raise ValueError("no list of numbers")
    if size - begin != shape[0] * dtype.itemsize:
        raise ValueError("its length is not what it says")
    if size <= WHOLE_BYTES:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    return WindowedArray(path.resolve(), dtype, shape[0], begin)


def without_subclass(array: FlatArray) -> FlatArray:
    """Return a mapped array as a plain one, which is faster to index; one in windows stays what it is."""
    return array if isinstance(array, WindowedArray) else np.asarray(array)


class WindowedArray:
    """The array of a long file: what a slice or an array of places holds, as a copy.

    The file stays open, so that a corpus that is replaced meanwhile is read to its end, as with a map.
    """

    ndim = 1

    def __init__(self, path: Path, dtype: np.dtype, n: int, begin: int) -> None:
        self._path, self.dtype, self._n, self._begin = path, dtype, n, begin
        self._per_window = max(1, WINDOW_BYTES // dtype.itemsize)
        self._file = open(path, "rb")  # noqa: SIM115 - for as long as this array lives

    def __reduce__(self) -> tuple[Any, ...]:
        return open_flat, (self._path,)

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, key: int) -> np.integer: ...
    @overload
    def __getitem__(self, key: slice | np.ndarray) -> np.ndarray: ...
    def __getitem__(self, key: int | slice | np.ndarray) -> Any:
        if not isinstance(key, slice):
            return self._gather(np.asarray(key))
        start, stop, step = key.indices(self._n)
        if step != 1:
            return self._gather(np.arange(start, stop, step))
        return np.array(self._mapped(start, max(0, stop - start)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def _gather(self, places: np.ndarray) -> Any:
        """Read single places, all of a window before those of the next."""
        places = np.where(places < 0, places + self._n, places)
        if places.size and not 0 <= places.min() <= places.max() < self._n:
            raise IndexError(f"a place outside of {self._n}")
        found, window = np.empty(places.shape, self.dtype), places // self._per_window
        for number in np.flatnonzero(np.bincount(window.ravel())).tolist():
            held, first = window == number, number * self._per_window
            mapped = self._mapped(first, min(self._per_window, self._n - first))
            found[held] = mapped[places[held] - first]
        return found[()]

    def _mapped(self, first: int, n: int) -> np.ndarray:
        """Map some numbers, for as long as the result lives."""
        place = self._begin + first * self.dtype.itemsize
        return np.memmap(self._file, self.dtype, "r", place, (n,)) if n else np.empty(0, self.dtype)
