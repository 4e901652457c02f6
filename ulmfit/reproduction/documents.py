"""The corpus of an experiment: a data set, prepared as the language model reads, or one that is prepared already.

It lies in the experiment's own folder, so that this is all that moves to another machine.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from ulmfit.config import preset as text_preset
from ulmfit.errors import UserError
from ulmfit.files import CORPUS, MANIFEST, atomic_folder, kind_of
from ulmfit.inference.pair import LanguageModelPair, Source
from ulmfit.models.parts import TextPipeline
from ulmfit.recipe import config_for
from ulmfit.reproduction.plan import ALL, Experiment, Planned
from ulmfit.text.corpus import Corpus
from ulmfit.text.holdout import with_label
from ulmfit.text.locate import is_present
from ulmfit.text.prepare import prepare
from ulmfit.training.classifier_config import ClassifierConfig


def corpus_of(
    asked: Experiment,
    out: Path,
    lm: Source | None,
    *,
    data_dir: str | Path | None,
    restart: bool = False,
) -> Corpus:
    """Open the experiment's documents: those of a data set in its folder, a prepared corpus where it lies."""
    if asked.is_registered:
        return _data_set(asked, out, lm, data_dir=data_dir, restart=restart)
    if lm is None:
        return prepared(asked, None, like=f"--preset {asked.preset}")
    one = lm.forward if isinstance(lm, LanguageModelPair) else lm
    return prepared(asked, one.parts.text, like=f"--lm {asked.begins_from}")


def brought(corpus: Corpus, out: Path) -> Corpus:
    """Copy a corpus into the experiment's folder, unless it lies there already."""
    folder, home = corpus.folder, out / CORPUS
    if folder.resolve() == home.resolve():
        return corpus
    if home.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"--out {out} lies in the corpus {folder}: choose a folder outside of it")
    if not (home / MANIFEST).is_file():
        with atomic_folder(home, kind="corpus") as part:
            shutil.copytree(folder, part, dirs_exist_ok=True)
    there = Corpus.load(home)
    if there.fingerprint != corpus.fingerprint:
        raise UserError(f"{home} is another corpus than {folder}: choose another --out")
    return there


def prepared(asked: Experiment, text: TextPipeline | None, *, like: str) -> Corpus:
    """Open a corpus that was read as `text` says, that of the language model; `like` are the flags to prepare it with."""
    folder = Path(asked.data_set)
    if kind_of(folder / CORPUS) == "corpus":
        raise UserError(f"{folder} is a run, and its corpus is {folder / CORPUS}: give that")
    if kind_of(folder) != "corpus":
        raise UserError(f"{folder} is no corpus: make one with `ulmfit prepare {folder} {like} --out CORPUS`, and give its folder")  # fmt: skip
    given = Corpus.load(folder)
    if text is not None and not _is_read_by(text, given):
        raise UserError(f"{folder} is not read as {asked.begins_from} reads: prepare it with {like}, or begin without language model, --lm none")  # fmt: skip
    return given


def _is_read_by(text: TextPipeline, corpus: Corpus) -> bool:
    """Tell whether a corpus was read with the tokenizer of a language model; of words any version of spaCy will do."""
    is_subword = text.config.tokenizer == "subword"
    return text.reads(corpus) and (is_subword or text.reading(corpus.config) == corpus.config)


def _data_set(
    asked: Experiment, out: Path, lm: Source | None, *, data_dir: str | Path | None, restart: bool
) -> Corpus:
    """Prepare the corpus; where the data set or its tokenizer is not at hand, the one that is there will do."""
    config = config_for(lm, asked.recipe().text, default=text_preset(asked.preset))
    folder = out / CORPUS
    there = Corpus.load(folder) if (folder / MANIFEST).is_file() else None
    if there is not None and there.manifest.name != asked.data_set:
        raise UserError(f"{folder} is of {there.manifest.name}, not of {asked.data_set}: choose another --out")  # fmt: skip
    if there is not None and there.config == replace(config, sp_model=None):
        if not is_present(str(asked.data_set), data_dir):
            return there
        try:
            return prepare(str(asked.data_set), folder, data_dir=data_dir, config=config)
        except ImportError:
            return there
    if data_dir is not None and not Path(data_dir).is_dir():
        raise UserError(f"--data-dir {data_dir} is not a folder: name the one that holds {asked.data_set}, or create it to download into")  # fmt: skip
    return prepare(str(asked.data_set), folder, data_dir=data_dir, config=config, restart=restart)


def require_labels(asked: Experiment, corpus: Corpus, planned: tuple[Planned, ...]) -> None:
    """Refuse labels that a classifier cannot learn from or answer for, before a language model takes its time."""
    name, split = corpus.manifest.name, asked.answered
    if corpus.label_kind != "category":
        raise UserError(f"{name} has no labels that are names, and an experiment compares accuracies: `ulmfit fit` and `ulmfit evaluate` take other labels")  # fmt: skip
    if split == "test" and not len(with_label(corpus, corpus.rows(split))):
        raise UserError(f"{name} has no test documents with a label: prepare it with --test FILE or --split COLUMN, or answer documents held out of train with --split valid")  # fmt: skip
    n_labelled = len(with_label(corpus, corpus.rows("train")))
    for n in asked.labels:
        if n is not ALL and n > n_labelled:
            raise UserError(
                f"--labels {n:,} is more than the {n_labelled:,} labelled training documents of {name}: "
                "ask for fewer, or for all"
            )
    for config in (each.classifier.config for each in planned):
        assert isinstance(config, ClassifierConfig)
        if split == "valid" and config.protocol == "as_published":
            raise UserError("--split valid, or a table's, and protocol as_published, which learns from those documents and measures on the test split: leave one of them out")  # fmt: skip
        config.rows(corpus)
