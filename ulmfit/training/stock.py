"""How fast stock fastai trains on this machine: its own AWD-LSTM, loss and Adam in float32, on batches of the same texts.

In: a corpus and the config of a stage. Out: a `Pace`, as `pace.py` has one for ours. fastai's Learner, loader and
logging are left out, which can only flatter it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from fastai.optimizer import Adam
from fastai.text.data import pad_chunk
from fastai.text.models.awdlstm import (
    AWD_LSTM,
    awd_lstm_clas_config,
    awd_lstm_clas_split,
    awd_lstm_lm_config,
    awd_lstm_lm_split,
)
from fastai.text.models.core import get_language_model, get_text_classifier
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

from ulmfit.inference.language_model import LanguageModel
from ulmfit.models.arch import DROPOUTS, ArchConfig
from ulmfit.text.corpus import Corpus
from ulmfit.text.vocab import PAD_ID
from ulmfit.training.alone import alone
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.config import FinetuneConfig, PretrainConfig
from ulmfit.training.learner import StageLearner
from ulmfit.training.pace import (
    Pace,
    classifier_like,
    is_enough,
    lm_like,
    now,
    seconds_a_token,
)

MOST_BATCHES = 50  # that are measured with
LEAST_DROPOUT = 0.1  # drop_mult: without any dropout fastai's recurrent weights end in an error


class _Batch(NamedTuple):
    ids: Tensor
    targets: Tensor
    n_tokens: int
    """Without padding."""


def stock_lm_pace(
    corpus: Corpus, config: PretrainConfig | FinetuneConfig, *, lm: LanguageModel | None = None
) -> Pace:
    """Measure fastai's language model in the sizes of ours."""
    with alone():
        ours = lm_like(corpus, config, lm=lm)
        arch = ours.model.arch
        own = {"tie_weights": arch.tie_weights, "out_bias": arch.out_bias}
        stock = get_language_model(
            AWD_LSTM,
            len(corpus.vocab),
            config=awd_lstm_lm_config | _config(arch) | own,
            drop_mult=max(arch.drop_mult, LEAST_DROPOUT),
        )
        batches = [_Batch(ids, targets, ids.numel()) for ids, targets in _some(ours)]
        return _pace(stock, batches, ours, top=awd_lstm_lm_split(stock)[-1])


def stock_classifier_pace(corpus: Corpus, config: ClassifierConfig, *, arch: ArchConfig) -> Pace:
    """Measure fastai's classifier in the sizes of ours, its documents padded as fastai pads them."""
    with alone():
        ours = classifier_like(corpus, config, arch=arch)
        arch, pooling = ours.model.arch.encoder, ours.model.arch.pooling
        stock = get_text_classifier(
            AWD_LSTM,
            len(corpus.vocab),
            len(corpus.label_names),
            seq_len=pooling.bptt,
            config=awd_lstm_clas_config | _config(arch),
            drop_mult=max(arch.drop_mult, LEAST_DROPOUT),
            lin_ftrs=list(config.hidden_sizes),
            ps=[config.head_p] * len(config.hidden_sizes),
            pad_idx=PAD_ID,
            max_len=pooling.max_len,
        )
        batches = [_padded(*batch, seq_len=pooling.bptt) for batch in _some(ours)]
        return _pace(stock, batches, ours, top=awd_lstm_clas_split(stock)[-1])


def _config(arch: ArchConfig) -> dict[str, Any]:
    names = ("emb_sz", "n_hid", "n_layers", *DROPOUTS)
    return {name: getattr(arch, name) for name in names}


def _some(ours: StageLearner) -> Iterable[tuple[Tensor, ...]]:
    return islice(ours.dls.train, MOST_BATCHES)


def _padded(ids: Tensor, lengths: Tensor, labels: Tensor, *, seq_len: int) -> _Batch:
    """Pad documents as fastai's `Pad_Chunk` does, the longest first: in front, by whole chunks."""
    order = lengths.argsort(descending=True)
    longest = int(lengths.max())
    rows = [
        pad_chunk(ids[n, : lengths[n]], pad_idx=PAD_ID, seq_len=seq_len, pad_len=longest)
        for n in order.tolist()
    ]
    return _Batch(torch.stack(rows), labels[order], int(lengths.sum()))


def _pace(
    stock: nn.Module, batches: Sequence[_Batch], ours: StageLearner, *, top: Sequence[nn.Parameter]
) -> Pace:
    """Measure learning, with all layers and with the top alone if the schedule freezes any, and reading."""
    stock.to(ours.dls.device).eval()
    optimizer = Adam(list(stock.parameters()), ours.config.lr)

    def learn(batch: _Batch) -> None:
        output, raw, dropped = stock(batch.ids)
        loss = F.cross_entropy(output.flatten(0, -2), batch.targets.flatten())
        loss = loss + ours.config.activation_reg * dropped.pow(2).mean()
        loss = loss + ours.config.temporal_reg * (raw[:, 1:] - raw[:, :-1]).pow(2).mean()
        loss.backward()
        if ours.config.clip is not None:
            clip_grad_norm_(stock.parameters(), ours.config.clip)
        optimizer.step()
        optimizer.zero_grad()

    @torch.no_grad()
    def read(batch: _Batch) -> None:
        stock(batch.ids)

    reading = _seconds_a_token(read, batches)
    stock.train()
    whole = _seconds_a_token(learn, batches)
    n_groups = len(ours.model.layer_groups())
    if all(all(phase.is_trainable(n_groups)) for phase in ours.phases()):
        return Pace(whole, whole, reading)
    stock.requires_grad_(False)
    for weight in top:
        weight.requires_grad_(True)
    return Pace(whole, _seconds_a_token(learn, batches), reading)


def _seconds_a_token(work: Callable[[_Batch], None], batches: Sequence[_Batch]) -> float:
    steps: list[tuple[float, int]] = []
    for batch in batches:
        began_at = now()
        work(batch)
        steps.append((now() - began_at, batch.n_tokens))
        if is_enough(steps):
            break
    return seconds_a_token(steps)
