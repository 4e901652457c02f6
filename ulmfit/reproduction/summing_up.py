"""The figures of finished runs put together: means, what baselines reach with all labels, and sentences about both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ulmfit.evaluation.documents import trial_of
from ulmfit.evaluation.folder import EVIDENCE
from ulmfit.evaluation.kept import baseline_answers
from ulmfit.files import read_json
from ulmfit.inference.classifier import Classifier
from ulmfit.reproduction.answer import BASELINE_FOLDER, RESULT
from ulmfit.reproduction.bench import Bench
from ulmfit.reproduction.labels_needed import BASELINES, Point, sentence
from ulmfit.reproduction.results import Result, summaries
from ulmfit.reproduction.sheet import Results
from ulmfit.training.classifier_config import ClassifierConfig


def results_of(bench: Bench, found: list[Result]) -> Results:
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
        sentences.append(_of_budgets(bench))
    return Results(
        name,
        asked.preset,
        asked.table,
        tuple(found),
        summed,
        wholes,
        tuple(sentences),
        settings=asked.settings,
        notes=(*_notes(bench.out, found), *_others(bench.out, found)),
    )


def _of_budgets(bench: Bench) -> str:
    """Say which language model the budgets begin from."""
    if not bench.experiment.unlabelled:
        return "Each language model has read the texts of its own budget, and no others."
    first = bench.planned[0]
    whose = "that was given" if first.lm is None else f"of seed {first.run.seed}"
    return f"All budgets share the language model {whose}; each seed draws its own labels."


def _notes(out: Path, found: Sequence[Result]) -> tuple[str, ...]:
    """Collect what the reports warn of, with the names of the runs where it is not said of all."""
    told: dict[str, list[str]] = {}
    for run in found:
        for note in read_json(out / run.folder / EVIDENCE)["notes"]:
            told.setdefault(note, []).append(_named(run.folder))
    return tuple(
        note if len(folders) == len(found) else f"{', '.join(folders)}: {note}"
        for note, folders in told.items()
    )


def _named(folder: str) -> str:
    """Name a run by its folder; that of a single run is the experiment's own."""
    return folder if folder not in ("", ".") else "the run without a folder of its own"


def _others(out: Path, found: Sequence[Result]) -> tuple[str, ...]:
    """Name the runs of earlier commands, whose figures this one's tables take the place of."""
    known = {Path(run.folder).as_posix() for run in found}  # of a single run "."
    folders = (path.parent.relative_to(out).as_posix() for path in out.rglob(RESULT))
    if not (others := sorted(set(folders) - known)):
        return ()
    shown = ", ".join(map(_named, others[:5])) + (", ..." if len(others) > 5 else "")
    return (
        f"Finished in this folder, too, but not asked for this time: {shown}. One command that names all of it sums all of it up.",
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
