"""What the Learners of all stages share: a fastai Learner that knows its config and runs its phases.

The only rooms that build one are lm_learner.py and classifier_learner.py, with the parts from here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from fastai.callback.fp16 import AMPMode, MixedPrecision
from fastai.callback.progress import ProgressCallback
from fastai.callback.schedule import ParamScheduler
from fastai.callback.training import GradientClip
from fastai.learner import Learner
from fastai.optimizer import OptimWrapper
from fastcore.foundation import L
from fastcore.xtras import PrettyString

from ulmfit.errors import UserError
from ulmfit.models.manifest import Provenance
from ulmfit.models.threads import threads_for
from ulmfit.text.corpus import Corpus
from ulmfit.training.callbacks import Accumulate, FollowPhases, GiveBack, Regularise
from ulmfit.training.config import StageConfig
from ulmfit.training.losses import SumMetric
from ulmfit.training.metrics import Measured
from ulmfit.training.refused import require_own, require_usable

if TYPE_CHECKING:
    from fastai.callback.core import Callback
    from fastai.data.core import DataLoaders
    from torch import nn

    from ulmfit.text.holdout import Rows
    from ulmfit.training.schedules import Phase

# What their import adds to every Learner: a progress bar; fit_one_cycle and lr_find.
FASTAI_PARTS = (ProgressCallback, ParamScheduler)


class StageLearner(Learner):
    """A fastai Learner of one stage: it fits, finds rates, freezes, validates, saves, and takes fastai's callbacks.

    `fit_phases` runs the config's schedule, all of it: stopping early is a callback's matter, such as fastai's
    EarlyStoppingCallback. Answers and files for others come from the folder that `save_model` writes.
    """

    dls: Any
    opt: Any
    model: Any
    xb: Any
    yb: Any
    corpus: Corpus
    config: StageConfig
    rows: Rows
    parent: str = ""
    """Fingerprint of what the weights began from."""
    protocol: str = "clean"
    """What was seen of test documents, here and in all stages before."""

    @classmethod
    def build(
        cls,
        dls: DataLoaders,
        model: nn.Module,
        *,
        config: StageConfig,
        loss_func: Callable[..., Any],
        loss: SumMetric,
        metrics: Sequence[SumMetric],
        cbs: Sequence[Callback] = (),
    ) -> Any:
        """Wire optimiser, penalties, accumulation, clipping, precision and metrics as the config says."""
        learn = cls(
            dls,
            model,
            loss_func=loss_func,
            opt_func=optimiser(config),
            splitter=lambda model: model.layer_groups(),
            cbs=[*cbs, *_callbacks(config)],
            metrics=list(metrics),
            lr=config.lr,
            wd=config.wd,
            moms=config.shape().moms,
        )
        learn.model.to(dls.device)  # now: a checkpoint is restored before fastai would do it
        learn.config = config
        learn.recorder.loss = loss
        return learn

    def beside(self, metrics: Any, cbs: Any) -> Any:
        """Take metrics and callbacks of fastai's, one or several, beside its own."""
        self.metrics = [*self.metrics, *L(metrics)]
        return self.add_cbs(cbs)

    @property
    def is_likelihood(self) -> bool:
        """Whether the loss is a negative log-likelihood, in nats."""
        return True

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Say who answers for new texts."""
        raise UserError(
            "a Learner reads batches of its corpus: learn.save_model(OUT) gives what answers for new texts"
        )

    def export(self, *args: Any, **kwargs: Any) -> Any:
        """Say what is written instead of a pickle."""
        raise UserError(
            "a pickle of a Learner runs code where it is opened: learn.save_model(OUT) writes a folder that does not"
        )

    def save_encoder(self, *args: Any, **kwargs: Any) -> Any:
        """Say how an encoder comes from one Learner to the next."""
        raise UserError(
            "an encoder is saved with its vocabulary: learn.save_model(OUT), then ulmfit.text_classifier_learner(corpus, OUT)"
        )

    load_encoder = save_encoder

    def summary(self) -> str:
        """List the layer groups, bottom first: their parameters, and whether they learn now."""
        names = {id(weight): name for name, weight in self.model.named_parameters()}
        lines = []
        for number, group in enumerate(self.model.layer_groups()):
            first = names[id(group[0])].rsplit(".", 1)[0]
            learns = "learns" if group[0].requires_grad else "frozen"
            size = sum(weight.numel() for weight in group)
            lines.append(
                f"{number}  {first:<20} {len(group):>3} tensors {size:>12,} weights  {learns}"
            )
        n_all = sum(weight.numel() for weight in self.model.parameters())
        return PrettyString(
            "\n".join([type(self.model).__name__, *lines, f"{n_all:,} weights in all"])
        )

    def add_cb(self, cb: Any) -> Any:
        """Add a callback that can work here."""
        self._require_usable(cb)
        return super().add_cb(cb)

    def add_cbs(self, cbs: Any) -> Any:
        """Add callbacks, all of them or none."""
        cbs = L(cbs)
        for cb in cbs:
            self._require_usable(cb)
        return super().add_cbs(cbs)

    def _require_usable(self, cb: Any) -> None:
        config: StageConfig | None = getattr(self, "config", None)  # not yet, while it is built
        require_usable(cb, accumulate=1 if config is None else config.accumulate)

    def to_fp16(self, *_: Any, **__: Any) -> StageLearner:
        """Stay as it is: `precision` in the config has chosen already, and bf16 needs no scaling."""
        return self

    to_bf16 = to_fp16

    def all_batches(self) -> None:
        """Read a pass of a loader that suits the model, whose output is known to its own loss alone."""
        if not hasattr(self.loss_func, "sums"):
            raise UserError(
                "a Learner keeps its own loss, of which its metrics are made: leave learn.loss_func as it was built"
            )
        require_own(self.dl, self.corpus, direction=self.config.direction)
        super().all_batches()

    def notices(self) -> tuple[str, ...]:
        """Say in a few words which documents are learnt from, and which are held out."""
        return (self.rows.notice,)

    def fit(
        self, n_epoch: int, lr: Any = None, wd: float | None = None, *args: Any, **kwargs: Any
    ) -> None:
        """Train as fastai does, with what means here what it means there."""
        if wd is not None and not self.config.decoupled_wd:
            raise UserError(
                f"wd={wd} is fastai's decoupled decay, and this Learner's goes through the gradient: build it with "
                "replace(config, decoupled_wd=True), or leave wd to the config"
            )
        if self.recorder.train_metrics:
            raise UserError(
                "nothing is measured while dropout is on: leave learn.recorder.train_metrics as it was built, and "
                "learn.validate(ds_idx=0) measures on the training documents"
            )
        super().fit(n_epoch, lr, wd, *args, **kwargs)

    def validate(self, ds_idx: int = 1, dl: Any = None, cbs: Any = None) -> Any:
        """Measure a loader's documents in order, which uses up no epoch of training."""
        return super().validate(dl=self.in_order(ds_idx, dl), cbs=cbs)

    def in_order(self, ds_idx: int, dl: Any = None) -> Any:
        """Give a loader unshuffled; batches that are in no loader stay as they are."""
        dl = self.dls[ds_idx] if dl is None else dl
        return dl.new(shuffle=False) if hasattr(dl, "new") else dl

    def phases(self) -> tuple[Phase, ...]:
        """Lay out the config's schedule for this model."""
        return self.config.phases(len(self.model.layer_groups()))

    def fit_phases(self, phases: Sequence[Phase] | None = None, cbs: Any = ()) -> None:
        """Train through phases, by default those of the config; the loader's epochs go on counting."""
        self.dls.train.epoch = self.dls.train.epoch  # a pass that was broken off begins again
        follow = FollowPhases(
            self.phases() if phases is None else phases,
            accumulate=self.config.accumulate,
            first_epoch=self.dls.train.epoch,
        )
        self.fit(follow.n_epochs, cbs=[follow, *L(cbs)])

    def threads(self) -> AbstractContextManager[None]:
        """Choose the number of threads that suits the size of the model, while the block runs."""
        arch = getattr(self.model.arch, "encoder", self.model.arch)  # a classifier's, or its own
        return threads_for(arch, bs=self.config.bs)

    def provenance(self) -> Provenance:
        """Measure the weights as they are, and say where they come from."""
        with self.no_bar(), self.no_logging(), self.threads():
            self.validate()
        found = asdict(self.measured())
        return Provenance(
            origin=f"a Learner on {self.corpus.manifest.name}",
            direction=self.config.direction,
            seed=self.config.seed,
            protocol=self.protocol,
            metrics={name: value for name, value in found.items() if math.isfinite(value)},
            # Without "stage": no stage is to take a Learner's folder for its own finished one.
            config={"corpus": self.corpus.fingerprint, "config": asdict(self.config)},
            parent=self.parent,
            notes=("; ".join(self.notices()),),
        )

    def n_tokens(self) -> int:
        """Count the tokens of the batch at hand, without padding."""
        raise NotImplementedError

    def n_scored(self) -> int:
        """Count what the loss of the batch at hand is a mean over."""
        raise NotImplementedError

    def measured(self) -> Measured:
        """Give what the last validation pass found, in all processes together."""
        raise NotImplementedError


class Autocast(MixedPrecision):
    """fastai's bf16, for outputs that are no tensors."""

    def after_pred(self) -> None:
        """Leave the output as it is: losses are computed in float32."""


def optimiser(config: StageConfig) -> Any:
    """Make fastai's `opt_func`: Adam in one fused kernel, weight decay decoupled or not."""
    kind = torch.optim.AdamW if config.decoupled_wd else torch.optim.Adam
    betas = (config.shape().moms[0], config.sqr_mom)
    adam = partial(kind, betas=betas, eps=config.eps, weight_decay=config.wd, fused=True)
    return partial(OptimWrapper, opt=adam)


def _callbacks(config: StageConfig) -> list[Callback]:
    found: list[Callback] = [
        Regularise(activation=config.activation_reg, temporal=config.temporal_reg),
        GiveBack(),
    ]
    if config.accumulate > 1:
        found.append(Accumulate(config.accumulate))
    if config.clip is not None:
        found.append(GradientClip(config.clip))
    if torch.cuda.is_available() and config.precision != "fp32":
        found.append(Autocast(amp_mode=AMPMode.BF16))
    return found
