"""One step of an LSTM's cell, forward and back: compiled where that is possible, else in torch.

In: gates in bfloat16, cell states in float32. Out: the buffers that the caller hands over. Both ways
compute in float32 and round once, so they differ by the last bits of their exponentials.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ulmfit.models.native import kernels
from ulmfit.models.threads import one_thread


class Cell(Protocol):
    """Gates are (bs, 4 * units) in torch's order: input, forget, cell, output; the rest (bs, units)."""

    def cell_forward(
        self, gates: Tensor, kept: Tensor, before: Tensor, after: Tensor, hidden: Tensor
    ) -> None:
        """Step from the cell `before`; `kept` takes the gates after their activation."""
        ...

    def cell_backward(
        self,
        gates: Tensor,
        before: Tensor,
        after: Tensor,
        *,
        d_output: Tensor,
        d_next: Tensor,
        d_cell: Tensor,
        d_gates: Tensor,
    ) -> None:
        """Step back; `d_output` and `d_next` are the hidden state's gradient, `d_cell` is updated."""
        ...


def make_cell(bs: int, n_units: int) -> Cell:
    """Choose the fastest cell that this machine can run."""
    return kernels() or TorchCell(bs, n_units)


class TorchCell:
    """The cell in torch's operations, with buffers that all steps use again."""

    def __init__(self, bs: int, n_units: int) -> None:
        self._act, self._d_act = torch.empty(2, bs, 4, n_units)
        self._tanh, self._d_hidden, self._d_tanh = torch.empty(3, bs, n_units)

    def cell_forward(
        self, gates: Tensor, kept: Tensor, before: Tensor, after: Tensor, hidden: Tensor
    ) -> None:
        """Do one step forward."""
        act, tanh = self._act, self._tanh
        i, f, g, o = act.unbind(1)
        with one_thread():
            act.view(gates.shape).copy_(gates)
            act[:, :2].sigmoid_()
            g.tanh_()
            o.sigmoid_()
            torch.mul(f, before, out=after).addcmul_(i, g)
            hidden.copy_(torch.tanh(after, out=tanh).mul_(o))
            kept.copy_(act.view(gates.shape))

    def cell_backward(
        self,
        gates: Tensor,
        before: Tensor,
        after: Tensor,
        *,
        d_output: Tensor,
        d_next: Tensor,
        d_cell: Tensor,
        d_gates: Tensor,
    ) -> None:
        """Do one step back."""
        act, d_act, tanh = self._act, self._d_act, self._tanh
        d_hidden, d_tanh = self._d_hidden, self._d_tanh
        i, f, g, o = act.unbind(1)
        with one_thread():
            act.view(gates.shape).copy_(gates)
            torch.tanh(after, out=tanh)
            d_hidden.copy_(d_next).add_(d_output)
            torch.mul(d_hidden, o, out=d_tanh)
            d_cell.add_(d_tanh).addcmul_(d_tanh, tanh.square(), value=-1)
            torch.mul(d_cell, g, out=d_act[:, 0])
            torch.mul(d_cell, before, out=d_act[:, 1])
            torch.mul(d_cell, i, out=d_act[:, 2])
            torch.mul(d_hidden, tanh, out=d_act[:, 3])
            d_cell.mul_(f)
            slope = 1 - act  # of a sigmoid, with one more factor `act`
            torch.mul(act, slope, out=slope)
            torch.addcmul(g.new_ones(()), g, g, value=-1, out=slope[:, 2])
            d_gates.copy_(d_act.mul_(slope).view(gates.shape))
