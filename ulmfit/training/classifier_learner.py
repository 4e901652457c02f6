"""The one place that builds a fastai Learner of a classifier.

In: a corpus with labels, a fine-tuned language model over the same vocabulary, a config. Out: a real
Learner whose layer groups, bottom to top, end with the head; `fit_phases` unfreezes as the config says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ulmfit.errors import UserError
from ulmfit.inference.answers import log_probabilities
from ulmfit.inference.classifier import Classifier as TrainedClassifier
from ulmfit.inference.language_model import LanguageModel
from ulmfit.inference.pair import open_one
from ulmfit.models.artefact import LanguageModelParts, require_same_vocab
from ulmfit.models.classifier import Classifier, in_units
from ulmfit.models.classifier_artefact import save_classifier
from ulmfit.models.label_set import LabelSet
from ulmfit.models.linear_part import LinearPart
from ulmfit.models.manifest import require_no_stage
from ulmfit.models.parts import TextPipeline
from ulmfit.text.batches import classifier_dataloaders
from ulmfit.text.corpus import Corpus
from ulmfit.text.display import classifier_table
from ulmfit.text.holdout import Rows, n_also_in
from ulmfit.training.adversary import Adversary
from ulmfit.training.callbacks import ShowLogits
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.config import least_clean, require_config
from ulmfit.training.distributed import world
from ulmfit.training.learner import StageLearner
from ulmfit.training.lesson import Lesson, asked
from ulmfit.training.losses import DocumentLoss, SumMetric, label_weights, unit_of
from ulmfit.training.metrics import DOCUMENT_METRICS, DocumentSums, Measured
from ulmfit.training.temperature import answers_temperature

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Answering:
    """What a classifier has beside its weights."""

    labels: LabelSet
    """With the temperature."""
    linear: LinearPart | None
    loudness: float
    """How many times as loud as the encoder it is."""
    accuracy: float | None
    """Of both together, on the documents held out; None where the encoder speaks alone."""

    @property
    def notice(self) -> str:
        """Say in a few words what speaks beside the encoder."""
        if self.linear is None:
            return ""
        return f"a linear part of {len(self.linear.grams):,} n-grams is {self.loudness:g} times as loud as the encoder"


class ClassifierLearner(StageLearner):
    """A Learner of a classifier."""

    lesson: Lesson
    """What a teacher labelled, beside the documents in `rows`."""

    @property
    def is_likelihood(self) -> bool:
        """Whether the loss is a negative log-likelihood, and not the error of a number."""
        return self.corpus.label_kind != "number"

    def notices(self) -> tuple[str, ...]:
        """Say what is held out, and what is learnt from that nobody labelled."""
        repeated = unused = ""
        if n := n_also_in(self.corpus, self.rows.valid, self.rows.train):
            repeated = f"{n:,} of the documents measured on repeat one that is learnt from, which flatters what is measured"
        if not self.is_likelihood and self.config.label_smoothing:
            unused = "label_smoothing is for labels, and these are numbers: it changes nothing"
        return tuple(filter(None, (self.rows.notice, repeated, self.lesson.notice, unused)))

    def n_tokens(self) -> int:
        """Count the tokens of the batch at hand, without padding."""
        return int(self.xb[1].sum())

    def n_scored(self) -> int:
        """Count the documents of the batch at hand."""
        return len(self.yb[0])

    def measured(self) -> Measured:
        """Give loss and accuracy of the last validation pass."""
        sums = self.recorder.loss.sums
        found = {name: metric(sums) for name, metric in DOCUMENT_METRICS.items()}
        is_number = self.corpus.label_kind == "number"  # which is never simply right
        return Measured(found["loss"], math.nan if is_number else found["accuracy"])

    def get_preds(self, ds_idx: int = 1, dl: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Answer each document of a loader once, in the order of the loader's documents."""
        return super().get_preds(ds_idx, self.in_order(ds_idx, dl), *args, **kwargs)

    def top_losses(self, k: int = 9, *, largest: bool = True) -> pd.DataFrame:
        """Tabulate the held-out documents that are answered worst, or best: their numbers in the corpus, and what was said."""
        with self.no_bar():
            _, _, answers, losses = self.get_preds(with_decoded=True, with_loss=True)
        places = losses.argsort(descending=largest, stable=True)[:k]
        rows = self.dls.valid.dataset.rows[places.numpy()].tolist()
        documents = [self.corpus[row].tolist() for row in rows]
        assert self.corpus.labels is not None
        labels = [self.corpus.labels[row].tolist() for row in rows]
        batch = [documents, [len(ids) for ids in documents], labels]
        table = classifier_table(self.corpus, batch, answers[places].tolist())
        table.insert(0, "document", rows)
        return table.assign(loss=losses[places].tolist())

    def save_model(self, out: str | Path) -> TrainedClassifier:
        """Write the weights as they are, measured, as a classifier's folder, and open it."""
        require_no_stage(out)
        answering, made = self.answering(), self.provenance()
        if answering.accuracy is not None:
            more = {"accuracy_with_linear": answering.accuracy}
            notes = ("; ".join((*made.notes, answering.notice)),)
            made = replace(made, metrics={**made.metrics, **more}, notes=notes)
        save_classifier(
            out,
            {self.config.direction: self.answering_weights()},
            arch=self.model.arch,
            vocab=self.corpus.vocab,
            text=TextPipeline.of(self.corpus),
            labels=answering.labels,
            linear=answering.linear,
            provenance=made,
        )
        return TrainedClassifier.load(out)

    def answering_weights(self) -> dict[str, Tensor]:
        """Give the weights; those of a number answer in the unit of the labels."""
        weights, loss = self.model.state_dict(), self.loss_func
        return (
            weights
            if self.is_likelihood
            else in_units(weights, centre=loss.centre, spread=loss.spread)
        )

    def answering(self) -> Answering:
        """Learn what turns the encoder's logits into answers, from the documents that were held out."""
        labels, accuracy = LabelSet.of(self.corpus), None
        logits, truth = self.valid_logits()
        linear, share = self._linear_part(logits)
        if linear is not None:
            logits = logits + linear.logits(self.valid_documents())
            accuracy = float((logits.argmax(1) == truth).mean())
        if labels.kind != "number":
            found = log_probabilities(logits[None], labels)
            labels = labels.tempered(answers_temperature(found, truth))
        return Answering(labels, linear, share, accuracy)

    def _linear_part(self, logits: np.ndarray) -> tuple[LinearPart | None, float]:
        """Let a linear model learn from the same documents, if it is to speak; the held-out ones' logits say how loud."""
        config = self.config
        assert isinstance(config, ClassifierConfig)
        if config.linear is None or self.corpus.label_kind != "category":
            return None, 0.0
        from ulmfit.training.linear_part import as_loud, fit_linear_part, loudness

        learnt, known = self.lesson.added_to(self.rows), self.lesson.known(self.corpus)
        part = fit_linear_part(known, learnt.train, seed=config.seed)
        louder = loudness(self.corpus, self.rows.train, is_taught=bool(len(self.lesson.rows)))
        share = config.linear * louder
        return as_loud(part, logits, self.valid_documents(), share=share), share

    def valid_documents(self) -> list[np.ndarray]:
        """List the documents that were held out as `valid_logits` has them."""
        step = -1 if self.config.direction == "backward" else 1
        return [
            document[:n].numpy()[::step]
            for ids, lengths, _ in self.dls.valid
            for document, n in zip(ids.cpu(), lengths.tolist())
        ]

    @torch.no_grad()
    def valid_logits(self) -> tuple[np.ndarray, np.ndarray]:
        """Give logits and labels of the documents that were held out."""
        self.model.eval()
        batches = [(self.model(ids, n).logits, labels) for ids, n, labels in self.dls.valid]
        logits, labels = (torch.cat(parts).float().cpu().numpy() for parts in zip(*batches))
        return logits, labels


def text_classifier_learner(
    corpus: Corpus | str | Path,
    lm: LanguageModel | str | Path,
    *,
    config: ClassifierConfig | None = None,
    metrics: Any = (),
    cbs: Any = (),
) -> ClassifierLearner:
    """Make a Learner of a classifier on the labels of a corpus, from a language model with its vocabulary.

    fastai's `metrics` and `cbs` stand beside its own. All layers learn from the start, where fastai's Learner is born frozen:
    `learn.freeze()` first for the steps of its book; `fit_phases` freezes as the config says.
    """
    corpus = corpus if isinstance(corpus, Corpus) else Corpus.load(corpus)
    config = config or ClassifierConfig()
    require_config(config, ClassifierConfig, stage="train_classifier")
    lm = open_one(lm, config.direction)
    if config.direction not in ("auto", lm.direction):
        raise UserError(f"--direction is {config.direction} and {lm.folder} reads {lm.direction}")
    own = replace(config, direction=lm.direction)
    return classifier_learner(corpus, lm.parts, config=own).beside(metrics, cbs)


def classifier_learner(
    corpus: Corpus, lm: LanguageModelParts, *, config: ClassifierConfig
) -> ClassifierLearner:
    """Build the Learner of one direction; the seed is set here, once."""
    if world().size > 1:
        raise UserError("a classifier trains in one process: start it without torchrun")
    require_same_vocab(lm, corpus)
    labels = LabelSet.of(corpus)
    rows = config.rows(corpus)
    lesson = _lesson(corpus, rows, config)
    learnt, known = lesson.added_to(rows), lesson.known(corpus)
    torch.manual_seed(config.seed)
    is_number = labels.kind == "number"
    n_groups = config.n_groups(lm.arch)
    size = lesson.epoch_size(known, config, rows, n_groups=n_groups)
    n_readings = lesson.n_readings(config, rows, size, n_groups=n_groups)
    arch = config.classifier(lm.arch, n_outputs=len(labels.names), n_readings=n_readings)
    arch = replace(arch, head_bias=is_number)  # of labels the paper's head has none
    model = Classifier(arch, len(corpus.vocab), precision=config.precision)  # ty: ignore[invalid-argument-type]
    if not config.from_scratch:
        model.load_encoder(lm.weights)
    dls = classifier_dataloaders(
        known,
        rows=learnt,
        size=size,
        bs=config.bs,
        direction=config.direction,
        seed=config.seed,
    )
    metric = partial(SumMetric, empty=DocumentSums())
    centre, spread = unit_of(known, learnt) if is_number else (0.0, 1.0)
    names = [] if is_number else ["accuracy"]
    learn: ClassifierLearner = ClassifierLearner.build(
        dls,
        model,
        config=config,
        loss_func=DocumentLoss(
            labels.kind,
            smoothing=config.label_smoothing,
            weights=label_weights(known, learnt) if config.class_weight == "balanced" else None,
            centre=centre,
            spread=spread,
        ),
        loss=metric("loss", DOCUMENT_METRICS["loss"]),
        metrics=[metric(name, DOCUMENT_METRICS[name]) for name in names],
        cbs=[ShowLogits(), *([Adversary(config.adversarial)] if config.adversarial else [])],
    )
    learn.corpus, learn.rows, learn.lesson, learn.parent = corpus, rows, lesson, lm.fingerprint
    # What it may claim is no more than the language model and the vocabulary that it comes from.
    learn.protocol = least_clean(config.protocol, corpus.protocol, lm.manifest.provenance.protocol)
    return learn


def _lesson(corpus: Corpus, rows: Rows, config: ClassifierConfig) -> Lesson:
    """Let a teacher label more documents where the given labels are few."""
    pool = asked(corpus, rows, config)
    if not len(pool):
        return Lesson(pool, pool)
    from ulmfit.training.teacher import teach  # scikit-learn takes a second to import

    return teach(corpus, rows.train, pool)
