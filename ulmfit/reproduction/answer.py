"""The last step of a run: its classifier is evaluated, once, and its folder tells what came out.

In: a planned run whose trainings are finished. Out: a Result, and in the run's folder predictions.csv,
report.html, report.md and evaluation.json. What is there from the same classifier is taken as it is.
"""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path

from ulmfit.errors import UserError
from ulmfit.evaluation.baselines import BASELINES
from ulmfit.evaluation.evaluate import evaluate
from ulmfit.evaluation.evidence import Evidence
from ulmfit.evaluation.folder import EVIDENCE, PREDICTIONS, build, write_files
from ulmfit.files import atomic_file, fingerprint, read_json, write_json
from ulmfit.history import read_history
from ulmfit.inference.classifier import Classifier
from ulmfit.reproduction.plan import Planned
from ulmfit.reproduction.results import Beside, Result
from ulmfit.text.corpus import Corpus
from ulmfit.training.classifier_config import ClassifierConfig

RESULT, BASELINE_FOLDER = "result.json", "baselines"
FORMAT = 1


def result_of(planned: Planned, out: Path, *, corpus: Corpus, split: str) -> Result:
    """Evaluate a run's classifier, unless this very one has been."""
    folder = out / planned.folder
    classifier = Classifier.load(out / planned.classifier.folder)
    key = fingerprint([FORMAT, classifier.parts.fingerprint, corpus.fingerprint, split])
    if (found := _known(folder / RESULT, key)) is not None:
        return found
    evidence = evaluate(
        classifier,
        corpus,
        split=split,
        baselines=tuple(BASELINES),
        n_explanations=3 if _can_tokenize(classifier) else 0,
        keep=out / BASELINE_FOLDER,
    )
    (folder / RESULT).unlink(missing_ok=True)  # what it vouches for is about to be replaced
    write_files(_portable(evidence, out), folder)
    direction = classifier.manifest.provenance.direction
    result = _result(planned, evidence, out, corpus, direction)
    with atomic_file(folder / RESULT) as part:  # last: it vouches for the others
        write_json(part, {"made_of": key, "result": asdict(result)})
    return result


def _known(path: Path, key: str) -> Result | None:
    """Read a result that was made of the same classifier and corpus, if all that it vouches for is there."""
    if not all(path.with_name(name).is_file() for name in (RESULT, EVIDENCE, PREDICTIONS)):
        return None
    content = read_json(path)
    try:
        return build(Result, content["result"]) if content["made_of"] == key else None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not the result of a run ({error}): remove it to evaluate again") from error  # fmt: skip


def _can_tokenize(classifier: Classifier) -> bool:
    """Say whether texts can be explained here: a moved folder may have come without its tokenizer's library."""
    try:
        classifier.parts.text.tokenizer(classifier.folder, classifier.manifest.versions)
    except (ImportError, UserError):
        return False
    return True


def _portable(evidence: Evidence, out: Path) -> Evidence:
    """Name folders as they lie below that of the experiment, wherever it is moved to."""
    facts = ((name, fact.replace(f"{out}{os.sep}", "")) for name, fact in evidence.facts)
    return replace(evidence, facts=tuple(facts))


def _result(
    planned: Planned, evidence: Evidence, out: Path, corpus: Corpus, direction: str
) -> Result:
    config, lm = planned.classifier.config, planned.lm
    assert isinstance(config, ClassifierConfig)
    rows = config.rows(corpus)
    is_asked = evidence.split == "valid" and len(corpus.rows("valid")) > 0
    seconds = evidence.seconds
    return Result(
        row=planned.run.row.name,
        n_labels=config.n_labels,
        n_given=len(rows.train) + (0 if is_asked else len(rows.valid)),
        seed=planned.run.seed,
        direction=direction,
        split=evidence.split,
        protocol=evidence.protocol,
        n_documents=evidence.n_documents,
        accuracy=next(row.figure for row in evidence.scores if row.name == "accuracy"),
        baselines=tuple(Beside(row.name, row.accuracy.value) for row in evidence.baselines),
        lm_folder=lm.folder if lm else "",
        lm_seconds=training_seconds(out / lm.folder) if lm else 0.0,
        classifier_seconds=training_seconds(out / planned.classifier.folder),
        answer_seconds=seconds.predict if seconds else 0.0,
        folder=planned.folder,
    )


def training_seconds(folder: Path) -> float:
    """Add up the seconds of all epochs of a stage, in all directions."""
    files = sorted(folder.rglob("history*.csv"))
    return sum(row.seconds for path in files for row in read_history(path))
