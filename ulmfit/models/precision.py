"""In which number format matrix products run: the one choice between the exact and the fast path.

Weights and losses are float32 everywhere, cell states where no autocast has them otherwise. `auto`
takes bfloat16 products on a CPU that multiplies bfloat16 natively, and follows autocast where that
is on; everything else is float32.
`int8` is for answers alone: layers multiply whole numbers, which other modules take as bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, wraps
from typing import Literal, ParamSpec, TypeVar

import torch
from torch import Tensor

Precision = Literal["auto", "bf16", "fp32", "int8"]
Given = ParamSpec("Given")
Result = TypeVar("Result")

# A weight is cast once a call. Multiplied fewer times than this, casting costs more than it saves.
MIN_USES = 16


def product_dtype(weight: Tensor, precision: Precision, *, n_uses: int) -> torch.dtype:
    """Choose the format in which to multiply `n_uses` rows, or steps, by `weight`."""
    if precision in ("bf16", "int8"):
        return torch.bfloat16
    if precision == "fp32":
        return weight.dtype
    if torch.is_autocast_enabled(weight.device.type):
        return torch.get_autocast_dtype(weight.device.type)
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or n_uses < MIN_USES:
        return weight.dtype
    return torch.bfloat16 if has_fast_bf16() else weight.dtype


def without_autocast(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Let answers have the precision that was asked for, whatever autocast their caller has on."""

    @wraps(function)
    def called(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        with torch.autocast("cpu", enabled=False):
            return function(*args, **kwargs)

    return called


@cache
def has_fast_bf16() -> bool:
    """Say whether this processor multiplies bfloat16 numbers itself (AMX or AVX512_BF16).

    Emulated bfloat16 is slower than float32, so what torch cannot vouch for counts as no.
    """
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return torch.backends.mkldnn.is_available() and any(
        getattr(torch.cpu, check, bool)() for check in checks
    )


@dataclass(frozen=True)
class WholeRange:
    """The unsigned whole numbers that stand for the numbers of a row, so that no product or sum of them overflows."""

    largest: int
    """The farthest from `zero` that one may be; 126 leaves room for the rounding of a scale to bfloat16."""
    zero: int
    """What stands for 0."""
    result: torch.dtype
    """What a product comes out as: torch has fast kernels for this one."""


EIGHT_BITS = WholeRange(126, 128, torch.bfloat16)
SEVEN_BITS = WholeRange(63, 64, torch.float32)


@cache
def whole_range() -> WholeRange | None:
    """Say which whole numbers this processor multiplies by those of 8 bits, faster than float32; None if torch has no such products.

    With AVX512_VNNI all 8 bits. AVX2 adds two products in 16 bits, where only those of 7 bits and 8 fit.
    """
    if not hasattr(torch.ops.onednn, "qlinear_prepack"):
        return None
    if getattr(torch.cpu, "_is_vnni_supported", bool)():
        return EIGHT_BITS
    return SEVEN_BITS if torch.backends.cpu.get_cpu_capability().startswith("AVX") else None
