"""Texts and labels -> a classifier: all stages one after the other, in one run folder (Howard & Ruder 2018, figure 1).

The folder holds recipe.json, corpus, 1_pretrain_lm or 2_finetune_lm, and 3_train_classifier. The same call again
skips what is finished, and goes on where it was interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulmfit import __version__
from ulmfit.config import TextConfig
from ulmfit.config import preset as text_preset
from ulmfit.errors import UserError
from ulmfit.files import CLASSIFIER, CORPUS, MANIFEST, atomic_file, write_json
from ulmfit.history import TrainingProgress
from ulmfit.inference.classifier import Classifier
from ulmfit.inference.pair import LanguageModelPair, open_lm
from ulmfit.inference.pair import Source as LM
from ulmfit.models.catalogue import PRETRAINED as PRETRAINED_MODELS
from ulmfit.stages.finetune_lm import finetune_lm
from ulmfit.stages.pretrain_lm import pretrain_lm
from ulmfit.stages.session import shown
from ulmfit.stages.train_classifier import train_classifier
from ulmfit.text.corpus import Corpus
from ulmfit.text.manifest import CorpusManifest
from ulmfit.text.prepare import key_of, prepare
from ulmfit.text.sources import open_source
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.config import FinetuneConfig, PretrainConfig
from ulmfit.training.journal import Listener
from ulmfit.training.presets import CLASSIFIER_PRESETS, FINETUNE_PRESETS, PRETRAIN_PRESETS

if TYPE_CHECKING:
    from ulmfit.text.documents import Source
    from ulmfit.text.sources import Raw

RECIPE, PRETRAINED, FINETUNED = "recipe.json", "1_pretrain_lm", "2_finetune_lm"


def fit(
    source: Raw,
    out: str | Path,
    *,
    preset: str = "laptop",
    text: str | Sequence[str] = "text",
    label: str | Sequence[str] = "label",
    split: str | None = None,
    unlabelled: Raw | None = None,
    lm: LM | str | Path | None = None,
    direction: str | None = None,
    seed: int | None = None,
    config: TextConfig | None = None,
    pretrain: PretrainConfig | None = None,
    finetune: FinetuneConfig | None = None,
    classifier: ClassifierConfig | None = None,
    data_dir: str | Path | None = None,
    columns: Sequence[str] | None = None,
    progress: Listener | None = None,
    restart: bool = False,
    max_minutes: float | None = None,
) -> Classifier:
    """Train a classifier of the texts and labels of `source`, and return it from `out`/3_train_classifier.

    With a language model, given as such, as its folder or by name, stage 2 fine-tunes it on the texts. Where none
    is given, presets whose text is read with the pieces of a pretrained one, as `laptop` and `tiny` do, begin from
    that; `lm="none"`, other pieces or a `pretrain` config of your own leave it out. Then stage 1 learns from the texts
    themselves, those without label included, and stage 2, which would repeat the same texts, is left out; so it is
    for a model that has learnt from them before.

    The preset fills in every config that is not given; `direction` and `seed` go into all of them.
    `unlabelled` texts are a source of their own, beside a `source` without `split`. `restart` trains all
    stages anew, `max_minutes` is for all of them together.
    """
    preset_recipe = of_preset(preset)
    asked = config or preset_recipe.text
    first = first_model(lm, asked, is_pretraining=pretrain is not None)
    known = None if first is None else open_lm(first, data_dir=data_dir)
    recipe = Recipe(
        config_for(known, asked, default=preset_recipe.text),
        pretrain or preset_recipe.pretrain_lm,
        finetune or preset_recipe.finetune_lm,
        classifier or preset_recipe.train_classifier,
    ).shared(direction=direction, seed=seed)
    run = _Run(Path(out), recipe, shown(progress), restart=restart, ends_at=_deadline(max_minutes))
    documents = source if unlabelled is None else _beside(source, unlabelled)
    places: dict[str, Any] = {
        "text": text, "label": label, "split": split, "data_dir": data_dir, "columns": columns,
        "config": recipe.text,
    }  # fmt: skip
    opened = _require_labels(documents, places)
    if not restart:
        run.require_corpus(opened)
    corpus = prepare(documents, run.out / CORPUS, **places, restart=True)
    run.say(corpus.manifest.notices)
    recipe.require_labelled(corpus)
    return run.classifier(run.language_model(known, corpus), corpus)


def first_model(
    lm: LM | str | Path | None, text: TextConfig, *, is_pretraining: bool
) -> LM | str | Path | None:
    """Choose the language model to begin from: the given one, or the one whose pieces the text is read with."""
    if lm is None and not is_pretraining and text.sp_model in PRETRAINED_MODELS:
        return text.sp_model
    return None if lm == "none" else lm


def config_for(lm: LM | None, asked: TextConfig, *, default: TextConfig) -> TextConfig:
    """Let a corpus be read as its language model reads; refuse a tokenizer that was asked for and is another."""
    if lm is None:
        return asked
    config = lm.text_config(asked)
    for name in ("tokenizer", "rules", "lang", "sp_model"):
        wanted, found = getattr(asked, name), getattr(config, name)
        if wanted not in (getattr(default, name), found, None):
            raise UserError(
                f"--{name.replace('_', '-')} is {wanted!r} and the language model {lm.folder} reads with {found!r}: "
                f"leave the flag out (in Python: config=lm.text_config()), or choose another language model"
            )
    if config.tokenizer != asked.tokenizer and asked.max_vocab == default.max_vocab:
        return replace(config, max_vocab=TextConfig.max_vocab)  # the preset's counts other tokens
    return config


@dataclass(frozen=True)
class Recipe:
    """The configs of all stages."""

    text: TextConfig
    pretrain_lm: PretrainConfig
    finetune_lm: FinetuneConfig
    train_classifier: ClassifierConfig

    def shared(self, *, direction: str | None, seed: int | None) -> Recipe:
        """Set in all stages what is given."""
        given = {"direction": direction, "seed": seed}
        changes = {name: value for name, value in given.items() if value is not None}
        return Recipe(
            self.text,
            replace(self.pretrain_lm, **changes),
            replace(self.finetune_lm, **changes),
            replace(self.train_classifier, **changes),
        )

    def portable(self) -> Recipe:
        """Leave out where a file lay; the corpus has its own copy."""
        return replace(self, text=replace(self.text, sp_model=None))

    def require_labelled(self, corpus: Corpus) -> None:
        """Refuse labels that stage 3 could not learn from, before a language model takes its time."""
        config = self.train_classifier
        config.rows(corpus)


def of_preset(name: str) -> Recipe:
    """Give the configs of a preset."""
    text = text_preset(name)  # which refuses a name that no stage knows
    return Recipe(text, PRETRAIN_PRESETS[name], FINETUNE_PRESETS[name], CLASSIFIER_PRESETS[name])


@dataclass(frozen=True)
class _Run:
    """The stages of one run folder, which share a listener and the time that is left."""

    out: Path
    recipe: Recipe
    listener: Listener | None
    restart: bool
    ends_at: float

    def __post_init__(self) -> None:
        if (self.out / MANIFEST).exists():
            raise UserError(
                f"{self.out} is an artefact, and a run is a folder of several: choose another --out"
            )

    def require_corpus(self, texts: Source) -> None:
        """Refuse other texts than those that a stage here has learnt from: they would take the place of these."""
        stages = (PRETRAINED, FINETUNED, CLASSIFIER)
        begun = [n for n in stages if any(self.out.glob(f"{n}*"))]  # n, or n.training
        folder = self.out / CORPUS
        if not begun or not (folder / MANIFEST).is_file():
            return
        if CorpusManifest.load(folder).key != key_of(texts, self.recipe.text):
            raise UserError(
                f"{folder} is another corpus than these texts, and {begun[0]} has learnt from it: choose another "
                "--out, or --restart to train all of it anew with these"
            )

    def say(self, notices: Sequence[str]) -> None:
        """Tell the listener what was noticed."""
        if self.listener is not None:
            for notice in notices:
                self.listener(TrainingProgress.saying(notice, stage="prepare", direction=""))

    def language_model(self, lm: LM | None, corpus: Corpus) -> LM:
        """Bring a language model to the corpus by the one stage that it takes, if any."""
        if lm is None:
            config = self.recipe.pretrain_lm
            return pretrain_lm(corpus, self.out / PRETRAINED, config=config, **self._how())
        if has_learnt(lm, corpus):
            return lm
        config = self.recipe.finetune_lm
        return finetune_lm(lm, corpus, self.out / FINETUNED, config=config, **self._how())

    def classifier(self, lm: LM, corpus: Corpus) -> Classifier:
        """Train the classifier, and write down how all of it was made."""
        config = self.recipe.train_classifier
        made = train_classifier(lm, corpus, self.out / CLASSIFIER, config=config, **self._how())
        with atomic_file(self.out / RECIPE) as part:
            write_json(part, {"ulmfit": __version__, **asdict(self.recipe.portable())})
        return made

    def _how(self) -> dict[str, Any]:
        left = self.ends_at - time.monotonic()
        return {
            "progress": self.listener,
            "restart": self.restart,
            # A stage that is finished needs no time; any other saves its first step, and stops.
            "max_minutes": None if left == math.inf else max(left, 1e-3) / 60,
        }


def _deadline(max_minutes: float | None) -> float:
    """Say when the time is over."""
    if max_minutes is not None and not max_minutes > 0:
        raise UserError(f"--max-minutes is {max_minutes}; allowed: above 0")
    return math.inf if max_minutes is None else time.monotonic() + 60 * max_minutes


def _beside(source: Raw, unlabelled: Raw) -> Raw:
    """Put texts without label beside those of the source, which may have such, too."""
    labelled = source if isinstance(source, Mapping) else {"train": source}
    name = "unlabelled" if "unsup" in labelled else "unsup"  # two names of one split
    return {**labelled, name: unlabelled}


def _require_labels(documents: Raw, places: dict[str, Any]) -> Source:
    """Open texts, and refuse those without labels, before they are read."""
    opened = open_source(documents, **places)
    notices: list[str] = []
    for part in opened.parts:
        part.check(notices)
    if opened.label_kind == "none":
        found = notices[0] if notices else f"{opened.name} has no labels"
        raise UserError(
            f"{found}; a classifier learns from labels: name their column with label=, or --label"
        )
    return opened


def has_learnt(lm: LM, corpus: Corpus) -> bool:
    """Say whether a language model was trained on this very corpus."""
    models = tuple(lm) if isinstance(lm, LanguageModelPair) else (lm,)
    return all(_has_learnt(model.manifest.provenance.config, corpus) for model in models)


def _has_learnt(made: Mapping[str, Any], corpus: Corpus) -> bool:
    """Read off how a model was made; one that was carried over has read nothing, one of a few labels not all."""
    settings = made.get("config")
    n_labels = settings.get("n_labels") if isinstance(settings, Mapping) else None
    return (
        made.get("corpus") == corpus.fingerprint
        and made.get("stage") != "carry_over"
        and n_labels is None
    )
