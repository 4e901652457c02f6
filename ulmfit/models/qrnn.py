"""The QRNN (Bradbury et al. 2017), MultiFiT's backbone: gates from a convolution, then a cheap recurrence.

As in fastai v1: gates z, f, o; a window of two tokens in the first layer and one above; no zoneout;
weight drop on the convolution, the only weight there is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ulmfit.models.arch import ArchConfig
from ulmfit.models.dropout import weight_drop
from ulmfit.models.encoder import Encoder, uniform_parameter
from ulmfit.models.precision import Precision, product_dtype
from ulmfit.models.state import LayerState
from ulmfit.models.threads import one_thread


class QRNNLayer(nn.Module):
    """One QRNN layer; its state is the last cell and, with a window of 2, the last input."""

    def __init__(self, n_in: int, n_units: int, *, window: int) -> None:
        super().__init__()
        self.n_units, self.window = n_units, window
        bound = (window * n_in) ** -0.5  # as `nn.Linear` starts
        self.weight = uniform_parameter(3 * n_units, window * n_in, bound=bound)
        self.bias = uniform_parameter(3 * n_units, bound=bound)

    def initial_state(self, x: Tensor) -> LayerState:
        """Make a cell of zeros, and a token of zeros before the first one."""
        cell = x.new_zeros(x.shape[1], self.n_units)
        return (cell,) if self.window == 1 else (cell, torch.zeros_like(x[0]))

    def drop_weight(self, p: float) -> Tensor:
        """Drop entries of the convolution."""
        return weight_drop(self.weight, p)

    def forward(
        self, x: Tensor, state: LayerState, *, weight: Tensor, precision: Precision
    ) -> tuple[Tensor, LayerState]:
        """Read `x` (seq_len, bs, inputs) with `weight` in the place of the parameter, for all steps."""
        cell, *last_input = state
        source = x
        if last_input:
            earlier = torch.cat([last_input[0].to(x.dtype).unsqueeze(0), x[:-1]])
            source = torch.cat([x, earlier], dim=2)  # this token, then the one before
        dtype = product_dtype(self.weight, precision, n_uses=x.shape[0] * x.shape[1])
        gates = F.linear(source.to(dtype), weight.to(dtype), self.bias.to(dtype)).to(x.dtype)
        z, f, o = gates.chunk(3, dim=2)  # each (seq_len, bs, units)
        cells = forget_mult(z.tanh(), f.sigmoid(), cell)
        after = (cells[-1],) if self.window == 1 else (cells[-1], x[-1])
        return o.sigmoid() * cells, after


def forget_mult(z: Tensor, f: Tensor, cell: Tensor) -> Tensor:
    """Average over time: cell[t] = f[t] * z[t] + (1 - f[t]) * cell[t - 1]; all cells are returned."""
    return _ForgetMult.apply(z, f, cell)


class _ForgetMult(torch.autograd.Function):
    """Only one multiplication a step waits for the step before; the rest is done for all steps at once."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, f: Tensor, cell: Tensor) -> Tensor:
        keep = 1 - f
        cells = f * z
        cells[0].addcmul_(keep[0], cell)
        with one_thread():
            for t in range(1, len(cells)):
                cells[t].addcmul_(keep[t], cells[t - 1])
        ctx.save_for_backward(z, f, keep, cell, cells)
        return cells

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, f, keep, cell, cells = ctx.saved_tensors
        d_cells = d_cells.clone()
        with one_thread():
            for t in range(len(d_cells) - 1, 0, -1):
                d_cells[t - 1].addcmul_(keep[t], d_cells[t])
        before = torch.cat([cell.unsqueeze(0), cells[:-1]])
        return d_cells * f, d_cells * (z - before), keep[0] * d_cells[0]


def qrnn(arch: ArchConfig, n_vocab: int) -> Encoder:
    """Build the encoder of a QRNN language model."""
    layers = [
        QRNNLayer(n_in, n_units, window=1 if depth else 2)
        for depth, (n_in, n_units) in enumerate(arch.layer_sizes())
    ]
    return Encoder(arch, n_vocab, layers=layers)
