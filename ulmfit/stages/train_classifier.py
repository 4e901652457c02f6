"""Stage 3: the encoder of the fine-tuned language model becomes a classifier (Howard & Ruder 2018, 3.3).

Its layer groups unfreeze one after the other, each lower one at a lower rate; in the end validation
documents say how sure its answers may sound. The test split is not read, unless the protocol is as_published.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from ulmfit.inference.classifier import Classifier
from ulmfit.inference.language_model import LanguageModel
from ulmfit.inference.pair import LanguageModelPair, Source, open_lm
from ulmfit.stages.both import beforehand
from ulmfit.stages.classifier_folder import write_both, write_direction
from ulmfit.stages.direction import resolve_direction
from ulmfit.stages.session import Session, shown
from ulmfit.text.corpus import Corpus
from ulmfit.training.alone import alone
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.classifier_learner import classifier_learner
from ulmfit.training.config import require_config
from ulmfit.training.fit import train
from ulmfit.training.journal import Listener
from ulmfit.training.lesson import lacking
from ulmfit.training.run import open_run, settings_of


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
    session = Session("train_classifier", shown(progress), restart=restart, max_minutes=max_minutes)
    lm = open_lm(lm)
    corpus = corpus if isinstance(corpus, Corpus) else Corpus.load(corpus)
    direction = resolve_direction(lm, config.direction)
    if direction == "both" and isinstance(lm, LanguageModelPair):
        own = replace(config, direction="both")
        return _both(lm, corpus, Path(out), config=own, session=session)
    source = getattr(lm, direction) if isinstance(lm, LanguageModelPair) else lm
    own = replace(config, direction=direction)
    return _one(source, corpus, Path(out), config=own, session=session)


def _one(
    lm: LanguageModel, corpus: Corpus, out: Path, *, config: ClassifierConfig, session: Session
) -> Classifier:
    """Train one direction."""
    settings = settings_of(session.stage, corpus, lm.parts.fingerprint, asdict(config))
    with alone(), open_run(out, settings=settings, restart=session.restart) as run:
        if not run.is_finished:
            learn = classifier_learner(corpus, lm.parts, config=config)
            hint = lacking(corpus, learn.rows, config)
            for notice in (*learn.notices(), learn.dls.train.dataset.notice, hint):
                session.say(notice, config.direction)
            trained = train(
                learn,
                run,
                stage=session.stage,
                listener=session.listener,
                max_minutes=session.minutes_left(),
            )
            write_direction(run, learn, trained)
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
    settings = settings_of(session.stage, corpus, pair.fingerprint, asdict(config))
    with open_run(out, settings=settings, restart=session.restart) as run:
        if not run.is_finished:
            folders = {lm.direction: run.folder / lm.direction for lm in pair}
            configs = {
                "forward": replace(config, direction="forward"),
                "backward": replace(config, direction="backward", linear=None),  # both share one
            }
            beforehand(folders, corpus, lm=pair, configs=configs, session=session)
            forward, backward = (
                _one(
                    lm,
                    corpus,
                    folders[lm.direction],
                    config=configs[lm.direction],
                    session=session.going_on(),
                )
                for lm in pair
            )
            write_both(run, corpus, forward, backward, config)
    return Classifier.load(out)
