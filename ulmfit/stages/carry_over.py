"""Instead of stage 2: a language model enters the vocabulary of a corpus and learns nothing (table 6, no LM fine-tuning)."""

from __future__ import annotations

from pathlib import Path

from ulmfit.inference.language_model import LanguageModel
from ulmfit.inference.pair import LanguageModelPair, Source, open_lm
from ulmfit.models.artefact import TextPipeline, carried_to, save_language_model
from ulmfit.models.manifest import Provenance
from ulmfit.models.pair import save_language_model_pair
from ulmfit.stages.direction import resolve_direction
from ulmfit.text.corpus import Corpus
from ulmfit.training.config import least_clean
from ulmfit.training.run import Settings, open_run, settings_of

STAGE = "carry_over"


def carry_over(
    lm: Source | str | Path,
    corpus: Corpus | str | Path,
    out: str | Path,
    *,
    direction: str = "auto",
    restart: bool = False,
) -> Source:
    """Write a language model over the corpus's vocabulary: known tokens keep their rows, new ones get the mean."""
    lm = open_lm(lm)
    corpus = corpus if isinstance(corpus, Corpus) else Corpus.load(corpus)
    direction = resolve_direction(lm, direction)
    if direction == "both" and isinstance(lm, LanguageModelPair):
        return _both(lm, corpus, Path(out), restart=restart)
    one = getattr(lm, direction) if isinstance(lm, LanguageModelPair) else lm
    return _one(one, corpus, Path(out), restart=restart)


def _both(lm: LanguageModelPair, corpus: Corpus, out: Path, *, restart: bool) -> LanguageModelPair:
    settings = _settings(corpus, lm.fingerprint, "both")
    with open_run(out, settings=settings, restart=restart) as run:
        if not run.is_finished:
            folders = {one.direction: run.folder / one.direction for one in lm}
            for one in lm:
                _one(one, corpus, folders[one.direction], restart=restart)
            save_language_model_pair(
                out, forward=folders["forward"], backward=folders["backward"], settings=settings
            )
    return LanguageModelPair.load(out)


def _one(lm: LanguageModel, corpus: Corpus, out: Path, *, restart: bool) -> LanguageModel:
    settings = _settings(corpus, lm.parts.fingerprint, lm.direction)
    with open_run(out, settings=settings, restart=restart) as run:
        if not run.is_finished:
            moved = carried_to(corpus, lm.parts)
            origin = lm.parts.manifest.provenance.origin
            provenance = Provenance(
                origin=f"{STAGE} to {corpus.manifest.name}, from {origin}",
                direction=lm.direction,
                protocol=least_clean(corpus.protocol, lm.parts.manifest.provenance.protocol),
                config=settings,
                parent=lm.parts.fingerprint,
                notes=(f"transplant: {moved.report}",),
            )
            save_language_model(
                out,
                moved.weights,
                arch=lm.parts.arch,
                vocab=corpus.vocab,
                text=TextPipeline.of(corpus),
                provenance=provenance,
            )
    return LanguageModel.load(out)


def _settings(corpus: Corpus, parent: str, direction: str) -> Settings:
    return settings_of(STAGE, corpus, parent, {"direction": direction})
