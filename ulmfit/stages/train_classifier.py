"""Stage 3: the encoder of the fine-tuned language model becomes a classifier (Howard & Ruder 2018, 3.3).

Its layer groups unfreeze one after the other, each lower one at a lower rate; in the end validation
documents say how sure its answers may sound. The test split is not read, unless the protocol is as_published.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ulmfit.inference.answers import log_probabilities
from ulmfit.inference.classifier import Classifier
from ulmfit.inference.language_model import LanguageModel
from ulmfit.inference.pair import LanguageModelPair, Source, open_lm
from ulmfit.models.artefact import LanguageModelParts
from ulmfit.models.classifier_artefact import join_classifiers, save_classifier
from ulmfit.models.label_set import LabelSet
from ulmfit.models.manifest import Provenance
from ulmfit.models.parts import TextPipeline
from ulmfit.stages.direction import Session, beforehand, history_files, resolve_direction
from ulmfit.text.corpus import Corpus
from ulmfit.training.alone import alone
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.classifier_learner import ClassifierLearner, classifier_learner
from ulmfit.training.config import least_clean, require_config
from ulmfit.training.fit import Trained, train
from ulmfit.training.journal import Listener
from ulmfit.training.run import Run, Settings, open_run
from ulmfit.training.temperature import answers_temperature


def train_classifier(
    lm: Source | str | Path,
    corpus: Corpus | str | Path,
    out: str | Path,
    *,
    config: ClassifierConfig | None = None,
    progress: Listener | None = None,
    restart: bool = False,
    max_minutes: float | None = None,
) -> Classifier:
    """Train a classifier on the labels of a corpus, from a language model that knows its vocabulary.

    A pair of language models makes one classifier that averages two. The same call again goes on
    where it was interrupted, or returns what is finished.
    """
    config = config or ClassifierConfig()
    require_config(config, ClassifierConfig, stage="train_classifier")
    session = Session("train_classifier", progress, restart=restart, max_minutes=max_minutes)
    lm = open_lm(lm)
    corpus = corpus if isinstance(corpus, Corpus) else Corpus.load(corpus)
    config = replace(config, protocol=_protocol(lm, corpus, config.protocol))
    direction = resolve_direction(lm, config.direction)
    if direction == "both" and isinstance(lm, LanguageModelPair):
        own = replace(config, direction="both")
        return _both(lm, corpus, Path(out), config=own, session=session)
    source = getattr(lm, direction) if isinstance(lm, LanguageModelPair) else lm
    own = replace(config, direction=direction)
    return _one(source, corpus, Path(out), config=own, session=session)


def _protocol(lm: Source, corpus: Corpus, asked: str) -> str:
    """Say what the classifier may claim: no more than the language model and the vocabulary that it comes from."""
    models = lm if isinstance(lm, LanguageModelPair) else (lm,)
    return least_clean(
        asked, corpus.protocol, *(one.manifest.provenance.protocol for one in models)
    )


def _one(
    lm: LanguageModel, corpus: Corpus, out: Path, *, config: ClassifierConfig, session: Session
) -> Classifier:
    """Train one direction."""
    settings = _settings(corpus, lm.parts.fingerprint, config)
    with alone(), open_run(out, settings=settings, restart=session.restart) as run:
        if not run.is_finished:
            learn = classifier_learner(corpus, lm.parts, config=config)
            for notice in (*learn.notices(), learn.dls.train.dataset.notice):
                session.say(notice, config.direction)
            trained = train(
                learn,
                run,
                stage=session.stage,
                listener=session.listener,
                max_minutes=session.minutes_left(),
            )
            _write(run, learn, trained, lm.parts, config)
    return Classifier.load(out)


def _both(
    pair: LanguageModelPair,
    corpus: Corpus,
    out: Path,
    *,
    config: ClassifierConfig,
    session: Session,
) -> Classifier:
    """Train both directions, and join them to one classifier."""
    settings = _settings(corpus, pair.fingerprint, config)
    with open_run(out, settings=settings, restart=session.restart) as run:
        if not run.is_finished:
            folders = {lm.direction: run.folder / lm.direction for lm in pair}
            beforehand(folders, corpus, lm=pair, config=config, session=session)
            forward, backward = (
                _one(
                    lm,
                    corpus,
                    folders[lm.direction],
                    config=replace(config, direction=lm.direction),
                    session=session.going_on(),
                )
                for lm in pair
            )
            _join(run, corpus, forward, backward, config)
    return Classifier.load(out)


def _write(
    run: Run,
    learn: ClassifierLearner,
    trained: Trained,
    lm: LanguageModelParts,
    config: ClassifierConfig,
) -> None:
    """Write the folder of one direction."""
    corpus = learn.corpus
    answering = learn.answering()
    metrics = {"valid_loss": trained.best.valid_loss}
    if answering.labels.kind != "number":
        metrics["valid_accuracy"] = trained.best.accuracy
    if answering.accuracy is not None:
        metrics["valid_accuracy_with_linear"] = answering.accuracy
    given = f"{len(learn.rows.train):,} labelled documents"
    notes = ("; ".join((given, *learn.notices())),)
    provenance = _provenance(run.settings, corpus, lm.fingerprint, config, metrics, notes)
    save_classifier(
        run.out,
        {config.direction: learn.answering_weights()},
        arch=learn.model.arch,
        vocab=corpus.vocab,
        text=TextPipeline.of(corpus),
        labels=answering.labels,
        linear=answering.linear,
        provenance=provenance,
        history=[asdict(row) for row in trained.epochs],
        files=history_files(trained, provenance),
    )


def _join(
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
        if forward.parts.linear is not None:  # which will be that of both
            logits = logits + forward.parts.linear.logits(documents)
        found, truth = log_probabilities(logits, labels), corpus.labels[rows.valid]
        temperature = answers_temperature(found, truth)
        if labels.kind == "category":
            metrics["valid_accuracy"] = float((found.argmax(1) == truth).mean())
    parent = str(run.settings["parent"])
    notes = forward.manifest.provenance.notes  # of both: they learn from the same documents
    join_classifiers(
        run.out,
        forward=forward.parts,
        backward=backward.parts,
        provenance=_provenance(run.settings, corpus, parent, config, metrics, notes),
        temperature=temperature,
        files={
            f"{name}-{one.directions[0]}.{kind}": (one.folder / f"{name}.{kind}").read_bytes()
            for one in (forward, backward)
            for name, kind in (("history", "csv"), ("steps", "csv"), ("history", "png"))
        },
    )


def _settings(corpus: Corpus, parent: str, config: ClassifierConfig) -> Settings:
    return {
        "stage": "train_classifier",
        "corpus": corpus.fingerprint,
        "parent": parent,
        "config": asdict(config),
    }


def _provenance(
    settings: Settings,
    corpus: Corpus,
    parent: str,
    config: ClassifierConfig,
    metrics: dict[str, float],
    notes: tuple[str, ...],
) -> Provenance:
    return Provenance(
        origin=f"train_classifier on {corpus.manifest.name}",
        direction=config.direction,
        seed=config.seed,
        protocol=config.protocol,
        metrics=metrics,
        config=settings,
        parent=parent,
        notes=notes,
    )
