"""Both directions of a stage: side by side where that is faster, and as one folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from ulmfit.files import MANIFEST
from ulmfit.inference.language_model import LanguageModel
from ulmfit.inference.pair import LanguageModelPair
from ulmfit.models.pair import save_language_model_pair
from ulmfit.progress import StageProgress
from ulmfit.stages.session import Session
from ulmfit.text.corpus import Corpus
from ulmfit.training.config import StageConfig
from ulmfit.training.distributed import joined, wait, world
from ulmfit.training.lm_learner import LMConfig
from ulmfit.training.run import open_run, settings_of
from ulmfit.training.side_by_side import Job, is_worth_it, train_side_by_side


def both(
    train: Callable[[str, Path, Session], LanguageModel],
    out: str | Path,
    *,
    corpus: Corpus,
    lm: LanguageModelPair | None,
    config: LMConfig,
    session: Session,
) -> LanguageModelPair:
    """Train both directions, and put them into one folder."""
    parent = lm.fingerprint if lm else ""
    settings = settings_of(session.stage, corpus, parent, asdict(config))
    with joined(), open_run(out, settings=settings, restart=session.restart) as run:
        if not run.is_finished:
            folders = {name: run.folder / name for name in ("forward", "backward")}
            configs = {name: replace(config, direction=name) for name in folders}
            beforehand(folders, corpus, lm=lm, configs=configs, session=session)
            for direction, folder in folders.items():
                train(direction, folder, session.going_on())
            if world().is_first:
                save_language_model_pair(out, **folders, settings=settings)
            wait()
    return LanguageModelPair.load(out)


def beforehand(
    folders: Mapping[str, Path],
    corpus: Corpus,
    *,
    lm: LanguageModelPair | None,
    configs: Mapping[str, StageConfig],
    session: Session,
) -> None:
    """Train directions side by side where that is faster; whoever trains them next finds them finished.

    One that is left of two takes a process as well: with all threads it would end with other bits.
    fastai's bar cannot be drawn from another process: even in a notebook they speak in lines.
    """
    left = {name: out for name, out in folders.items() if not (out / MANIFEST).is_file()}
    if not left or not is_worth_it(corpus):
        return
    jobs = [
        Job.of(
            session.stage,
            lm.folder if lm else None,
            corpus,
            folder,
            config=configs[name],
            max_minutes=session.minutes_left(),
        )
        for name, folder in left.items()
    ]
    listener = StageProgress() if session.listener is None else session.listener
    train_side_by_side(jobs, listener)
