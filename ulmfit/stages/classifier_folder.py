"""What stage 3 leaves behind: the folder of one direction, or of both with the temperature of their average.

In: a trained Learner, or two finished folders. Out: a classifier's folder with its history and how it was learnt.
"""

from __future__ import annotations

import numpy as np

from ulmfit.inference.answers import log_probabilities
from ulmfit.inference.classifier import Classifier
from ulmfit.models.classifier_artefact import join_classifiers, save_classifier
from ulmfit.models.label_set import LabelSet
from ulmfit.models.manifest import Provenance
from ulmfit.models.parts import TextPipeline
from ulmfit.stages.lm_folder import history_files
from ulmfit.text.corpus import Corpus
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.classifier_learner import ClassifierLearner
from ulmfit.training.config import StageConfig, least_clean
from ulmfit.training.fit import Trained
from ulmfit.training.run import Run
from ulmfit.training.temperature import answers_temperature


def write_direction(run: Run, learn: ClassifierLearner, trained: Trained) -> None:
    """Write the folder of one direction."""
    corpus, answering = learn.corpus, learn.answering()
    metrics = {"valid_loss": trained.best.valid_loss}
    if answering.labels.kind != "number":
        metrics["valid_accuracy"] = trained.best.accuracy
    if answering.accuracy is not None:
        metrics["valid_accuracy_with_linear"] = answering.accuracy
    given = f"{len(learn.rows.train):,} labelled documents"
    notes = ("; ".join(filter(None, (given, *learn.notices(), answering.notice))),)
    provenance = _provenance(run, corpus, learn.config, learn.protocol, metrics, notes)
    save_classifier(
        run.out,
        {provenance.direction: learn.answering_weights()},
        arch=learn.model.arch,
        vocab=corpus.vocab,
        text=TextPipeline.of(corpus),
        labels=answering.labels,
        linear=answering.linear,
        provenance=provenance,
        files=history_files(trained, provenance),
    )


def write_both(
    run: Run, corpus: Corpus, forward: Classifier, backward: Classifier, config: ClassifierConfig
) -> None:
    """Write the folder of both directions, with the temperature of their average."""
    labels = LabelSet.of(corpus)
    rows = config.rows(corpus)
    metrics = {
        f"{name}_{one.directions[0]}": value
        for one in (forward, backward)
        for name, value in one.manifest.provenance.metrics.items()
    }
    temperature = 1.0
    if labels.kind != "number" and corpus.labels is not None:
        documents = [corpus[row] for row in rows.valid.tolist()]
        logits = np.stack(
            [one.encoder_logits(documents, one.directions[0]) for one in (forward, backward)]
        )
        linear, name = forward.parts.linear, "valid_accuracy"
        if linear is not None:  # which will be that of both
            logits, name = logits + linear.logits(documents), "valid_accuracy_with_linear"
        found, truth = log_probabilities(logits, labels), corpus.labels[rows.valid]
        temperature = answers_temperature(found, truth)
        if labels.kind == "category":
            metrics[name] = float((found.argmax(1) == truth).mean())
    protocol = least_clean(*(one.manifest.provenance.protocol for one in (forward, backward)))
    notes = forward.manifest.provenance.notes  # of both: they learn from the same documents
    join_classifiers(
        run.out,
        forward=forward.parts,
        backward=backward.parts,
        provenance=_provenance(run, corpus, config, protocol, metrics, notes),
        temperature=temperature,
        files={
            f"{name}-{one.directions[0]}.{kind}": (one.folder / f"{name}.{kind}").read_bytes()
            for one in (forward, backward)
            for name, kind in (("history", "csv"), ("steps", "csv"), ("history", "png"))
        },
    )


def _provenance(
    run: Run,
    corpus: Corpus,
    config: StageConfig,
    protocol: str,
    metrics: dict[str, float],
    notes: tuple[str, ...],
) -> Provenance:
    return Provenance(
        origin=f"train_classifier on {corpus.manifest.name}",
        direction=config.direction,
        seed=config.seed,
        protocol=protocol,
        metrics=metrics,
        config=run.settings,
        parent=str(run.settings["parent"]),
        notes=notes,
    )
