"""Products with a weight that many rows meet: brought once into the layout and the numbers that multiply fastest.

In: float32 weights (outputs, inputs). Out: functions of rows, which give bfloat16. `Kept` remembers
what a module prepared, for as long as its weights stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ulmfit.models.native import kernels
from ulmfit.models.precision import EIGHT_BITS, WholeRange, whole_range

BF16 = torch.bfloat16
ROWS = 64  # that a layout is chosen for; with one row it is as fast
LARGEST = 127  # of the whole numbers of a weight

Product = Callable[[Tensor], Tensor]
Sum = Callable[[Tensor, Tensor], Tensor]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Products:
    """How a recurrent layer multiplies: its input at all steps at once, its state at each."""

    inputs: Product  # (seq_len, bs, inputs) -> (seq_len, bs, gates), bias included
    recurrent: Sum  # (bs, units), (bs, gates) -> (bs, gates): multiply the first, add the second


def bf16_product(weight: Tensor, bias: Tensor | None = None, *, rows: int = ROWS) -> Product:
    """Prepare x -> x @ weight.T + bias."""
    bias = None if bias is None else bias.to(BF16)
    packed = _packed(weight.to(BF16), rows)
    if packed is None:
        widened, addend = weight.to(BF16).float(), None if bias is None else bias.float()
        return lambda x: F.linear(x.to(BF16).float(), widened, addend).to(BF16)
    multiply = torch.ops.mkldnn._linear_pointwise
    return lambda x: multiply(x.to(BF16), packed, bias, "none", [], "")


def bf16_sum(weight: Tensor, *, rows: int = ROWS) -> Sum:
    """Prepare (x, y) -> x @ weight.T + y, rounded once."""
    packed = _packed(weight.to(BF16), rows)
    if packed is None:
        columns = weight.to(BF16).float().t()
        return lambda x, y: torch.addmm(y.float(), x.float(), columns).to(BF16)
    multiply = torch.ops.mkldnn._linear_pointwise.binary
    return lambda x, y: multiply(x, y, packed, None, "add")


def int8_product(weight: Tensor, bias: Tensor) -> Product:
    """Prepare x -> x @ weight.T + bias in whole numbers."""
    multiply, bias = _int8(weight), bias.to(BF16)

    def product(x: Tensor) -> Tensor:
        found, scales = multiply(x.flatten(0, -2))
        total = torch.addcmul(bias.to(found.dtype), found, scales, out=found)
        return total.to(BF16).unflatten(0, x.shape[:-1])

    return product


def int8_sum(weight: Tensor) -> Sum:
    """Prepare (x, y) -> x @ weight.T + y in whole numbers."""
    multiply = _int8(weight)

    def add(x: Tensor, y: Tensor) -> Tensor:
        found, scales = multiply(x)
        return torch.addcmul(y.to(found.dtype), found, scales, out=found).to(BF16)

    return add


def _int8(weight: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Prepare x (rows, inputs) -> a product and a scale for each row; multiplied they are x @ weight.T.

    Each output's weights and each row of x have a scale of their own, and whole numbers add up
    without rounding: a row's result depends on no other row.
    """
    numbers = whole_range() or EIGHT_BITS
    scales = weight.abs().amax(1).clamp(min=torch.finfo(weight.dtype).tiny) / LARGEST
    whole = (weight / scales[:, None]).round().to(torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(whole, [ROWS, weight.shape[1]])
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    multiply = torch.ops.onednn.qlinear_pointwise

    def product(x: Tensor) -> tuple[Tensor, Tensor]:
        whole, of_rows = whole_rows(x.to(BF16), numbers)
        found = multiply(
            whole, 1.0, numbers.zero, packed, scales, zeros, None, 1.0, 0, numbers.result, "none", [], ""
        )  # fmt: skip
        return found, of_rows.to(numbers.result)

    return product


def whole_rows(x: Tensor, numbers: WholeRange) -> tuple[Tensor, Tensor]:
    """Write bfloat16 rows (rows, inputs) as whole numbers around `numbers.zero`, and a scale for each row."""
    x = x.contiguous()
    if native := kernels():
        whole, scales = x.new_empty(x.shape, dtype=torch.uint8), x.new_empty(len(x), 1)
        native.whole_rows(x, whole, scales, largest=numbers.largest, zero=numbers.zero)
        return whole, scales
    largest = x.abs().amax(1, keepdim=True).float().clamp(min=2.0**-100)
    scales = (largest / numbers.largest).to(BF16)
    return (x / scales.float()).round_().add_(numbers.zero).to(torch.uint8), scales


def _packed(weight: Tensor, rows: int) -> Tensor | None:
    """Bring a bfloat16 weight into the layout that the processor multiplies fastest, if torch knows how to.

    The operator is torch's own but not a public one, and refuses processors without AVX-512. There the same
    numbers are multiplied in float32, which is exact but for the sums, and far faster than what torch does with bfloat16.
    """
    try:
        return torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    except (AttributeError, RuntimeError):
        return None


@dataclass(frozen=True)
class _Entry:
    made: Any
    sources: tuple[
        Tensor, ...
    ]  # kept alive, so that no other tensor can take their place in memory
    versions: tuple[int, ...]

    def is_of(self, weights: Sequence[Tensor]) -> bool:
        pairs = zip(self.sources, self.versions, weights, strict=True)
        return all(
            source.data_ptr() == weight.data_ptr() and version == weight._version
            for source, version, weight in pairs
        )


class Kept:
    """What was prepared from a module's frozen weights, by name; made again when one of them has changed.

    A change is another tensor, or one that torch counts; what goes past its count (`weight.data.add_(1)`)
    has to be followed by `clear`. Fused optimisers do, so of weights that may learn nothing is kept.
    Threads may share it. A copy of it, and so of its module, is empty.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: dict[str, _Entry] = {}

    def get(self, name: str, weights: Sequence[Tensor], make: Callable[[], Made]) -> Made:
        """Return what `make` gives for these weights, from memory if they are as they were."""
        if any(weight.requires_grad or weight.is_inference() for weight in weights):
            self.clear()  # nobody counts their changes
            return make()
        with self._lock:
            entry = self._entries.get(name)
            if entry is None or not entry.is_of(weights):
                versions = tuple(weight._version for weight in weights)
                entry = _Entry(make(), tuple(weight.detach() for weight in weights), versions)
                self._entries[name] = entry
            return entry.made

    def clear(self) -> None:
        """Forget everything, and free its memory."""
        with self._lock:
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def __deepcopy__(self, memo: dict[int, Any]) -> Kept:
        return Kept()

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()
