"""Products of bfloat16 on a processor that has none: the same numbers, multiplied in float32 and rounded once.

A product of two bfloat16 numbers is exact in float32, and processors with bfloat16 add such products up
in float32 too: what comes out differs in the order of the sums alone. torch's own fallback gives the
same at a fiftieth of the speed. For questions of quality only; of speed it says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

ATEN = torch.ops.aten
PRODUCTS = {ATEN.mm, ATEN.addmm}


class EmulatedBF16(TorchDispatchMode):
    """A context in which matrix products of bfloat16 run in float32."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func.overloadpacket not in PRODUCTS or not any(_is_bf16(part) for part in args):
            return func(*args, **kwargs)
        out = kwargs.pop("out", None)
        widened = (part.float() if _is_bf16(part) else part for part in args)
        product = func.overloadpacket.default(*widened, **kwargs)
        return product.to(torch.bfloat16) if out is None else out.copy_(product)


def _is_bf16(part: Any) -> bool:
    return isinstance(part, Tensor) and part.dtype == torch.bfloat16
