"""The one place that builds a fastai Learner of a language model.

In: a corpus, a config, and perhaps a model to go on from. Out: a real Learner that carries state,
regularises, clips and measures by tokens; `fit_phases` trains as the config says, and what fastai
trains with (`fit_one_cycle`, `lr_find`, `freeze`, `validate`, callbacks) works as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ulmfit.errors import UserError
from ulmfit.inference.language_model import LanguageModel
from ulmfit.inference.pair import open_one
from ulmfit.models.arch import ArchConfig
from ulmfit.models.artefact import (
    LanguageModelParts,
    TextPipeline,
    carried_to,
    save_language_model,
)
from ulmfit.models.language_model import LanguageModel as LanguageModelModule
from ulmfit.models.manifest import require_no_stage
from ulmfit.models.transplant import TransplantReport
from ulmfit.text.batches import lm_dataloaders
from ulmfit.text.corpus import Corpus
from ulmfit.training.callbacks import CarryState, ShowWordLogits
from ulmfit.training.config import (
    FinetuneConfig,
    PretrainConfig,
    least_clean,
    require_config,
)
from ulmfit.training.distributed import equalise, total, world
from ulmfit.training.learner import StageLearner
from ulmfit.training.losses import SumMetric, TokenLoss
from ulmfit.training.metrics import METRICS, Measured, TokenSums

LMConfig = PretrainConfig | FinetuneConfig


@dataclass(frozen=True, eq=False)
class Start:
    """What training begins from: an architecture and, unless from scratch, weights for the corpus's vocabulary."""

    arch: ArchConfig
    protocol: str = "clean"
    """What was seen of test documents before."""
    weights: dict[str, Tensor] | None = None
    report: TransplantReport | None = None


class LMLearner(StageLearner):
    """A Learner of a language model."""

    def save_model(self, out: str | Path) -> LanguageModel:
        """Write the weights as they are, measured, as a language model's folder, and open it."""
        require_no_stage(out)
        save_language_model(
            out,
            self.model.state_dict(),
            arch=self.model.arch,
            vocab=self.corpus.vocab,
            text=TextPipeline.of(self.corpus),
            provenance=self.provenance(),
        )
        return LanguageModel.load(out)

    def get_preds(self, *args: Any, **kwargs: Any) -> Any:
        """Say what is measured instead of keeping a probability for each token of the vocabulary."""
        raise UserError(
            "the answers of a language model fill any memory: learn.show_results() shows some, ulmfit.evaluate_lm "
            "measures all, and learn.save_model(OUT).score(texts) each text"
        )

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Say who goes on from a text."""
        raise UserError(
            "a Learner reads batches of its corpus: learn.save_model(OUT).generate(TEXT, n_tokens=40) goes on from a text"
        )

    @torch.no_grad()
    def show_results(
        self, ds_idx: int = 1, dl: Any = None, max_n: int = 9, shuffle: bool = True, **_: Any
    ) -> None:
        """Display what is read, what follows, and what the model says instead."""
        dl = dl or self.dls[ds_idx].new(shuffle=shuffle)
        ids, following = (part[:max_n] for part in dl.one_batch())
        self.model.eval()
        dl.show_results((ids, following), self.model(ids).logits().argmax(-1), max_n)

    def n_tokens(self) -> int:
        """Count the tokens of the batch at hand."""
        return self.yb[0].numel()

    def n_scored(self) -> int:
        """Count the tokens again: each is scored."""
        return self.yb[0].numel()

    def measured(self) -> Measured:
        """Give the metrics of the last validation pass, in all processes together."""
        found = self.recorder.loss.sums
        nll, hits, tokens = total([found.nll, found.hits, found.tokens])
        characters = round(tokens * self._characters_per_token())
        sums = TokenSums(nll, int(hits), int(tokens), characters)
        return Measured(
            METRICS["loss"](sums),
            METRICS["accuracy"](sums),
            METRICS["perplexity"](sums),
            METRICS["bits_per_character"](sums),
        )

    def _characters_per_token(self) -> float:
        """Say how many characters of raw text a token of the validation documents stands for."""
        corpus, rows = self.corpus, self.rows.valid
        n_tokens = int((corpus.offsets[rows + 1] - corpus.offsets[rows]).sum())
        return float(corpus.characters[rows].sum()) / max(1, n_tokens)


def language_model_learner(
    corpus: Corpus | str | Path,
    lm: LanguageModel | str | Path | None = None,
    *,
    config: LMConfig | None = None,
    metrics: Any = (),
    cbs: Any = (),
) -> LMLearner:
    """Make a Learner of a language model on a corpus, from random weights or from those of `lm`.

    Without a config, the paper's: `PretrainConfig()` from random weights, else `FinetuneConfig()`. fastai's `metrics`
    and `cbs` stand beside its own. All layers learn from the start, where fastai's Learner is born frozen: `learn.freeze()`
    first for the steps of its book.
    """
    corpus = corpus if isinstance(corpus, Corpus) else Corpus.load(corpus)
    if config is not None:
        require_config(config, PretrainConfig, FinetuneConfig, stage="finetune_lm")
    parts = None
    if lm is not None:
        parts = open_one(lm, config.direction if config else "auto").parts
    if config is None:
        config = PretrainConfig() if parts is None else FinetuneConfig()
    direction = config.direction
    if direction == "auto":
        direction = parts.manifest.provenance.direction if parts else "forward"
    if direction == "both":
        raise UserError("a Learner trains one direction: set direction to forward or backward")
    if parts and direction != parts.manifest.provenance.direction:
        raise UserError(f"--direction is {direction} and {parts.folder} reads {parts.manifest.provenance.direction}")  # fmt: skip
    begin = start(corpus, parts, config=config)
    learn = lm_learner(corpus, begin, config=replace(config, direction=direction))
    learn.parent = parts.fingerprint if parts else corpus.fingerprint
    return learn.beside(metrics, cbs)


def start(corpus: Corpus, lm: LanguageModelParts | None, *, config: LMConfig) -> Start:
    """Choose the architecture, and carry the weights of `lm` over to the corpus's vocabulary."""
    require_config(config, PretrainConfig, FinetuneConfig, stage="finetune_lm")
    if lm is None:
        if not isinstance(config, PretrainConfig):
            raise UserError(
                "fine-tuning needs a language model to begin from; from random weights, pretrain"
            )
        return Start(config.arch)
    arch = config.regularised(lm.arch) if isinstance(config, FinetuneConfig) else lm.arch
    moved = carried_to(corpus, lm)
    return Start(arch, lm.manifest.provenance.protocol, moved.weights, moved.report)


def lm_learner(corpus: Corpus, start: Start, *, config: LMConfig) -> LMLearner:
    """Build the Learner of one direction; the seed is set here, once."""
    torch.manual_seed(config.seed)
    model = LanguageModelModule(start.arch, len(corpus.vocab), precision=config.precision)  # ty: ignore[invalid-argument-type]
    if start.weights is not None:
        model.load_state_dict(start.weights)
    equalise(model)
    rows = config.rows(corpus)
    dls = lm_dataloaders(
        corpus,
        rows=rows,
        size=config.epoch_size(),
        bs=world().share(config.bs),
        seq_len=config.seq_len,
        direction=config.direction,
        seed=config.seed,
        jitter=config.jitter,
        rank=world().rank,
        world=world().size,
    )
    metric = partial(SumMetric, empty=TokenSums())
    learn: LMLearner = LMLearner.build(
        dls,
        model,
        config=config,
        loss_func=TokenLoss(config.label_smoothing),
        loss=metric("loss", METRICS["loss"]),
        metrics=[metric(name, METRICS[name]) for name in ("accuracy", "perplexity")],
        cbs=[CarryState(), ShowWordLogits()],
    )
    learn.corpus, learn.rows = corpus, rows
    learn.protocol = least_clean(config.protocol, corpus.protocol, start.protocol)
    torch.manual_seed(config.seed + world().rank)  # every process drops other units
    return learn
