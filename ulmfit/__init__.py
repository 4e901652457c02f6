"""ULMFiT: a language model, fine-tuned on your texts, becomes a classifier of them.

The public names below are imported when they are first used, so that `import ulmfit` itself costs nothing.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ulmfit import exercises
    from ulmfit.config import PRESETS, TextConfig
    from ulmfit.errors import UserError
    from ulmfit.estimator import ULMFiTClassifier
    from ulmfit.evaluation.evaluate import evaluate
    from ulmfit.evaluation.folder import read_evaluation, write_evaluation
    from ulmfit.inference.classifier import Classifier
    from ulmfit.inference.language_model import LanguageModel
    from ulmfit.inference.pair import LanguageModelPair
    from ulmfit.recipe import fit
    from ulmfit.reproduction.plan import Experiment
    from ulmfit.reproduction.reproduce import reproduce
    from ulmfit.run_folder import RunFolder
    from ulmfit.stages.finetune_lm import finetune_lm
    from ulmfit.stages.pretrain_lm import pretrain_lm
    from ulmfit.stages.train_classifier import train_classifier
    from ulmfit.text.batches import classifier_dataloaders, lm_dataloaders
    from ulmfit.text.check import check
    from ulmfit.text.corpus import Corpus
    from ulmfit.text.prepare import prepare
    from ulmfit.text.tokenizers import build_tokenizer
    from ulmfit.text.vocab import Vocab
    from ulmfit.training.classifier_config import ClassifierConfig
    from ulmfit.training.classifier_learner import text_classifier_learner
    from ulmfit.training.config import FinetuneConfig, PretrainConfig
    from ulmfit.training.lm_learner import language_model_learner
    from ulmfit.training.measure import evaluate_lm

__version__ = "0.1.0"
__all__ = [
    "PRESETS",
    "Classifier",
    "ClassifierConfig",
    "Corpus",
    "Experiment",
    "FinetuneConfig",
    "LanguageModel",
    "LanguageModelPair",
    "PretrainConfig",
    "TextConfig",
    "ULMFiTClassifier",
    "UserError",
    "Vocab",
    "build_tokenizer",
    "check",
    "classifier_dataloaders",
    "evaluate",
    "evaluate_lm",
    "exercises",
    "finetune_lm",
    "fit",
    "language_model_learner",
    "lm_dataloaders",
    "load",
    "load_pretrained",
    "prepare",
    "pretrain_lm",
    "read_evaluation",
    "reproduce",
    "text_classifier_learner",
    "train_classifier",
    "write_evaluation",
]

_HOMES = {
    "PRESETS": "ulmfit.config",
    "TextConfig": "ulmfit.config",
    "PretrainConfig": "ulmfit.training.config",
    "FinetuneConfig": "ulmfit.training.config",
    "ClassifierConfig": "ulmfit.training.classifier_config",
    "UserError": "ulmfit.errors",
    "LanguageModel": "ulmfit.inference.language_model",
    "LanguageModelPair": "ulmfit.inference.pair",
    "load_pretrained": "ulmfit.inference.pair",
    "Classifier": "ulmfit.inference.classifier",
    "Corpus": "ulmfit.text.corpus",
    "Vocab": "ulmfit.text.vocab",
    "build_tokenizer": "ulmfit.text.tokenizers",
    "check": "ulmfit.text.check",
    "classifier_dataloaders": "ulmfit.text.batches",
    "finetune_lm": "ulmfit.stages.finetune_lm",
    "fit": "ulmfit.recipe",
    "Experiment": "ulmfit.reproduction.plan",
    "reproduce": "ulmfit.reproduction.reproduce",
    "ULMFiTClassifier": "ulmfit.estimator",
    "pretrain_lm": "ulmfit.stages.pretrain_lm",
    "text_classifier_learner": "ulmfit.training.classifier_learner",
    "train_classifier": "ulmfit.stages.train_classifier",
    "language_model_learner": "ulmfit.training.lm_learner",
    "evaluate": "ulmfit.evaluation.evaluate",
    "read_evaluation": "ulmfit.evaluation.folder",
    "write_evaluation": "ulmfit.evaluation.folder",
    "evaluate_lm": "ulmfit.training.measure",
    "exercises": "ulmfit.exercises",
    "lm_dataloaders": "ulmfit.text.batches",
    "prepare": "ulmfit.text.prepare",
}

# The kind in an artefact's manifest, and the public class that loads it.
KINDS = {
    "corpus": "Corpus",
    "language_model": "LanguageModel",
    "language_model_pair": "LanguageModelPair",
    "classifier": "Classifier",
}


def __getattr__(name: str) -> Any:
    """Import a public name on its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(_HOMES[name])
    value = home if home.__name__ == f"{__name__}.{name}" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load(folder: str | Path) -> Corpus | LanguageModel | LanguageModelPair | Classifier | RunFolder:
    """Load any artefact folder; its manifest says what it is. Of a run's folder, show what is finished in it."""
    from ulmfit.errors import UserError
    from ulmfit.files import MANIFEST, kind_of
    from ulmfit.run_folder import RunFolder

    manifest = Path(folder) / MANIFEST
    if not manifest.is_file():
        if (run := RunFolder.look(folder)).steps:
            return run
        raise UserError(f"{folder} is not an artefact folder of ulmfit: it has no {MANIFEST}")
    if (kind := kind_of(Path(folder))) not in KINDS:
        raise UserError(f"{manifest} says kind {kind!r}; this version loads: {', '.join(KINDS)}")
    return __getattr__(KINDS[kind]).load(folder)
