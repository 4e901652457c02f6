"""In which number format matrix products run: the one choice between the exact and the fast path.

Weights, losses and cell states are float32 everywhere. `auto` takes bfloat16 products on a CPU that
multiplies bfloat16 natively, and follows autocast where that is on; everything else is float32.
`int8` is for answers alone: layers multiply whole numbers, which other modules take as bfloat16.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
from torch import Tensor

Precision = Literal["auto", "bf16", "fp32", "int8"]

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


@cache
def has_fast_bf16() -> bool:
    """Say whether this processor multiplies bfloat16 numbers itself (AMX or AVX512_BF16).

    Emulated bfloat16 is slower than float32, so what torch cannot vouch for counts as no.
    """
    checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return torch.backends.mkldnn.is_available() and any(
        getattr(torch.cpu, check, bool)() for check in checks
    )


@cache
def has_fast_int8() -> bool:
    """Say whether this processor multiplies whole numbers of 8 bits itself (AVX512_VNNI), and torch uses it.

    Others saturate when they add two such products.
    """
    is_supported = getattr(torch.cpu, "_is_vnni_supported", bool)()
    return is_supported and hasattr(torch.ops.onednn, "qlinear_prepack")
