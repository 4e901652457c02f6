"""fastai's own language model with the weights of ours: what parity is measured against."""

from __future__ import annotations

import torch
from fastai.text.models.awdlstm import AWD_LSTM, awd_lstm_lm_config
from fastai.text.models.core import get_language_model
from torch import Tensor, nn
from torch.nn import functional as F

from ulmfit.models.arch import DROPOUTS, ArchConfig
from ulmfit.models.language_model import LanguageModel

LSTM_PARTS = ("weight_ih", "bias_ih", "bias_hh")


def stock_language_model(model: LanguageModel) -> nn.Module:
    """Build fastai's model of the same sizes and dropouts, and copy the weights into it."""
    arch: ArchConfig = model.arch
    config = awd_lstm_lm_config | {
        "emb_sz": arch.emb_sz,
        "n_hid": arch.n_hid,
        "n_layers": arch.n_layers,
        "tie_weights": arch.tie_weights,
        "out_bias": arch.out_bias,
    }
    config |= {name: getattr(arch, name) for name in DROPOUTS}
    # Stock fastai stops with an error at weight_p = 0, so all its dropouts are switched by hand.
    stock = get_language_model(AWD_LSTM, model.n_vocab, config=config, drop_mult=arch.drop_mult)
    with torch.no_grad():
        for parameter, own in pairs(stock, model):
            parameter.copy_(own)
    stock.reset()
    return stock


def pairs(stock: nn.Module, model: LanguageModel) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """Match the parameters of both models by what they are."""
    found = [(stock[0].encoder.weight, model.encoder.embedding.weight)]
    for theirs, ours in zip(stock[0].rnns, model.encoder.rnns):
        found.append((theirs.weight_hh_l0_raw, ours.weight_hh))
        found += [(getattr(theirs.module, f"{p}_l0"), getattr(ours, p)) for p in LSTM_PARTS]
    if model.decoder.weight is not None:
        found.append((stock[1].decoder.weight, model.decoder.weight))
    if model.decoder.bias is not None:
        found.append((stock[1].decoder.bias, model.decoder.bias))
    return found


def stock_loss(
    stock: nn.Module, ids: Tensor, targets: Tensor, *, alpha: float, beta: float
) -> Tensor:
    """Do one forward step as fastai's Learner does with RNNCallback and RNNRegularizer."""
    logits, raw, dropped = stock(ids)
    loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))
    if alpha:
        loss = loss + alpha * dropped.float().pow(2).mean()
    if beta and len(raw) > 1:
        loss = loss + beta * (raw[:, 1:] - raw[:, :-1]).float().pow(2).mean()
    return loss
