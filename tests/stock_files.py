"""Files as other ULMFiT programs leave them, made with stock fastai and tiny models."""

from __future__ import annotations

import pickle
from pathlib import Path

import fastai.callback.schedule  # noqa: F401  gives a Learner fit_one_cycle
import torch
from fastai.data.core import Datasets
from fastai.losses import CrossEntropyLossFlat
from fastai.text.data import LMDataLoader, Numericalize
from fastai.text.learner import LMLearner
from fastai.text.models.awdlstm import AWD_LSTM, awd_lstm_lm_config, awd_lstm_lm_split
from fastai.text.models.core import get_language_model
from torch import Tensor, nn

from ulmfit.text.rules import CONTROL_TOKENS
from ulmfit.text.vocab import FAKE

WORDS = [f"w{i}" for i in range(14)]
TOKENS = [*CONTROL_TOKENS, *WORDS, FAKE]
# The order of fastai v1, whose archives v2 still uses; the nine tokens are ours.
V1_TOKENS = [
    "xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxmaj", "xxup", "xxrep", "xxwrep", *WORDS
]  # fmt: skip
V07_TOKENS = ["_unk_", "_pad_", *WORDS[:5], "t_up", "xbos", *WORDS[5:], "tk_rep", "xfld", "tk_wrep"]


def stock_model(
    n_vocab: int, *, n_layers: int = 3, tied: bool = True, bias: bool = True
) -> nn.Module:
    """Build fastai's model with weights that differ everywhere."""
    config = awd_lstm_lm_config | {"emb_sz": 16, "n_hid": 24, "n_layers": n_layers}
    torch.manual_seed(n_vocab)
    model = get_language_model(
        AWD_LSTM, n_vocab, config=config | {"tie_weights": tied, "out_bias": bias}
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.5, 0.5)
    return model.eval()


def stock_learner(folder: Path, model: nn.Module, tokens: list[str]) -> LMLearner:
    """Put a model into fastai's Learner, which saves and loads in `folder`/models."""
    words = [token for token in tokens if token != FAKE]
    texts = [["xxbos", *words, *reversed(words)] for _ in range(4)]
    data = Datasets(texts, [Numericalize(vocab=tokens)], splits=[range(2), range(2, 4)])
    dls = data.dataloaders(dl_type=LMDataLoader, bs=2, seq_len=40, num_workers=0)
    return LMLearner(
        dls, model, loss_func=CrossEntropyLossFlat(), splitter=awd_lstm_lm_split, path=folder
    )


def stock_logits(model: nn.Module, ids: Tensor) -> Tensor:
    """Score ids from a fresh state."""
    model.reset()
    with torch.no_grad():
        return model.eval()(ids)[0]


def write_vocab(path: Path, tokens: list[str]) -> Path:
    """Pickle a vocabulary as everybody does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(tokens))
    return path


def v1_weights(model: nn.Module) -> dict[str, Tensor]:
    """Name tensors as v1 does: the dropped weight stands beside the raw one, as dropout left it."""
    named = dict(model.state_dict())
    for name in [name for name in named if name.endswith("_raw")]:
        shadow = name.replace("weight_hh_l0_raw", "module.weight_hh_l0")
        named[shadow] = named[name] * 0.3
    return named


def v07_weights(model: nn.Module) -> dict[str, Tensor]:
    """Name tensors as v0.7 does."""
    return {
        name.replace("encoder_dp.emb", "encoder_with_dropout.embed").replace(
            ".weight_hh_l0_raw", ".module.weight_hh_l0_raw"
        ): tensor
        for name, tensor in model.state_dict().items()
    }
