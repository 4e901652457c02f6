"""What an experiment trains: runs, each with its seed, its labels and its row of a table, and where each training lies.

In: an Experiment. Out: `Planned` runs, whose language models are one and the same training where their settings
are. No file is read or written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ulmfit.config import preset, require
from ulmfit.errors import UserError, nearest
from ulmfit.evaluation.documents import EVALUATED
from ulmfit.files import CLASSIFIER
from ulmfit.recipe import FINETUNED, PRETRAINED, Recipe, first_model, of_preset
from ulmfit.reproduction.settings import apply_settings, full_name, stage_of
from ulmfit.reproduction.tables import AS_IT_IS, NEEDS_LM, TABLES, Row
from ulmfit.text.datasets import DATASETS
from ulmfit.training.config import FinetuneConfig, StageConfig

N_SPLITS = 10  # with few labels, figures of fewer splits mean little
FLAGS = {"seed": "--seeds", "n_labels": "--labels", "direction": "--direction"}
ALL = None  # the number of labels when none is left out
FIRST = -1  # the seed of a run alone, whichever it is


@dataclass(frozen=True)
class Experiment:
    """What is asked for."""

    data_set: str | Path
    """A name in DATASETS, or the folder of a corpus."""
    preset: str = "laptop"
    lm: str = ""
    """Folder of a language model, the name of a pretrained one, folder of a corpus that stage 1 learns from first, or
    none: stage 1 learns from the texts."""
    direction: str | None = None
    seeds: tuple[int, ...] = ()
    """By default one, or `N_SPLITS` with label budgets."""
    labels: tuple[int | None, ...] = ()
    """Label budgets, `ALL` for all labels."""
    unlabelled: bool = True
    """Whether stage 2 reads all texts; else only those of a budget, and each run has a language model of its own."""
    table: int | None = None
    """A table of the paper whose rows are run."""
    rows: tuple[str, ...] = ()
    """Only these of them."""
    settings: tuple[str, ...] = ()
    split: str | None = None
    """What is answered: by default test, and for a table what the paper answered, documents held out of train."""

    def __post_init__(self) -> None:
        if not self.is_registered and not Path(self.data_set).exists():
            raise UserError(f"no data set or corpus {str(self.data_set)!r}: {nearest(str(self.data_set), DATASETS)}")  # fmt: skip
        if self.is_registered and DATASETS[str(self.data_set)].label is None:
            raise UserError(f"{self.data_set} has no labels, and a classifier learns from them: `ulmfit pretrain-lm` trains its language model")  # fmt: skip
        preset(self.preset)
        require(self.table in (None, *TABLES), "table", self.table, ", ".join(map(str, TABLES)))
        require(self.split in (None, *EVALUATED), "split", self.split, ", ".join(EVALUATED))
        if self.rows and self.table is None:
            raise UserError("--rows are those of a table of the paper: name it with --table")
        names = [row.name for row in TABLES.get(self.table or 0, ())]
        for name in self.rows:
            if name not in names:
                raise UserError(
                    f"--rows: table {self.table} has no row {name!r}: {nearest(name, names)}"
                )
        for name in ("seeds", "labels", "rows"):
            values = getattr(self, name)
            twice = [value for value in values if values.count(value) > 1]
            if twice:
                shown = "all" if twice[0] is ALL else twice[0]
                raise UserError(f"--{name} names {shown} twice: once is enough")
        for n in self.labels:
            require(n is ALL or n >= 2, "labels", n, "2 or more, or all")
        for seed in self.seeds:
            require(seed >= 0, "seeds", seed, "0 or more")
        if not self.unlabelled and not (self.labels and self.begins_from):
            raise UserError("--no-unlabelled lets stage 2 read only the texts of a budget: give --labels, and a pretrained language model with --lm")  # fmt: skip
        if not self.unlabelled and ALL in self.labels:
            raise UserError(
                "--no-unlabelled needs budgets as numbers: write how many labels all are"
            )
        if self.table in NEEDS_LM and not self.begins_from:
            raise UserError(
                f"--table {self.table} is about a pretrained language model: give one with --lm"
            )
        self._require_no_flag()
        self.recipe()
        self._require_rows_differ()
        if not self.is_registered and any(stage_of(each) == "text" for each in self.settings):
            raise UserError(f"--set text: {self.data_set} is prepared already: prepare it again, with these flags")  # fmt: skip

    def _require_no_flag(self) -> None:
        """Refuse a setting for which there is a flag, which would say one thing and train another."""
        for setting in self.settings:
            flag = FLAGS.get(full_name(setting).partition(".")[2])
            if flag and stage_of(setting) != "text":
                raise UserError(f"--set {setting}: {flag} says it, for all stages: leave it out")

    def _require_rows_differ(self) -> None:
        """Refuse a setting by which the rows of the table differ: they would keep the paper's names and figures.

        No row is named after its rate: those that are run, and have the same, may have another one.
        """
        for setting in self.settings:
            name = full_name(setting)
            rows = self.table_rows if name.endswith(".lr") else TABLES.get(self.table or 0, ())
            values = {
                {full_name(s): s.partition("=")[2] for s in row.settings}.get(name) for row in rows
            }
            if len(values) > 1:
                raise UserError(f"--set {setting}: it is what rows of table {self.table} differ in: leave it out, or the table")  # fmt: skip

    @property
    def table_rows(self) -> tuple[Row, ...]:
        """The rows of the table that are run: those that are named, or all."""
        rows = TABLES.get(self.table or 0, ())
        return tuple(row for row in rows if row.name in self.rows or not self.rows)

    @property
    def is_registered(self) -> bool:
        """Whether the documents are a data set's, which is prepared as the language model reads."""
        return self.data_set in DATASETS

    @property
    def begins_from(self) -> str:
        """The language model to begin from, which is chosen as in `fit`; empty where stage 1 makes one."""
        is_pretraining = any(stage_of(setting) == "pretrain_lm" for setting in self.settings)
        text = self.recipe().text
        return str(first_model(self.lm or None, text, is_pretraining=is_pretraining) or "")

    @property
    def answered(self) -> str:
        """The split that is answered."""
        return self.split or ("test" if self.table is None else "valid")

    def recipe(self, row: Row = AS_IT_IS, *, seed: int | None = None) -> Recipe:
        """Give the configs of a row; what the user sets comes last. The paper's tables are of forward encoders alone."""
        direction = self.direction or (None if self.table is None else "forward")
        recipe = of_preset(self.preset).shared(direction=direction, seed=seed)
        alone = () if self.table is None else ("stage3.linear=none",)
        return apply_settings(recipe, (*alone, *row.settings, *self.settings))

    def runs(self) -> tuple[Run, ...]:
        """List the runs, a seed after the other within a row and a budget."""
        default = tuple(range(N_SPLITS)) if self.labels else (self.recipe().train_classifier.seed,)
        return tuple(
            Run(seed, n, row)
            for row in self.table_rows or (AS_IT_IS,)
            for n in self.labels or (ALL,)
            for seed in self.seeds or default
        )


@dataclass(frozen=True)
class Run:
    """One classifier that is trained and evaluated."""

    seed: int
    n_labels: int | None = ALL
    row: Row = AS_IT_IS

    def __str__(self) -> str:
        labels = "all labels" if self.n_labels is ALL else f"{self.n_labels:,} labels"
        return ", ".join([*([self.row.name] if self.row.name else []), labels, f"seed {self.seed}"])


@dataclass(frozen=True)
class Training:
    """One training of one stage."""

    stage: str
    """pretrain_lm, finetune_lm, carry_over (into the corpus's vocabulary, without learning) or train_classifier."""
    folder: str
    """Below that of the experiment."""
    config: StageConfig


@dataclass(frozen=True)
class Planned:
    """A run and its trainings."""

    run: Run
    folder: str
    """Where its answers and its report lie."""
    lm: Training | None
    """None where the language model that is given has learnt from these texts already."""
    classifier: Training


def plan(
    experiment: Experiment, *, knows_texts: bool = False, at_home: int | None = FIRST
) -> tuple[Planned, ...]:
    """Lay an experiment out; `knows_texts` says that the language model given has learnt from its texts.

    The run of all labels with seed `at_home` lies in the folder of the experiment itself, others in folders of their
    own; by default a run that is alone does.
    """
    if knows_texts and not experiment.unlabelled:
        raise UserError(f"--no-unlabelled, and {experiment.begins_from} has read all of these texts: give the language model that it began from")  # fmt: skip
    runs = experiment.runs()
    reads_all = (_language_model(experiment, run.row, 0, "").stage == "pretrain_lm" for run in runs)
    if not experiment.unlabelled and any(reads_all):
        raise UserError("--no-unlabelled, and a language model would be pretrained on all of these texts: begin from one, as with --lm en, and leave rows without pretraining out")  # fmt: skip
    if knows_texts and (about := _about_stage2(experiment, runs)):
        raise UserError(f"{about} is about stage 2, and {experiment.begins_from} has read these texts in one of its own: give the language model that it began from")  # fmt: skip
    is_plain = not experiment.labels and not experiment.table
    if at_home == FIRST and len(runs) == 1:
        at_home = runs[0].seed
    found: dict[tuple[str, StageConfig], Training] = {}

    def shared(row: Row, seed: int, home: str, n_labels: int | None = ALL) -> Training | None:
        training = _language_model(experiment, row, seed, home)
        if knows_texts and training.stage != "pretrain_lm":
            return None
        if n_labels is not ALL and isinstance(training.config, FinetuneConfig):
            training = replace(training, config=replace(training.config, n_labels=n_labels))
        return found.setdefault((training.stage, training.config), training)

    planned = []
    for run in runs:
        is_home = is_plain and run.seed == at_home
        folder = "" if is_home else _folder(run, has_budgets=bool(experiment.labels))
        # Budgets compare labels, so one language model serves them all, unless it may read no more than they do.
        is_shared = bool(experiment.labels) and experiment.unlabelled
        lm_seed = runs[0].seed if is_shared else run.seed
        home = "" if is_home or is_shared else f"seed{run.seed}"
        if experiment.unlabelled:
            shared(AS_IT_IS, lm_seed, home)  # first: a row with the same settings takes it
        config = experiment.recipe(run.row, seed=run.seed).train_classifier
        if not experiment.unlabelled:
            config = replace(config, few_labels=None)
        classifier = Training(
            "train_classifier", _join(folder, CLASSIFIER), replace(config, n_labels=run.n_labels or config.n_labels)
        )  # fmt: skip
        lm = (
            shared(run.row, lm_seed, home)
            if experiment.unlabelled
            else shared(run.row, run.seed, folder, run.n_labels)
        )
        planned.append(Planned(run, folder, lm, classifier))
    return tuple(planned)


def _about_stage2(experiment: Experiment, runs: tuple[Run, ...]) -> str:
    """Name what is asked of a stage 2, which a language model that has learnt from the texts would leave out."""
    for setting in experiment.settings:
        if stage_of(setting) == "finetune_lm":
            return f"--set {setting}"
    rows = (run.row for run in runs)
    of_stage2 = (
        not row.is_finetuned or any(stage_of(each) == "finetune_lm" for each in row.settings)
        for row in rows
    )
    return f"--table {experiment.table}" if any(of_stage2) else ""


def trainings(planned: Iterable[Planned]) -> tuple[Training, ...]:
    """List each training once, in the order in which they take place."""
    return tuple(dict.fromkeys(t for p in planned for t in (p.lm, p.classifier) if t))


def _language_model(experiment: Experiment, row: Row, seed: int, home: str) -> Training:
    """Say by which training a row comes to its language model."""
    recipe = experiment.recipe(row, seed=seed)
    home = _join(home, row.folder)
    if not (experiment.begins_from and row.is_pretrained):
        return Training("pretrain_lm", _join(home, PRETRAINED), recipe.pretrain_lm)
    stage = "finetune_lm" if row.is_finetuned else "carry_over"
    return Training(stage, _join(home, FINETUNED), recipe.finetune_lm)


def _folder(run: Run, *, has_budgets: bool) -> str:
    labels = f"labels-{'all' if run.n_labels is ALL else run.n_labels}" if has_budgets else ""
    return _join(f"seed{run.seed}", run.row.folder, labels)


def _join(*parts: str) -> str:
    return "/".join(filter(None, parts))
