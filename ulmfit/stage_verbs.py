"""The verbs of the three stages, and of all in one: flags in, a stage called, its model described on stdout.

To add a stage: its flags in stage_flags.py, a function here, a line in `cli.VERBS`.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulmfit.errors import UserError
from ulmfit.files import CLASSIFIER, kind_of
from ulmfit.flags import parse
from ulmfit.output import print_result, say, say_written, written_at
from ulmfit.progress import StageProgress
from ulmfit.stage_flags import ClassifierFlags, FinetuneFlags, PretrainFlags, StageFlags
from ulmfit.verb_flags import FitFlags

if TYPE_CHECKING:
    from ulmfit.inference.classifier import Classifier
    from ulmfit.inference.language_model import LanguageModel
    from ulmfit.inference.pair import LanguageModelPair
    from ulmfit.text.corpus import Corpus

    Trained = LanguageModel | LanguageModelPair | Classifier

_PRETRAIN = "`ulmfit pretrain-lm CORPUS --out LM`"
_FINETUNE = "`ulmfit finetune-lm LM CORPUS --out OUT`"
_CLASSIFY = "`ulmfit train-classifier LM CORPUS --out OUT`"
_FIT = "ulmfit fit reviews.csv --out runs/reviews"


def pretrain_lm(argv: Sequence[str]) -> None:
    """Train a language model from random weights."""
    flags = parse(PretrainFlags, "pretrain-lm", argv)
    corpus = _corpus(flags.corpus, _PRETRAIN)
    out = flags.folder(flags.corpus)
    from ulmfit.stages.pretrain_lm import pretrain_lm as train

    _train(partial(train, corpus, out), out, flags)


def finetune_lm(argv: Sequence[str]) -> None:
    """Let a pretrained language model learn the text of a corpus."""
    flags = parse(FinetuneFlags, "finetune-lm", argv)
    _require_lm(flags.lm, _FINETUNE)
    corpus = _corpus(flags.corpus, _FINETUNE)
    out = flags.folder(flags.lm, flags.corpus)
    from ulmfit.stages.finetune_lm import finetune_lm as train

    _train(partial(train, flags.lm, corpus, out), out, flags)


def train_classifier(argv: Sequence[str]) -> None:
    """Turn a fine-tuned language model into a classifier."""
    flags = parse(ClassifierFlags, "train-classifier", argv)
    _require_lm(flags.lm, _CLASSIFY)
    corpus = _corpus(flags.corpus, _CLASSIFY)
    out = flags.folder(flags.lm, flags.corpus)
    from ulmfit.stages.train_classifier import train_classifier as train

    _train(partial(train, flags.lm, corpus, out), out, flags)


def fit(argv: Sequence[str]) -> None:
    """Go through all stages, from texts and labels to a classifier."""
    flags = parse(FitFlags, "fit", argv)
    flags.require_source(_FIT)
    label = flags.label_columns()
    if flags.out is None:
        raise UserError(f"fit: no --out: name the folder of the run, as in `{_FIT}`")
    if label is None:
        raise UserError(
            "fit: --label none leaves nothing to learn; `ulmfit pretrain-lm` needs no labels"
        )
    from ulmfit.recipe import fit as fit_all

    with _shown(flags.out / CLASSIFIER) as progress, threads(flags.threads):
        classifier = fit_all(
            flags.documents(),
            flags.out,
            preset=flags.preset,
            text=flags.text_columns(),
            label=label,
            split=flags.split or None,
            lm=flags.lm or None,
            direction=flags.direction or None,
            seed=flags.seed,
            data_dir=flags.data_dir,
            columns=flags.columns or None,
            progress=progress,
            restart=flags.restart,
            max_minutes=flags.max_minutes,
            **_configs(flags),
        )
    if not flags.json:
        say(_what_next(flags.out))
    print_result(_manifest(classifier) if flags.json else str(classifier))


def _what_next(run: Path) -> str:
    """Say what to do with a finished run: to measure it on the documents that it did not learn from, and to use it."""
    from ulmfit.text.corpus import Corpus
    from ulmfit.text.holdout import with_label

    corpus = Corpus.load(run)
    split = "" if len(with_label(corpus, corpus.rows("test"))) else " --split valid"
    place = shlex.quote(str(run))
    return f"how good is it: `ulmfit evaluate {place}{split}`; answers: `ulmfit predict {place} TEXTS.csv`"


def _configs(flags: FitFlags) -> dict[str, Any]:
    """Give the config of the text, and those of the stages that --set changes."""
    if not flags.set:
        return {"config": flags.config}
    from ulmfit.recipe import first_model, of_preset
    from ulmfit.reproduction.settings import apply_settings, stage_of

    recipe = apply_settings(replace(of_preset(flags.preset), text=flags.config), flags.set)
    names = {"pretrain_lm": "pretrain", "finetune_lm": "finetune", "train_classifier": "classifier"}
    changed = {stage_of(setting) for setting in flags.set} & set(names)
    first = first_model(flags.lm or None, recipe.text, is_pretraining=False)
    left_out, reason = (
        ("finetune_lm", "stage 2 is not run, since a new language model learns from the texts: leave it out, or give --lm en")
        if first is None
        else ("pretrain_lm", f"stage 1 is not run, since the language model is {first}: leave it out, or give --lm none to learn from the texts alone")
    )  # fmt: skip
    for setting in flags.set:
        if stage_of(setting) == left_out:
            raise UserError(f"--set {setting}: {reason}")
    return {"config": recipe.text} | {names[stage]: getattr(recipe, stage) for stage in changed}


def _train(stage: Callable[..., Trained], out: Path, flags: StageFlags) -> None:
    """Call a stage that knows its inputs, and describe what it made."""
    with _shown(out) as progress, threads(flags.threads):
        made = stage(
            config=flags.config,
            progress=progress,
            restart=flags.restart,
            max_minutes=flags.max_minutes,
        )
    print_result(_manifest(made) if flags.json else str(made))


def _require_lm(folder: str, usage: str) -> None:
    """Refuse a call without language model, or with the corpus in its place."""
    if not folder:
        raise UserError(f"no LM: write it before the flags, as in {usage}")
    if kind_of(Path(folder)) == "corpus":
        raise UserError(f"{folder} is a corpus, and LM comes first: {usage}")


def _corpus(folder: str, usage: str) -> Corpus:
    """Open a corpus before anything slow is imported."""
    if not folder:
        raise UserError(f"no CORPUS: write it before the flags, as in {usage}")
    from ulmfit.text.corpus import Corpus

    return Corpus.load(folder)


@contextlib.contextmanager
def _shown(out: Path) -> Generator[StageProgress]:
    """Lend a display, and say at the end whether `out` was written."""
    before, progress = written_at(out), StageProgress()
    try:
        yield progress
    finally:
        progress.close()
    say_written(out, before=before)


@contextlib.contextmanager
def threads(n: int) -> Generator[None]:
    """Let torch have `n` threads for a while; 0 leaves them as they are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _manifest(model: Trained) -> dict[str, Any]:
    """Give the manifest of a model; of a pair those of both directions by name."""
    from ulmfit.inference.pair import LanguageModelPair
    from ulmfit.models.manifest import to_json

    if isinstance(model, LanguageModelPair):
        return {lm.direction: to_json(lm.manifest) for lm in model}
    return to_json(model.manifest)
