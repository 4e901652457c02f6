"""fastai's own classifier with the weights of ours: what answers for a text alone are measured against."""

from __future__ import annotations

import torch
from fastai.text.models.awdlstm import AWD_LSTM
from fastai.text.models.core import get_text_classifier
from stock_lm import LSTM_PARTS
from torch import Tensor, nn

from ulmfit.models.classifier import Classifier

NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


def stock_classifier(model: Classifier) -> nn.Module:
    """Build fastai's classifier of the same sizes and copy the weights into it."""
    arch, encoder = model.arch, model.arch.encoder
    stock = get_text_classifier(
        AWD_LSTM,
        model.n_vocab,
        arch.n_outputs,
        seq_len=arch.pooling.bptt,
        config={"emb_sz": encoder.emb_sz, "n_hid": encoder.n_hid, "n_layers": encoder.n_layers},
        lin_ftrs=list(arch.hidden_sizes),
        ps=[arch.head_p] * len(arch.hidden_sizes),
        max_len=arch.pooling.max_len,
    )
    with torch.no_grad():
        for theirs, ours in pairs(stock, model):
            theirs.copy_(ours)
    stock.reset()
    return stock.eval()


def pairs(stock: nn.Module, model: Classifier) -> list[tuple[Tensor, Tensor]]:
    """Match the tensors of both models by what they are."""
    theirs = stock[0].module
    found = [(theirs.encoder.weight, model.encoder.embedding.weight)]
    for layer, ours in zip(theirs.rnns, model.encoder.rnns):
        found.append((layer.weight_hh_l0_raw, ours.weight_hh))
        found += [(getattr(layer.module, f"{p}_l0"), getattr(ours, p)) for p in LSTM_PARTS]
    for block, ours in zip(stock[1].layers, model.head.blocks):
        linear = next(part for part in block if isinstance(part, nn.Linear))
        found += [(getattr(block[0], name), getattr(ours.norm, name)) for name in NORM_PARTS]
        found.append((linear.weight, ours.linear.weight))
    return found


def stock_alone(stock: nn.Module, document: list[int]) -> Tensor:
    """Give the logits of one document by itself, where fastai needs no padding."""
    with torch.no_grad():
        return stock(torch.tensor([document]))[0][0]
