"""The two activation penalties of the AWD-LSTM (Merity et al. 2018, 4.5), as functions of hidden states.

Both take (bs, seq_len, units) and average over what is text: with `lengths`, padding counts neither
above nor below the line, so the penalty does not depend on the batch a document is in.
"""

from __future__ import annotations

import torch
from torch import Tensor


def activation_reg(dropped: Tensor, *, lengths: Tensor | None = None) -> Tensor:
    """Give the mean square of the last layer after dropout (AR); multiply by alpha."""
    return _mean_square(dropped, lengths)


def temporal_reg(raw: Tensor, *, lengths: Tensor | None = None) -> Tensor:
    """Give the mean square of the last layer's change from step to step (TAR); multiply by beta."""
    change = raw[:, 1:] - raw[:, :-1]
    return _mean_square(change, None if lengths is None else (lengths - 1).clamp(min=0))


def _mean_square(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Average over rows, steps before each row's length, and units; 0 if there are none."""
    _, seq_len, n_units = x.shape
    if lengths is None:
        return x.float().square().sum() / max(1, x.numel())
    is_text = torch.arange(seq_len, device=x.device) < lengths.unsqueeze(1)  # (bs, seq_len)
    # Masked before squaring: whatever stands in the padding gets a gradient of zero.
    total = x.masked_fill(~is_text.unsqueeze(-1), 0).float().square().sum()
    return total / (is_text.sum() * n_units).clamp(min=1)
