"""What stages 1 and 2 leave behind: the folder of one direction, with its history and how it was learnt."""

from __future__ import annotations

import math
from io import BytesIO

from ulmfit.history import HISTORY, STEPS, history_csv, plot_history, steps_csv
from ulmfit.models.artefact import LanguageModelParts, TextPipeline, save_language_model
from ulmfit.models.manifest import Provenance
from ulmfit.text.corpus import Corpus
from ulmfit.training.fit import Trained
from ulmfit.training.lm_learner import LMLearner
from ulmfit.training.run import Run


def write_language_model(
    run: Run, learn: LMLearner, trained: Trained, lm: LanguageModelParts | None, *, moved: str
) -> None:
    """Write the weights, the pipeline to the text, and how they were learnt; `moved` tells of a change of vocabulary."""
    corpus, config = learn.corpus, learn.config
    provenance = Provenance(
        origin=_origin(str(run.settings["stage"]), corpus, lm),
        direction=config.direction,
        seed=config.seed,
        protocol=learn.protocol,
        metrics=_metrics(trained),
        config=run.settings,
        parent=str(run.settings["parent"]) or corpus.fingerprint,
        notes=tuple(filter(None, (learn.rows.notice, moved))),
    )
    save_language_model(
        run.out,
        learn.model.state_dict(),
        arch=learn.model.arch,
        vocab=corpus.vocab,
        text=TextPipeline.of(corpus),
        provenance=provenance,
        files=history_files(trained, provenance),
    )


def history_files(trained: Trained, provenance: Provenance) -> dict[str, bytes]:
    """Give what a training's folder shows of how it was learnt, by the names of the files."""
    title = f"{provenance.origin.split(', from')[0]}, {provenance.direction}"
    figure, picture = plot_history(trained.epochs, trained.steps, title=title), BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return {
        HISTORY: history_csv(trained.epochs).encode(),
        STEPS: steps_csv(trained.steps).encode(),
        "history.png": picture.getvalue(),
    }


def _metrics(trained: Trained) -> dict[str, float]:
    """Take what is said about the model from its epoch; a figure that nobody could measure is left out."""
    names = ("valid_loss", "accuracy", "perplexity", "bits_per_character")
    before = math.nan if trained.before is None else trained.before
    found = {"valid_loss_before": before} | {n: getattr(trained.best, n) for n in names}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _origin(stage: str, corpus: Corpus, lm: LanguageModelParts | None) -> str:
    """Say in words where the weights come from."""
    if lm is None:
        return f"{stage} on {corpus.manifest.name}"
    return f"{stage} on {corpus.manifest.name}, from {lm.manifest.provenance.origin}"
