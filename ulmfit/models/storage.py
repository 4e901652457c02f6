"""How tensors lie in a file: as they are, in half precision, or as 8-bit integers with one scale a row.

In: weights by name. Out: what a safetensors file holds, and from that the weights again, in single precision. An
8-bit weight is off by at most half a step: 1/254 of the largest weight of its row.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

STORAGES = ("fp32", "fp16", "int8")
_STEPS = 127
_INT8, _SCALE = ".int8", ".scale"


def pack(weights: Mapping[str, Tensor], *, storage: str) -> dict[str, Tensor]:
    """Prepare tensors for a file: matrices in its format, vectors and whole numbers as they are.

    A model that is being trained may hold views; a file wants plain tensors.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        plain = tensor.detach().cpu()
        is_matrix = plain.is_floating_point() and plain.ndim == 2
        if is_matrix and storage == "int8":
            packed |= _rounded(name, plain.float())
        elif is_matrix and storage == "fp16" and _fits_half(plain):
            packed[name] = plain.half().contiguous()
        else:
            packed[name] = (plain.float() if plain.is_floating_point() else plain).contiguous()
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the weights of a file in single precision; refuse, with a ValueError, other integers than those."""
    weights: dict[str, Tensor] = {}
    for name, tensor in packed.items():
        if name.endswith(_INT8):
            bare = name.removesuffix(_INT8)
            weights[bare] = _restored(bare, tensor, packed.get(bare + _SCALE))
        elif not (name.endswith(_SCALE) and name.removesuffix(_SCALE) + _INT8 in packed):
            if tensor.ndim and not tensor.is_floating_point():
                raise ValueError(f"{name} is of type {tensor.dtype}, which no weight is")
            weights[name] = tensor.float() if tensor.is_floating_point() else tensor
    return weights


def _fits_half(matrix: Tensor) -> bool:
    """Tell whether half precision, which ends at 65,504, holds all of it."""
    return bool(matrix.half().isfinite().all())


def _rounded(name: str, matrix: Tensor) -> dict[str, Tensor]:
    """Round each row to whole multiples of its own step."""
    scale = matrix.abs().amax(dim=1, keepdim=True) / _STEPS
    steps = (matrix / scale.clamp_min(torch.finfo(torch.float32).tiny)).round()
    return {name + _INT8: steps.to(torch.int8), name + _SCALE: scale}


def _restored(name: str, steps: Tensor, scale: Tensor | None) -> Tensor:
    if scale is None or steps.ndim != 2 or scale.shape != (len(steps), 1):
        raise ValueError(f"{name} has no scale for each of its rows")
    return steps.float() * scale.float()
