"""An experiment from raw text to results, in one folder: corpus, trainings, answers, and ours beside what is published.

The same call again skips what is finished and goes on where it was interrupted, on any machine that the
folder was copied to.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ulmfit import __version__
from ulmfit.config import require
from ulmfit.errors import Stopped
from ulmfit.files import CORPUS, atomic_file, write_json
from ulmfit.inference.pair import Source
from ulmfit.models.catalogue import PRETRAINED
from ulmfit.recipe import RECIPE
from ulmfit.reproduction.answer import result_of
from ulmfit.reproduction.bench import Bench
from ulmfit.reproduction.beside_stock import beside_stock, require_stock
from ulmfit.reproduction.estimate import Estimate, StageEstimate, archs_of
from ulmfit.reproduction.general_text import (
    is_general_text,
    said_of_stage1,
    stage1_left,
    with_stage1,
)
from ulmfit.reproduction.plan import Experiment, Planned, Training
from ulmfit.reproduction.results import Result
from ulmfit.reproduction.sheet import Results, write_results
from ulmfit.reproduction.summing_up import results_of
from ulmfit.stages.carry_over import carry_over
from ulmfit.stages.finetune_lm import finetune_lm
from ulmfit.stages.pretrain_lm import pretrain_lm
from ulmfit.stages.session import Session, shown
from ulmfit.stages.train_classifier import train_classifier
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.config import FinetuneConfig, PretrainConfig
from ulmfit.training.journal import Listener

_STAGE = "reproduce"


def estimate_of(
    asked: Experiment, out: Path, *, data_dir: Path | None = None, restart: bool = False
) -> Estimate | StageEstimate:
    """Measure what an experiment is going to take, with `restart` from its beginning: of general text stage 1 alone, until it has learnt."""
    if restart:
        # What an empty folder takes, but for the corpus, which may be all that is left of a data set.
        with tempfile.TemporaryDirectory() as empty:
            if (out / CORPUS).is_dir():
                shutil.copytree(out / CORPUS, Path(empty) / CORPUS)
            return _estimate_in(Path(empty), asked, data_dir=data_dir, restart=True)
    return _estimate_in(out, asked, data_dir=data_dir)


def _estimate_in(
    out: Path, asked: Experiment, *, data_dir: Path | None, restart: bool = False
) -> Estimate | StageEstimate:
    if is_general_text(asked):
        left = stage1_left(asked, out)
        if isinstance(left, StageEstimate):
            return left
        asked = left
    return Bench.open(asked, out, data_dir=data_dir, restart=restart).estimate()


def reproduce(
    experiment: Experiment | str | Path,
    out: str | Path,
    *,
    data_dir: str | Path | None = None,
    progress: Listener | None = None,
    restart: bool = False,
    max_minutes: float | None = None,
    stock: bool = False,
) -> Results:
    """Run an experiment, or go on with it, and write its results into the folder `out`.

    `max_minutes` stops at a checkpoint; the same call goes on from there. `restart` trains all anew. `stock` says, too,
    what stock fastai would need for the same tokens.
    """
    require(max_minutes is None or max_minutes > 0, "max_minutes", max_minutes, "above 0")
    session = Session(_STAGE, shown(progress), restart=restart, max_minutes=max_minutes)
    asked = experiment if isinstance(experiment, Experiment) else Experiment(experiment)
    before: tuple[str, ...] = ()
    if is_general_text(asked):
        if stock:
            require_stock(asked.recipe().pretrain_lm.arch)
        left = None if progress is None else stage1_left(asked, Path(out))
        if isinstance(left, StageEstimate):
            session.say(f"first {left}", "")
        begun = with_stage1(asked, Path(out), _how(session))
        before, asked = (said_of_stage1(asked, Path(out)),), begun
    bench = Bench.open(asked, out, data_dir=data_dir, restart=restart)
    if stock:
        for arch in archs_of(bench.planned, bench.lm).values():
            require_stock(arch)
    if restart or not (bench.out / RECIPE).exists():
        _write_recipe(bench)
    for notice in bench.corpus.manifest.notices:
        session.say(notice, "")
    if progress is not None and (restart or not all(map(bench.is_done, bench.planned))):
        session.say(str(bench.estimate(restart=restart)), "")
    renewed: set[str] = set()
    found = [_run(bench, each, session, renewed) for each in bench.planned]
    _write_recipe(bench)  # now that no training has refused its settings
    results = results_of(bench, found)
    results = replace(results, sentences=(*results.sentences, *before))
    if stock:
        write_results(results, bench.out)  # measuring comes last, and nothing is lost with it
        results = replace(
            results,
            stages=beside_stock(bench.planned, found, bench.out, corpus=bench.corpus, lm=bench.lm),
        )
    write_results(results, bench.out)
    return results


def _run(bench: Bench, planned: Planned, session: Session, renewed: set[str]) -> Result:
    """Train what a run needs, and evaluate it; `renewed` are the trainings that this call has begun anew."""
    was_trained = bench.is_done(planned)
    if not was_trained:
        session.say(f"{planned.run}: {planned.classifier.folder}", "")
    lm, how = bench.lm, _how(session)
    if planned.lm is not None:
        lm = _language_model(bench, planned.lm, session, renewed)
        how = _how(session)
    assert lm is not None and isinstance(planned.classifier.config, ClassifierConfig)
    out = bench.out / planned.classifier.folder
    train_classifier(lm, bench.corpus, out, config=planned.classifier.config, **how)
    left = session.minutes_left()
    if left is not None and left <= 1e-3 and not was_trained:  # else nothing would ever end
        raise Stopped(f"stopped (--max-minutes) before {out} is evaluated; the same command goes on from there", reason="--max-minutes")  # fmt: skip
    return result_of(planned, bench.out, corpus=bench.corpus, split=bench.experiment.answered)


def _language_model(
    bench: Bench, training: Training, session: Session, renewed: set[str]
) -> Source:
    """Bring a language model to the corpus by the stage that is planned, once if runs share it."""
    out, config, how = bench.out / training.folder, training.config, _how(session)
    how["restart"] = session.restart and training.folder not in renewed
    renewed.add(training.folder)
    if isinstance(config, PretrainConfig):
        return pretrain_lm(bench.corpus, out, config=config, **how)
    assert bench.lm is not None and isinstance(config, FinetuneConfig)
    if training.stage == "carry_over":
        return carry_over(bench.lm, bench.corpus, out, direction=config.direction, restart=how["restart"])  # fmt: skip
    return finetune_lm(bench.lm, bench.corpus, out, config=config, **how)


def _how(session: Session) -> dict[str, Any]:
    return {
        "progress": session.listener,
        "restart": session.restart,
        "max_minutes": session.minutes_left(),
    }


def _write_recipe(bench: Bench) -> None:
    """Write down what was asked for, and the configs that it stands for; folders by name, as they may be anywhere."""
    asked = bench.experiment
    lm = asked.lm if asked.lm in PRETRAINED else Path(asked.lm).name
    named = {**asdict(asked), "data_set": bench.corpus.manifest.name, "lm": lm}
    recipe = replace(asked.recipe(), text=bench.corpus.config)
    content = {"ulmfit": __version__, "experiment": named, **asdict(recipe)}
    with atomic_file(bench.out / RECIPE) as part:
        write_json(part, content)
