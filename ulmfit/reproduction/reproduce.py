"""An experiment from raw text to results, in one folder: corpus, trainings, answers, and ours beside what is published.

The same call again skips what is finished and goes on where it was interrupted, on any machine that the
folder was copied to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ulmfit import __version__
from ulmfit.config import require
from ulmfit.errors import Stopped, UserError
from ulmfit.evaluation.documents import trial_of
from ulmfit.evaluation.folder import EVIDENCE
from ulmfit.evaluation.kept import baseline_answers
from ulmfit.files import MANIFEST, atomic_file, read_json, write_json
from ulmfit.inference.classifier import Classifier
from ulmfit.inference.pair import Source, open_lm
from ulmfit.models.catalogue import PRETRAINED
from ulmfit.recipe import RECIPE, has_learnt
from ulmfit.reproduction.answer import BASELINE_FOLDER, result_of
from ulmfit.reproduction.beside_stock import beside_stock, require_stock
from ulmfit.reproduction.documents import brought, corpus_of, require_labels
from ulmfit.reproduction.estimate import Estimate, StageEstimate, arch_of, estimate
from ulmfit.reproduction.general_text import (
    is_general_text,
    said_of_stage1,
    stage1_left,
    with_stage1,
)
from ulmfit.reproduction.labels_needed import BASELINES, Point, sentence
from ulmfit.reproduction.plan import Experiment, Planned, Training, plan, trainings
from ulmfit.reproduction.results import Result, summaries
from ulmfit.reproduction.sheet import Results, write_results
from ulmfit.stages.carry_over import carry_over
from ulmfit.stages.finetune_lm import finetune_lm
from ulmfit.stages.pretrain_lm import pretrain_lm
from ulmfit.stages.session import Session
from ulmfit.stages.train_classifier import train_classifier
from ulmfit.text.corpus import Corpus
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.config import FinetuneConfig, PretrainConfig
from ulmfit.training.journal import Listener

_STAGE = "reproduce"


@dataclass(frozen=True, eq=False)
class Bench:
    """An experiment with its corpus and its language model at hand, and the runs that they make."""

    experiment: Experiment
    out: Path
    corpus: Corpus
    lm: Source | None
    planned: tuple[Planned, ...]

    @classmethod
    def open(
        cls,
        experiment: Experiment | str | Path,
        out: str | Path,
        *,
        data_dir: str | Path | None = None,
    ) -> Bench:
        """Prepare the corpus, and refuse what the experiment cannot be run with."""
        asked = experiment if isinstance(experiment, Experiment) else Experiment(experiment)
        out = Path(out)
        if (out / MANIFEST).exists():
            raise UserError(f"{out} is an artefact, and an experiment is a folder of several: choose another --out")  # fmt: skip
        lm = open_lm(asked.begins_from) if asked.begins_from else None
        corpus = corpus_of(asked, out, lm, data_dir=data_dir)
        planned = plan(asked, knows_texts=lm is not None and has_learnt(lm, corpus))
        require_labels(asked, corpus, planned)
        return cls(asked, out, brought(corpus, out), lm, planned)

    def estimate(self) -> Estimate:
        """Measure what is left to do."""
        split = self.experiment.answered
        return estimate(self.planned, self.out, corpus=self.corpus, lm=self.lm, split=split)


def estimate_of(
    asked: Experiment, out: Path, *, data_dir: Path | None = None
) -> Estimate | StageEstimate:
    """Measure what an experiment is going to take: of general text stage 1 alone, until it has learnt."""
    if is_general_text(asked):
        left = stage1_left(asked, out)
        if isinstance(left, StageEstimate):
            return left
        asked = left
    return Bench.open(asked, out, data_dir=data_dir).estimate()


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
    session = Session(_STAGE, progress, restart=restart, max_minutes=max_minutes)
    asked = experiment if isinstance(experiment, Experiment) else Experiment(experiment)
    before: tuple[str, ...] = ()
    if is_general_text(asked):
        if stock:
            require_stock(asked.recipe().pretrain_lm.arch)
        left = stage1_left(asked, Path(out)) if progress else None
        if isinstance(left, StageEstimate):
            session.say(f"first {left}", "")
        begun = with_stage1(asked, Path(out), _how(session))
        before, asked = (said_of_stage1(asked, Path(out)),), begun
    bench = Bench.open(asked, out, data_dir=data_dir)
    if stock:
        require_stock(arch_of(trainings(bench.planned), bench.lm))
    if restart or not (bench.out / RECIPE).exists():
        _write_recipe(bench)
    for notice in bench.corpus.manifest.notices:
        session.say(notice, "")
    if progress and any(not _is_done(bench, each) for each in bench.planned):
        session.say(str(bench.estimate()), "")
    renewed: set[str] = set()
    found = [_run(bench, each, session, renewed) for each in bench.planned]
    _write_recipe(bench)  # now that no training has refused its settings
    results = _results(bench, found)
    results = replace(results, sentences=(*results.sentences, *before))
    if stock:
        results = replace(
            results,
            stages=beside_stock(bench.planned, found, bench.out, corpus=bench.corpus, lm=bench.lm),
        )
    write_results(results, bench.out)
    return results


def _run(bench: Bench, planned: Planned, session: Session, renewed: set[str]) -> Result:
    """Train what a run needs, and evaluate it; `renewed` are the trainings that this call has begun anew."""
    if not _is_done(bench, planned):
        session.say(f"{planned.run}: {planned.classifier.folder}", "")
    lm, how = bench.lm, _how(session)
    if planned.lm is not None:
        lm = _language_model(bench, planned.lm, session, renewed)
        how = _how(session)
    assert lm is not None and isinstance(planned.classifier.config, ClassifierConfig)
    out = bench.out / planned.classifier.folder
    train_classifier(lm, bench.corpus, out, config=planned.classifier.config, **how)
    left = session.minutes_left()
    if left is not None and left <= 1e-3:
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


def _is_done(bench: Bench, planned: Planned) -> bool:
    return (bench.out / planned.classifier.folder / MANIFEST).is_file()


def _write_recipe(bench: Bench) -> None:
    """Write down what was asked for, and the configs that it stands for; folders by name, as they may be anywhere."""
    asked = bench.experiment
    lm = asked.lm if asked.lm in PRETRAINED else Path(asked.lm).name
    named = {**asdict(asked), "data_set": bench.corpus.manifest.name, "lm": lm}
    recipe = replace(asked.recipe(), text=bench.corpus.config)
    content = {"ulmfit": __version__, "experiment": named, **asdict(recipe)}
    with atomic_file(bench.out / RECIPE) as part:
        write_json(part, content)


def _results(bench: Bench, found: list[Result]) -> Results:
    """Sum the runs up, with label budgets beside what baselines reach with all labels."""
    asked, name = bench.experiment, bench.corpus.manifest.name
    summed = summaries(found, bench.out, data_set=name, table=asked.table)
    is_one_split = asked.answered == "test" or len(bench.corpus.rows(asked.answered)) > 0
    is_curve = asked.labels and asked.table is None
    # Runs that answer documents which they have held out themselves answer others each.
    wholes = _wholes(bench) if is_curve and is_one_split else {}
    curve = [(s.n_given, s.accuracy.value) for s in summed]
    sentences = [sentence(curve, baseline, whole) for baseline, whole in wholes.items()]
    if asked.labels:
        seed = bench.planned[0].run.seed
        sentences.append(
            f"All budgets share the language model of seed {seed}; each seed draws its own labels."
            if asked.unlabelled
            else "Each language model has read the texts of its own budget, and no others."
        )
    return Results(
        name,
        asked.preset,
        asked.table,
        tuple(found),
        summed,
        wholes,
        tuple(sentences),
        settings=asked.settings,
        notes=_notes(bench.out, found),
    )


def _notes(out: Path, found: Sequence[Result]) -> tuple[str, ...]:
    """Collect what the reports warn of, with the names of the runs where it is not said of all."""
    told: dict[str, list[str]] = {}
    for run in found:
        for note in read_json(out / run.folder / EVIDENCE)["notes"]:
            told.setdefault(note, []).append(run.folder)
    return tuple(
        note if len(folders) == len(found) else f"{', '.join(folders)}: {note}"
        for note, folders in told.items()
    )


def _wholes(bench: Bench) -> dict[str, Point]:
    """Let the baselines learn from all labels, and answer what the first run answered."""
    first, corpus = bench.planned[0], bench.corpus
    config = first.classifier.config
    classifier = Classifier.load(bench.out / first.classifier.folder)
    answered = trial_of(classifier, corpus, bench.experiment.answered).rows
    assert isinstance(config, ClassifierConfig)
    rows = replace(config, n_labels=None).rows(corpus)
    given = np.setdiff1d(np.union1d(rows.train, rows.valid), answered)
    keep = bench.out / BASELINE_FOLDER
    every = baseline_answers(BASELINES, corpus, given=given, answered=answered, keep=keep)
    return {b.name: (len(given), float(b.answers.is_right.mean())) for b in every}
