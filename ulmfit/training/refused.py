"""What of fastai a Learner of ours cannot use, each with what takes its place.

In: a callback, or a loader, that a user gives. Out: nothing, or one line.
"""

from __future__ import annotations

from typing import Any

from fastai.callback.fp16 import MixedPrecision, NonNativeMixedPrecision
from fastai.callback.mixup import CutMix, MixUp
from fastai.callback.rnn import ModelResetter, RNNCallback, RNNRegularizer
from fastai.callback.training import GradientAccumulation

from ulmfit.errors import UserError
from ulmfit.text.corpus import Corpus
from ulmfit.text.lm_stream import is_backward

_PRECISION = "precision in the config has chosen already"
_MIXED = "ids of words cannot be mixed; label_smoothing in the config smooths labels"
_PENALTIES = (
    "activation_reg and temporal_reg in the config set the penalties that are there already"
)
CALLBACKS: dict[type, str] = {
    MixedPrecision: _PRECISION,
    NonNativeMixedPrecision: _PRECISION,
    MixUp: _MIXED,
    CutMix: _MIXED,
    ModelResetter: "the state begins anew with each pass already, leave it out",
    RNNCallback: _PENALTIES,
    RNNRegularizer: _PENALTIES,
}


def require_usable(callback: Any, *, accumulate: int) -> None:
    """Refuse a callback of fastai's that would fail in the middle of a batch; what is made of one may know better.

    `accumulate` batches make a step already.
    """
    kind = callback if isinstance(callback, type) else type(callback)
    reason = CALLBACKS.get(kind)
    if kind is GradientAccumulation and accumulate > 1:
        reason = f"accumulate in the config adds up {accumulate} batches already"
    if reason:
        raise UserError(f"{kind.__name__} has no place here: {reason}")


def require_own(dl: Any, corpus: Corpus, *, direction: str) -> None:
    """Refuse a loader whose ids are other words to the model, or come in another order; a list of batches has neither."""
    read = getattr(dl, "corpus", None)
    if read is None:
        return
    if read.vocab != corpus.vocab:
        raise UserError(
            f"the loader reads {read.folder}, whose vocabulary is not that of {corpus.folder}: "
            "learn.save_model(OUT) gives what answers texts of any corpus"
        )
    if dl.dataset.backward != is_backward(direction):
        raise UserError(
            f"the loader reads the other way: make it with direction={direction!r}, as the model reads"
        )
