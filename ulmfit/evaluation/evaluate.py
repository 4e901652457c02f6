"""A classifier and a corpus -> evidence: every figure with its interval, beside baselines that had the same labels.

Several classifiers are taken for several seeds of one training, and averaged. Nothing is chosen here: the
temperature, and with early stopping the best epoch, were chosen on validation documents before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ulmfit.config import require
from ulmfit.errors import UserError, nearest
from ulmfit.evaluation.answering import Answered, Report, answer, require_same_task
from ulmfit.evaluation.baselines import BASELINES
from ulmfit.evaluation.course import courses_of, fit_seconds
from ulmfit.evaluation.documents import Trial, trial_of
from ulmfit.evaluation.evidence import (
    BaselineRow,
    CalibrationRows,
    ComparisonRow,
    DirectionRow,
    ErrorRow,
    Evidence,
    Explanation,
    Predictions,
    ScoreRow,
    Seconds,
)
from ulmfit.evaluation.facts import facts_of, notes_of
from ulmfit.evaluation.gather import (
    baseline_row,
    calibration_rows,
    direction_row,
    disputed_label,
    error_row,
    label_rows,
    score_rows,
    surest_errors,
)
from ulmfit.evaluation.kept import baseline_answers
from ulmfit.evaluation.metrics import confusion_table
from ulmfit.evaluation.published import published
from ulmfit.inference.classifier import Classifier
from ulmfit.inference.explain import explain_tokens
from ulmfit.inference.faithfulness import deletion_curve
from ulmfit.models.precision import Precision
from ulmfit.text.corpus import Corpus
from ulmfit.text.holdout import with_label

Model = Classifier | str | Path
EXPLAINED_TOKENS = 400  # longer documents are left unexplained: nobody reads so much


def evaluate(
    classifier: Model | Sequence[Model],
    corpus: Corpus | str | Path,
    *,
    split: str = "test",
    baselines: Iterable[str] = tuple(BASELINES),
    precision: Precision = "auto",
    n_errors: int = 10,
    n_explanations: int = 3,
    progress: Report | None = None,
    keep: Path | None = None,
) -> Evidence:
    """Measure a classifier, or several that differ in their seed, on the test or the valid split of a corpus.

    The baselines learn from the labels that the classifier was given, those that chose its temperature
    included. They need one label a document; other corpora are evaluated without. In the folder `keep`
    their answers stay for the next classifier with the same labels.
    """
    names = tuple(baselines)
    for name in names:
        require(name in BASELINES, "baselines", name, nearest(name, BASELINES))
    corpus = corpus if isinstance(corpus, Corpus) else Corpus.load(corpus)
    classifiers = _open(classifier)
    for each in classifiers:
        require_same_task(each, corpus)
    trial = _one_trial(classifiers, corpus, split)
    found = [answer(c, corpus, trial.rows, precision=precision, progress=progress) for c in classifiers]  # fmt: skip
    beside = _baselines(found, corpus, trial, names, progress, keep)
    return _evidence(found, corpus, trial, beside, n_errors=n_errors, n_explanations=n_explanations)


def _evidence(
    found: list[Answered],
    corpus: Corpus,
    trial: Trial,
    baselines: tuple[BaselineRow, ...],
    *,
    n_errors: int,
    n_explanations: int,
) -> Evidence:
    """Put all that was measured together."""
    first, seeds = found[0], [each.answers for each in found]
    made, courses = first.classifier.manifest.provenance, courses_of(first.classifier)
    scores, directions = score_rows(seeds), _directions(found)
    wrong = surest_errors(first.answers, n=len(first.answers))
    has_names = first.answers.kind != "number"
    return Evidence(
        title=f"{corpus.manifest.name}: {' and '.join(first.classifier.directions)} classifier",
        protocol=_protocol(made.protocol, trial),
        seeds=tuple(each.classifier.manifest.provenance.seed for each in found),
        n_documents=len(first.answers),
        split=trial.split,
        notes=notes_of(trial, corpus),
        facts=facts_of([each.classifier for each in found], corpus, trial),
        scores=scores,
        directions=directions,
        comparisons=_comparisons(first, corpus, trial, scores, directions),
        baselines=baselines,
        seconds=Seconds(fit_seconds(courses), first.seconds),
        labels=label_rows(seeds) if has_names else (),
        confusion=confusion_table(first.answers),
        calibration=_calibration(first, trial),
        courses=courses,
        errors=tuple(_error(first, corpus, trial, place) for place in wrong[:n_errors]),
        explanations=_explanations(first, corpus, trial, wrong, n=n_explanations),
        predictions=Predictions(trial.rows, tuple(seeds)),
    )


def _protocol(claimed: str | None, trial: Trial) -> str:
    """Say what a figure may claim: what the training promised of its own corpus, and nothing of another one."""
    return (claimed or "unknown") if trial.taught is not None else "unknown"


def _open(classifier: Model | Sequence[Model]) -> list[Classifier]:
    """Open what is given as folders, and refuse what cannot be averaged."""
    given = [classifier] if isinstance(classifier, Model) else list(classifier)
    if not given:
        raise UserError("no classifier to evaluate: give one, or several of different seeds")
    found = [c if isinstance(c, Classifier) else Classifier.load(c) for c in given]
    for what in ("seed", "protocol", "directions"):
        values = [getattr(c.manifest.provenance, what) for c in found]
        if what == "seed" and len(set(values)) < len(values):
            raise UserError(f"the seeds of {_folders(found)} are {_listed(values)}: give classifiers of different seeds")  # fmt: skip
        if what != "seed" and len(set(values)) > 1:
            raise UserError(f"the {what} of {_folders(found)} differ ({_listed(values)}): evaluate them one by one")  # fmt: skip
    _require_alike(found)
    return found


def _require_alike(classifiers: list[Classifier]) -> None:
    """Refuse trainings that differ in more than their seed, as far as both say how they were made."""
    first, *others = ({"corpus": made.get("corpus"), **made.get("config", {})} for made in (c.manifest.provenance.config for c in classifiers))  # fmt: skip
    for other, settings in zip(classifiers[1:], others):
        for what in sorted(first.keys() & settings.keys() - {"seed"}):
            if first[what] != settings[what]:
                raise UserError(f"the {what} of {_folders([classifiers[0], other])} differ ({_listed([first[what], settings[what]])}): evaluate them one by one")  # fmt: skip


def _folders(classifiers: list[Classifier]) -> str:
    return ", ".join(str(classifier.folder) for classifier in classifiers)


def _listed(values: list[object]) -> str:
    return ", ".join("unknown" if v is None else str(v) for v in values)


def _one_trial(classifiers: list[Classifier], corpus: Corpus, split: str) -> Trial:
    """Choose the documents, which have to be the same for all seeds."""
    first, *others = (trial_of(each, corpus, split) for each in classifiers)
    if any(not np.array_equal(first.rows, other.rows) for other in others):
        raise UserError(
            f"each seed held out other documents of {corpus.folder}, which has no valid split: "
            "evaluate them one by one, or all on --split test"
        )
    return first


def _directions(found: list[Answered]) -> tuple[DirectionRow, ...]:
    names = found[0].directions
    return tuple(direction_row(name, [each.directions[name] for each in found]) for name in names)


def _baselines(
    found: list[Answered],
    corpus: Corpus,
    trial: Trial,
    names: tuple[str, ...],
    progress: Report | None,
    keep: Path | None,
) -> tuple[BaselineRow, ...]:
    """Let the baselines learn from the classifier's labels, and answer the same documents."""
    if corpus.label_kind != "category" or not names:
        return ()
    given = trial.given
    if given is None:  # trained elsewhere: all labels that there are
        splits = ("train", "valid") if trial.split == "test" else ("train",)
        given = np.concatenate([with_label(corpus, corpus.rows(name)) for name in splits])
    if not len(given):
        return ()
    seeds, rows = [each.answers for each in found], []
    for answers in baseline_answers(names, corpus, given=given, answered=trial.rows, keep=keep):
        rows.append(baseline_row(seeds, answers))
        if progress:
            progress("baselines", len(rows))
    return tuple(rows)


def _comparisons(
    first: Answered,
    corpus: Corpus,
    trial: Trial,
    scores: tuple[ScoreRow, ...],
    directions: tuple[DirectionRow, ...],
) -> tuple[ComparisonRow, ...]:
    """Set our figures beside those that are published of the same test set and direction."""
    if trial.split != "test":
        return ()
    own = {"both" if directions else first.classifier.directions[0]: scores}
    own |= {row.name: row.scores for row in directions}
    figures = {(name, row.name): row.figure for name, rows in own.items() for row in rows}
    return tuple(
        ComparisonRow(
            row.name, row.metric, figures[row.direction, row.metric], row.value,
            f"{row.source}; {row.protocol.replace('_', ' ')}",
        )
        for row in published(corpus.manifest.name)
        if (row.direction, row.metric) in figures
    )  # fmt: skip


def _calibration(first: Answered, trial: Trial) -> CalibrationRows | None:
    if first.answers.kind != "category":
        return None
    n_valid = 0 if trial.taught is None else len(trial.taught.valid)
    temperature = first.classifier.temperature
    return calibration_rows(
        first.untempered, first.answers, temperature=temperature, n_valid=n_valid
    )


def _explanations(
    first: Answered, corpus: Corpus, trial: Trial, wrong: list[int], *, n: int
) -> tuple[Explanation, ...]:
    """Explain the surest errors among documents of a readable length."""
    short = [place for place in wrong if len(corpus[int(trial.rows[place])]) <= EXPLAINED_TOKENS]
    return tuple(_explanation(first, corpus, trial, place) for place in short[:n])


def _explanation(first: Answered, corpus: Corpus, trial: Trial, place: int) -> Explanation:
    """Weigh the words of a document; how true the weights are, say deletions in their order and in random ones."""
    label = disputed_label(first.answers, place)
    found = explain_tokens(first.classifier, corpus.tokens(int(trial.rows[place])), label=label)
    curve = deletion_curve(first.classifier, found, n_points=6, n_orders=4)
    row = _error(first, corpus, trial, place)
    heading = (
        f"{row.true} → {row.predicted}: for {found.label} (green) and against it (red); as words are left out, the strongest first, "
        f"its {found.unit} is {curve.advantage:.2f} below that of random orders on average"
    )
    return Explanation(heading, found.words, found.weights)


def _error(first: Answered, corpus: Corpus, trial: Trial, place: int) -> ErrorRow:
    return error_row(first.answers, place, corpus.text(int(trial.rows[place])))
