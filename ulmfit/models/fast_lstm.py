"""An LSTM layer in bfloat16 for a CPU: the same mathematics as torch's, two to five times as fast.

In: a whole sequence, time first, float32 weights. Out: hidden states and the last cell, float32.
Matrix products take bfloat16 and sum in float32; the cell state and its arithmetic stay float32.
Whatever does not depend on the step before is one product for all steps, forward and backward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ulmfit.models.lstm_cell import make_cell
from ulmfit.models.products import (
    BF16,
    Products,
    bf16_product,
    bf16_sum,
    int8_product,
    int8_sum,
)


@dataclass(frozen=True)
class LSTMWeights:
    """One layer's weights; the rows are the gates in torch's order: input, forget, cell, output."""

    ih: Tensor  # (4 * units, inputs)
    hh: Tensor  # (4 * units, units)
    bias_ih: Tensor  # (4 * units,)
    bias_hh: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """List all four."""
        return self.ih, self.hh, self.bias_ih, self.bias_hh

    def products(self, form: Literal["bf16", "int8"]) -> Products:
        """Prepare the weights for any number of calls without a gradient."""
        bias = self.bias_ih + self.bias_hh
        if form == "int8":
            return Products(int8_product(self.ih, bias), int8_sum(self.hh))
        return Products(bf16_product(self.ih, bias), bf16_sum(self.hh))


def fast_lstm(
    x: Tensor, state: tuple[Tensor, ...], *, weights: LSTMWeights
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Run a layer over `x` (seq_len, bs, inputs) from `state` (hidden, cell), each (bs, units)."""
    if not torch.is_grad_enabled():
        return answering_lstm(x, state, products=weights.products("bf16"))
    hidden, cell = state
    bias = weights.bias_ih + weights.bias_hh
    hiddens, cell = _LSTM.apply(x, hidden, cell, weights.ih, weights.hh, bias)
    return hiddens, (hiddens[-1].clone(), cell)  # a view would keep the whole sequence alive


def answering_lstm(
    x: Tensor, state: tuple[Tensor, ...], *, products: Products
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Do the same without a gradient, with products that were prepared before."""
    tape = _run(x, *state, products, is_kept=False)
    hiddens = tape.hiddens[1:].float()
    return hiddens, (hiddens[-1].clone(), tape.cells[-1])


@dataclass(frozen=True)
class _Tape:
    """What a run leaves behind: all that the backward pass needs, if it was kept."""

    x: Tensor  # (seq_len, bs, inputs) bf16
    gates: Tensor  # (seq_len, bs, 4 * units) bf16, after their activation
    hiddens: Tensor  # (seq_len + 1, bs, units) bf16, the state before the first step included
    cells: Tensor  # (seq_len + 1, bs, units) fp32, or the last one only


def _run(x: Tensor, hidden: Tensor, cell: Tensor, products: Products, *, is_kept: bool) -> _Tape:
    """Step through the sequence; the buffer of the projected input becomes that of the gates."""
    (seq_len, bs, _), n_units = x.shape, hidden.shape[1]
    gates = products.inputs(x)  # (seq_len, bs, 4 * units): all steps at once
    cell_of = make_cell(bs, n_units)
    hiddens = gates.new_empty(seq_len + 1, bs, n_units)
    cells = cell.new_empty(seq_len + 1 if is_kept else 1, bs, n_units, dtype=torch.float32)
    hiddens[0], cells[0] = hidden, cell
    for t in range(seq_len):
        before, after = (cells[t], cells[t + 1]) if is_kept else (cells[0], cells[0])
        product = products.recurrent(hiddens[t], gates[t])
        cell_of.cell_forward(product, gates[t], before, after, hiddens[t + 1])
    return _Tape(x, gates, hiddens, cells)


def _gate_gradients(
    tape: _Tape, hh: Tensor, d_hiddens: Tensor, d_cell: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Step back through the sequence; give the gradients of gates, first hidden and first cell."""
    seq_len, bs, n_units = d_hiddens.shape
    d_gates = torch.empty_like(tape.gates)
    back_product, cell_of = bf16_product(hh.t(), rows=bs), make_cell(bs, n_units)
    d_hiddens = d_hiddens.float().contiguous()
    d_cell = d_cell.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    d_next = torch.zeros_like(d_cell, dtype=BF16)  # a hidden state's gradient from the next step
    for t in reversed(range(seq_len)):
        cell_of.cell_backward(
            tape.gates[t],
            tape.cells[t],
            tape.cells[t + 1],
            d_output=d_hiddens[t],
            d_next=d_next,
            d_cell=d_cell,
            d_gates=d_gates[t],
        )
        d_next = back_product(d_gates[t])
    return d_gates, d_next.float(), d_cell


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, hidden: Tensor, cell: Tensor, ih: Tensor, hh: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        x, ih, hh, bias = (tensor.to(BF16) for tensor in (x, ih, hh, bias))
        products = Products(lambda x: F.linear(x, ih, bias), bf16_sum(hh, rows=x.shape[1]))
        tape = _run(x, hidden, cell, products, is_kept=True)
        ctx.save_for_backward(tape.x, tape.gates, tape.hiddens, tape.cells, ih, hh)
        return tape.hiddens[1:].float(), tape.cells[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_hiddens: Tensor, d_cell: Tensor) -> tuple[Tensor | None, ...]:
        *parts, ih, hh = ctx.saved_tensors
        tape = _Tape(*parts)
        d_gates, d_hidden, d_cell = _gate_gradients(tape, hh, d_hiddens, d_cell)
        d_gates = d_gates.flatten(0, 1)  # (seq_len * bs, 4 * units)
        d_x = (d_gates @ ih).float().view(tape.x.shape) if ctx.needs_input_grad[0] else None
        d_ih = _weight_gradient(tape.x.flatten(0, 1), d_gates) if ctx.needs_input_grad[3] else None
        before = tape.hiddens[:-1].flatten(0, 1)
        d_hh = _weight_gradient(before, d_gates) if ctx.needs_input_grad[4] else None
        d_bias = (d_gates.new_ones(1, len(d_gates)) @ d_gates)[0].float()
        return d_x, d_hidden, d_cell, d_ih, d_hh, d_bias


def _weight_gradient(inputs: Tensor, d_outputs: Tensor) -> Tensor:
    """Multiply d_outputs.T by inputs, transposing the smaller of the two: that is twice as fast."""
    product = inputs.t().contiguous() @ d_outputs  # (inputs, outputs)
    return product.t().to(torch.float32, memory_format=torch.contiguous_format)
