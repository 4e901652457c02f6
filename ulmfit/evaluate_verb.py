"""The verbs `evaluate` and `report`: how good a model is, as a folder of evidence, and that evidence drawn again."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ulmfit.config import require
from ulmfit.errors import UserError
from ulmfit.files import CLASSIFIER, CORPUS, MANIFEST, in_run, kind_of, read_json
from ulmfit.flags import Positional, Positionals, Switch, parse
from ulmfit.output import print_result, say, table
from ulmfit.progress import Progress

if TYPE_CHECKING:
    from ulmfit.evaluation.evidence import Evidence
    from ulmfit.models.precision import Precision

_USAGE = "`ulmfit evaluate MODEL CORPUS`"
_EVALUATION = "evaluation"
_CLASSIFIER, _LANGUAGE_MODELS = "classifier", ("language_model", "language_model_pair")


@dataclass(frozen=True)
class EvaluateFlags:
    """Measure a classifier, or a language model, on documents that it did not learn from."""

    folders: Positionals = ()
    """MODEL CORPUS: the folder of a classifier, of several of different seeds, or of a language model; last that of their corpus. The folder of a run, such as
    `ulmfit fit` makes, stands for both."""
    split: str = "test"
    """test, or valid to look at a model without touching the test split."""
    out: Path | None = None
    """The folder to write: report.html, report.md, evaluation.json and predictions.csv, whose `row` is a document's number in
    the corpus, from 0; by default beside the classifier, with the name of a corpus that it did not learn from."""
    baselines: bool = True
    """Train majority, TF-IDF and NB-SVM on the same labels, and set them beside the classifier."""
    full_context: Switch = False
    """Read a language model's documents as one stream, as published perplexities do."""
    precision: str = "auto"
    """auto, fp32, bf16 or int8, of a classifier."""
    json: Switch = False
    """Print the evidence as JSON on stdout."""

    def __post_init__(self) -> None:
        for name, allowed in {
            "split": ("test", "valid"),
            "precision": ("auto", "fp32", "bf16", "int8"),
        }.items():
            value = getattr(self, name)
            require(value in allowed, name, value, ", ".join(allowed))


@dataclass(frozen=True)
class ReportFlags:
    """Write report.html and report.md of an evaluation again, from its evaluation.json."""

    folder: Positional = ""
    """The folder that `ulmfit evaluate` wrote, or that of a run with one evaluation in it."""
    json: Switch = False
    """Print the evidence as JSON on stdout."""


def evaluate(argv: Sequence[str]) -> None:
    """Measure models of one kind on a corpus."""
    flags = parse(EvaluateFlags, "evaluate", argv)
    *models, corpus = _folders(flags.folders)
    if kind_of(Path(models[0])) == _CLASSIFIER:
        _classifiers(models, corpus, flags)
    else:
        _language_model(models, corpus, flags)


def report(argv: Sequence[str]) -> None:
    """Draw the report of an evaluation again."""
    flags = parse(ReportFlags, "report", argv)
    if not flags.folder:
        raise UserError("no FOLDER: name that of an evaluation, as in `ulmfit report OUT`")
    from ulmfit.evaluation.folder import REPORT, read_evaluation, to_json
    from ulmfit.evaluation.report import write_report

    folder = _evaluation_in(flags.folder)
    evidence = read_evaluation(folder)
    page = write_report(evidence, folder / REPORT)
    say(f"wrote {page}")
    print_result({"out": str(folder), **to_json(evidence)} if flags.json else _in_short(evidence))


def _evaluation_in(folder: str) -> Path:
    """Find the one evaluation in the folder of a run; any other folder is taken as it is."""
    found = [path for path in Path(folder).glob(f"{CLASSIFIER}.*") if kind_of(path) == _EVALUATION]
    if len(found) > 1:
        names = ", ".join(str(path) for path in sorted(found))
        raise UserError(f"{folder} has {len(found)} evaluations: name one of {names}")
    return found[0] if found else Path(folder)


def _folders(folders: Sequence[str]) -> list[str]:
    """Tell models and corpus apart, before anything slow is imported."""
    folders = _in_runs(folders)
    kinds = [kind_of(Path(folder)) for folder in folders]
    for folder, kind in zip(folders, kinds):
        if not kind:
            what = (
                "is not an artefact folder of ulmfit" if Path(folder).exists() else "is not there"
            )
            raise UserError(f"{folder} {what}: {_USAGE}")
    if len(folders) < 2:
        missing = "MODEL" if not folders or kinds == ["corpus"] else "CORPUS"
        raise UserError(f"no {missing}: write it before the flags, as in {_USAGE}")
    *models, last = kinds
    if last != "corpus":
        raise UserError(f"{folders[-1]} is a {last.replace('_', ' ')}, and CORPUS comes last: {_USAGE}")  # fmt: skip
    for folder, kind in zip(folders, models):
        if kind not in (_CLASSIFIER, *_LANGUAGE_MODELS):
            raise UserError(f"{folder} is {_a(kind)}, and MODEL is a classifier or a language model: {_USAGE}")  # fmt: skip
    if len(models) > 1 and set(models) != {_CLASSIFIER}:
        raise UserError("only classifiers can be evaluated together: give one language model")
    return list(folders)


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _in_runs(folders: Sequence[str]) -> list[str]:
    """Find classifiers and corpus in the folders of runs; one run alone has both."""
    if len(folders) == 1 and in_run(folders[0], CLASSIFIER) != Path(folders[0]):
        folders = [*folders, *folders]
    names = [CLASSIFIER] * (len(folders) - 1) + [CORPUS]
    return [str(in_run(folder, name)) for folder, name in zip(folders, names)]


def _classifiers(models: list[str], corpus: str, flags: EvaluateFlags) -> None:
    """Write the evidence of classifiers."""
    if flags.full_context:
        raise UserError("--full-context is for language models: leave it out")
    out = flags.out or _beside(Path(models[0]), Path(corpus), flags.split)
    if out.is_file() or (out.is_dir() and kind_of(out) != _EVALUATION and any(out.iterdir())):
        raise UserError(f"--out {out} exists and is not an evaluation: choose another folder")
    from ulmfit.evaluation.baselines import BASELINES
    from ulmfit.evaluation.evaluate import evaluate as evaluate_classifiers
    from ulmfit.evaluation.folder import REPORT, to_json, write_evaluation

    with contextlib.closing(Progress()) as progress:
        evidence = evaluate_classifiers(
            models,
            corpus,
            split=flags.split,
            baselines=tuple(BASELINES) if flags.baselines else (),
            precision=cast("Precision", flags.precision),
            progress=progress,
        )
    write_evaluation(evidence, out)
    say(f"wrote {out / REPORT}")
    print_result({"out": str(out), **to_json(evidence)} if flags.json else _in_short(evidence))


def _beside(model: Path, corpus: Path, split: str) -> Path:
    """Name the folder of an evaluation after what is evaluated, and after the corpus unless the model learnt from it."""
    model, corpus = model.resolve(), corpus.resolve()
    settings = read_json(model / MANIFEST).get("config")
    learnt_from = settings.get("corpus") if isinstance(settings, dict) else None
    if learnt_from in (None, read_json(corpus / MANIFEST).get("key")):
        return model.with_name(f"{model.name}.{split}")
    name = corpus.parent.name if corpus.name == CORPUS else corpus.name
    return model.with_name(f"{model.name}.{name}.{split}")


def _in_short(evidence: Evidence) -> str:
    """Say the metrics, and what the baselines reached, in a few lines."""
    from ulmfit.evaluation.parts import basis, shown, title

    rows: list[tuple[str, ...]] = [
        (title(row.name), shown(row.figure, row.name)) for row in evidence.scores
    ]
    rows += [(f"accuracy of {row.name}", shown(row.accuracy)) for row in evidence.baselines]
    notes = [f"note: {note}" for note in evidence.notes]
    notes += ["note: not a clean test result"] * (evidence.protocol == "as_published")
    head = f"{evidence.title}, protocol {evidence.protocol.replace('_', ' ')}"
    return "\n".join([head, table(rows), f"{basis(evidence)}.", *notes])


def _language_model(models: list[str], corpus: str, flags: EvaluateFlags) -> None:
    """Print the figures of a language model, or of both of a pair."""
    if flags.out:
        raise UserError("a language model has no report: leave --out out, and take --json")
    from ulmfit.inference.language_model import LanguageModel
    from ulmfit.inference.pair import LanguageModelPair
    from ulmfit.training.measure import evaluate_lm

    (folder,) = models
    is_pair = kind_of(Path(folder)) == "language_model_pair"
    found = {
        lm.direction: evaluate_lm(lm, corpus, split=flags.split, full_context=flags.full_context)
        for lm in (LanguageModelPair.load(folder) if is_pair else [LanguageModel.load(folder)])
    }
    lines = (f"{direction}: {scores}" for direction, scores in found.items())
    as_json = {direction: asdict(scores) for direction, scores in found.items()}
    print_result(as_json if flags.json else "\n".join(lines))
