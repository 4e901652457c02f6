"""The AWD-LSTM (Merity et al. 2018), the backbone of the paper: an LSTM with dropped recurrent weights.

Weight drop makes a new tensor that is handed to the kernel; the parameter itself is never replaced.
The layer runs on torch's own kernels (oneDNN, cuDNN) or on the bfloat16 path of a CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ulmfit.models.arch import ArchConfig
from ulmfit.models.dropout import weight_drop
from ulmfit.models.encoder import Encoder, uniform_parameter
from ulmfit.models.fast_lstm import LSTMWeights, answering_lstm, fast_lstm
from ulmfit.models.precision import Precision, product_dtype
from ulmfit.models.products import Kept
from ulmfit.models.state import LayerState


class LSTMLayer(nn.Module):
    """One LSTM layer; parameters named and ordered as torch's, gates input, forget, cell, output."""

    def __init__(self, n_in: int, n_units: int) -> None:
        super().__init__()
        self.n_units = n_units
        bound = n_units**-0.5  # torch's own start
        self.weight_ih = uniform_parameter(4 * n_units, n_in, bound=bound)
        self.weight_hh = uniform_parameter(4 * n_units, n_units, bound=bound)
        self.bias_ih = uniform_parameter(4 * n_units, bound=bound)
        self.bias_hh = uniform_parameter(4 * n_units, bound=bound)
        self._kept = Kept()

    def train(self, mode: bool = True) -> LSTMLayer:
        """Begin or end training, which changes the weights: what was prepared from them is freed."""
        if mode:
            self._kept.clear()
        return super().train(mode)

    def initial_state(self, x: Tensor) -> LayerState:
        """Make a hidden state and a cell of zeros."""
        zeros = x.new_zeros(x.shape[1], self.n_units)
        return zeros, zeros

    def drop_weight(self, p: float) -> Tensor:
        """Drop entries of the recurrent weight."""
        return weight_drop(self.weight_hh, p)

    def forward(
        self, x: Tensor, state: LayerState, *, weight: Tensor, precision: Precision
    ) -> tuple[Tensor, LayerState]:
        """Read `x` (seq_len, bs, inputs) with `weight` in the place of `weight_hh`, for all steps."""
        weights = LSTMWeights(self.weight_ih, weight, self.bias_ih, self.bias_hh)
        dtype = product_dtype(self.weight_hh, precision, n_uses=len(x))
        if x.device.type != "cpu" or dtype != torch.bfloat16:
            with torch.autocast(x.device.type, enabled=False):  # the format is chosen already
                return torch_lstm(x, state, weights=weights, dtype=dtype)
        if self.training or torch.is_grad_enabled():
            self._kept.clear()
            return fast_lstm(x, state, weights=weights)
        form = "int8" if precision == "int8" else "bf16"
        products = self._kept.get(form, weights.tensors(), lambda: weights.products(form))
        return answering_lstm(x, state, products=products)


def torch_lstm(
    x: Tensor, state: LayerState, *, weights: LSTMWeights, dtype: torch.dtype
) -> tuple[Tensor, LayerState]:
    """Run torch's LSTM kernel on weights that are given, not kept in an `nn.LSTM`."""
    flat = [w.to(dtype) for w in (weights.ih, weights.hh, weights.bias_ih, weights.bias_hh)]
    if x.is_cuda:
        flat = _in_one_piece(flat)
    if (
        x.device.type == "cpu" and len(x) == 1
    ):  # a step of its own: setting the kernel up takes longer
        hidden, cell = torch.lstm_cell(x[0].to(dtype), [part.to(dtype) for part in state], *flat)
        return hidden[None].to(x.dtype), (hidden.to(x.dtype), cell.to(x.dtype))
    hidden, cell = (part.to(dtype).unsqueeze(0) for part in state)
    # Telling the kernel that it trains only makes it keep what a gradient needs; its dropout is 0.
    is_training = torch.is_grad_enabled()
    out, hidden, cell = torch.lstm(
        x.to(dtype), (hidden, cell), flat, True, 1, 0.0, is_training, False, False
    )
    return out.to(x.dtype), (hidden[0].to(x.dtype), cell[0].to(x.dtype))


def _in_one_piece(weights: list[Tensor]) -> list[Tensor]:
    """Copy weights into one buffer, as cuDNN wants them; gradients flow through to the originals."""
    buffer = torch.cat([w.reshape(-1) for w in weights])
    parts = buffer.split([w.numel() for w in weights])
    return [part.view(w.shape) for part, w in zip(parts, weights)]


def awd_lstm(arch: ArchConfig, n_vocab: int) -> Encoder:
    """Build the encoder of an AWD-LSTM."""
    return Encoder(arch, n_vocab, layers=[LSTMLayer(*sizes) for sizes in arch.layer_sizes()])
