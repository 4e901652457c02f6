"""One direction of a language model, from what it begins with to its folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from ulmfit.errors import UserError
from ulmfit.inference.language_model import LanguageModel
from ulmfit.inference.pair import LanguageModelPair, Source
from ulmfit.models.artefact import LanguageModelParts
from ulmfit.models.catalogue import is_packaged
from ulmfit.stages.lm_folder import write_language_model
from ulmfit.stages.session import Session
from ulmfit.text.corpus import Corpus
from ulmfit.training.alone import alone
from ulmfit.training.distributed import joined, wait, world
from ulmfit.training.fit import train
from ulmfit.training.lm_learner import LMConfig, lm_learner, start
from ulmfit.training.run import open_run, settings_of


def resolve_direction(lm: Source, asked: str) -> str:
    """Find out in which direction to train; of the models of this package, forward unless more is asked for.

    They have both at hand, and one takes half the time of two.
    """
    if asked == "auto" and is_packaged(lm.folder):
        return "forward"
    has = "both" if isinstance(lm, LanguageModelPair) else lm.direction
    if asked in ("auto", has) or has == "both":
        return has if asked == "auto" else asked
    raise UserError(
        f"{lm.folder} is a {has} language model, and {asked} is asked for: say --direction {has}, or "
        f"give a model pretrained with --direction {asked}"
    )


def train_direction(
    corpus: Corpus,
    lm: LanguageModelParts | None,
    out: Path,
    *,
    config: LMConfig,
    session: Session,
) -> LanguageModel:
    """Train one direction from random weights or those of `lm`, and write its folder."""
    parent = lm.fingerprint if lm else ""
    settings = settings_of(session.stage, corpus, parent, asdict(config))
    with joined(), alone(), open_run(out, settings=settings, restart=session.restart) as run:
        if run.is_finished:
            return LanguageModel.load(out)
        begin = start(corpus, lm, config=config)
        learn = lm_learner(corpus, begin, config=config)
        moved = f"transplant: {begin.report}" if begin.report else ""
        if begin.report and begin.report.kept_share < 1:
            session.say(moved, config.direction)
        for notice in (learn.rows.notice, *(loader.dataset.notice for loader in learn.dls)):
            session.say(notice, config.direction)
        trained = train(
            learn,
            run,
            stage=session.stage,
            listener=session.listener,
            max_minutes=session.minutes_left(),
            measures_before=lm is not None,
        )
        if world().is_first:
            write_language_model(run, learn, trained, lm, moved=moved)
        wait()
    return LanguageModel.load(out)
