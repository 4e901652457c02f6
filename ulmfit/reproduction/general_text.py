"""Stage 1 on a corpus of general text, before an experiment on other texts begins with its language model.

In: an experiment whose `lm` is the folder of a corpus. Out: the same with the language model that learnt from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ulmfit.files import MANIFEST, kind_of
from ulmfit.models.catalogue import PRETRAINED as MODELS
from ulmfit.models.parts import TextPipeline
from ulmfit.progress import duration
from ulmfit.recipe import PRETRAINED
from ulmfit.reproduction.answer import training_seconds
from ulmfit.reproduction.documents import prepared, require_labels
from ulmfit.reproduction.estimate import StageEstimate, of_stage1
from ulmfit.reproduction.plan import Experiment, Training, plan
from ulmfit.stages.pretrain_lm import pretrain_lm
from ulmfit.text.corpus import Corpus
from ulmfit.training.config import PretrainConfig


def is_general_text(asked: Experiment) -> bool:
    """Say whether `lm` is a corpus, from which a language model has yet to learn."""
    lm = asked.begins_from
    return lm not in ("", *MODELS) and kind_of(Path(lm)) == "corpus"


def with_stage1(asked: Experiment, out: Path, how: Mapping[str, Any]) -> Experiment:
    """Let stage 1 learn from the corpus, unless it has, and begin from what it made."""
    stage, general = _stage1(asked), Corpus.load(asked.begins_from)
    if not asked.is_registered:  # what is wrong with its texts can be told before
        corpus = prepared(asked, TextPipeline.of(general), like=f"--preset {asked.preset}")
        require_labels(asked, corpus, plan(asked))
    assert isinstance(stage.config, PretrainConfig)
    pretrain_lm(general, out / stage.folder, config=stage.config, **how)
    return _after(asked, out)


def stage1_left(asked: Experiment, out: Path) -> StageEstimate | Experiment:
    """Measure what stage 1 is going to take; once it has learnt, give the experiment that begins from it."""
    stage = _stage1(asked)
    if (out / stage.folder / MANIFEST).is_file():
        return _after(asked, out)
    return of_stage1(stage, out, corpus=Corpus.load(asked.begins_from))


def said_of_stage1(asked: Experiment, out: Path) -> str:
    """Say what stage 1 learnt from and how long it took, which no run counts."""
    name = Corpus.load(asked.begins_from).manifest.name
    took = duration(training_seconds(out / PRETRAINED))
    return f"Stage 1 learnt from {name} first, in {took}, which the seconds below leave out."


def _stage1(asked: Experiment) -> Training:
    """Lay stage 1 out: one language model for all runs, with the seed of the first."""
    recipe = asked.recipe(seed=asked.runs()[0].seed)
    return Training("pretrain_lm", PRETRAINED, recipe.pretrain_lm)


def _after(asked: Experiment, out: Path) -> Experiment:
    return replace(asked, lm=str(out / PRETRAINED))
