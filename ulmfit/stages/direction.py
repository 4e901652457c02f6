"""One direction of a language model, from what it begins with to its folder; and both as one folder."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from numbers import Real
from pathlib import Path

from ulmfit.config import require
from ulmfit.errors import UserError
from ulmfit.files import MANIFEST
from ulmfit.history import STEPS, TrainingProgress, plot_history, steps_csv
from ulmfit.inference.language_model import LanguageModel
from ulmfit.inference.pair import LanguageModelPair, Source
from ulmfit.models.artefact import LanguageModelParts, TextPipeline, save_language_model
from ulmfit.models.catalogue import is_packaged
from ulmfit.models.manifest import Provenance
from ulmfit.models.pair import save_language_model_pair
from ulmfit.text.corpus import Corpus
from ulmfit.training.alone import alone
from ulmfit.training.config import StageConfig
from ulmfit.training.distributed import joined, wait, world
from ulmfit.training.fit import Trained, train
from ulmfit.training.journal import Listener
from ulmfit.training.lm_learner import LMConfig, LMLearner, lm_learner, start
from ulmfit.training.run import open_run, settings_of
from ulmfit.training.side_by_side import Job, is_worth_it, train_side_by_side


@dataclass(frozen=True)
class Session:
    """How a stage is run, which changes nothing of what comes out."""

    stage: str
    listener: Listener | None
    restart: bool
    max_minutes: float | None
    began_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        minutes = self.max_minutes
        is_allowed = minutes is None or (isinstance(minutes, Real) and minutes > 0)
        require(is_allowed, "max_minutes", minutes, "above 0, as a number")

    def minutes_left(self) -> float | None:
        """Say how much of `max_minutes` is left: two directions share it."""
        if self.max_minutes is None:
            return None
        return max(1e-3, self.max_minutes - (time.monotonic() - self.began_at) / 60)

    def going_on(self) -> Session:
        """Give the session of a part: what the whole had to forget is forgotten already."""
        return replace(self, restart=False)

    def say(self, notice: str | None, direction: str) -> None:
        """Pass a notice on to the listener."""
        if notice and self.listener and world().is_first:
            self.listener(TrainingProgress.saying(notice, stage=self.stage, direction=direction))


def resolve_direction(lm: Source, asked: str) -> str:
    """Find out in which direction to train; of the models of this package, forward unless more is asked for.

    They have both at hand, and one takes half the time of two.
    """
    if asked == "auto" and is_packaged(lm.folder):
        return "forward"
    has = "both" if isinstance(lm, LanguageModelPair) else lm.direction
    if asked in ("auto", has) or has == "both":
        return has if asked == "auto" else asked
    raise UserError(
        f"--direction is {asked} and {lm.folder} is a {has} language model: leave the flag out, or "
        f"give a model pretrained with --direction {asked}"
    )


def train_direction(
    corpus: Corpus,
    lm: LanguageModelParts | None,
    out: Path,
    *,
    config: LMConfig,
    session: Session,
) -> LanguageModel:
    """Train one direction from random weights or those of `lm`, and write its folder."""
    parent = lm.fingerprint if lm else ""
    settings = settings_of(session.stage, corpus, parent, asdict(config))
    with joined(), alone(), open_run(out, settings=settings, restart=session.restart) as run:
        if run.is_finished:
            return LanguageModel.load(out)
        begin = start(corpus, lm, config=config)
        learn = lm_learner(corpus, begin, config=config)
        moved = f"transplant: {begin.report}" if begin.report else ""
        if begin.report and begin.report.kept_share < 1:
            session.say(moved, config.direction)
        for notice in (learn.rows.notice, *(loader.dataset.notice for loader in learn.dls)):
            session.say(notice, config.direction)
        trained = train(
            learn,
            run,
            stage=session.stage,
            listener=session.listener,
            max_minutes=session.minutes_left(),
            measures_before=lm is not None,
        )
        if world().is_first:
            provenance = Provenance(
                origin=_origin(session.stage, corpus, lm),
                direction=config.direction,
                seed=config.seed,
                protocol=learn.protocol,
                metrics=_metrics(trained),
                config=settings,
                parent=parent or corpus.fingerprint,
                notes=tuple(filter(None, (learn.rows.notice, moved))),
            )
            _write(out, learn, trained, provenance)
        wait()
    return LanguageModel.load(out)


def both(
    train: Callable[[str, Path, Session], LanguageModel],
    out: str | Path,
    *,
    corpus: Corpus,
    lm: LanguageModelPair | None,
    config: LMConfig,
    session: Session,
) -> LanguageModelPair:
    """Train both directions, and put them into one folder."""
    parent = lm.fingerprint if lm else ""
    settings = settings_of(session.stage, corpus, parent, asdict(config))
    with joined(), open_run(out, settings=settings, restart=session.restart) as run:
        if not run.is_finished:
            folders = {name: run.folder / name for name in ("forward", "backward")}
            beforehand(folders, corpus, lm=lm, config=config, session=session)
            for direction, folder in folders.items():
                train(direction, folder, session.going_on())
            if world().is_first:
                save_language_model_pair(out, **folders, settings=settings)
            wait()
    return LanguageModelPair.load(out)


def beforehand(
    folders: Mapping[str, Path],
    corpus: Corpus,
    *,
    lm: LanguageModelPair | None,
    config: StageConfig,
    session: Session,
) -> None:
    """Train directions side by side where that is faster; whoever trains them next finds them finished.

    One that is left of two takes a process as well: with all threads it would end with other bits.
    Without a listener fastai draws its own progress, which another process could not.
    """
    left = {name: out for name, out in folders.items() if not (out / MANIFEST).is_file()}
    if session.listener is None or not left or not is_worth_it(corpus):
        return
    jobs = [
        Job.of(
            session.stage,
            lm.folder if lm else None,
            corpus,
            folder,
            config=replace(config, direction=name),
            max_minutes=session.minutes_left(),
        )
        for name, folder in left.items()
    ]
    train_side_by_side(jobs, session.listener)


def _write(out: Path, learn: LMLearner, trained: Trained, provenance: Provenance) -> None:
    """Write the folder: weights, the pipeline to the text, and how it was learnt."""
    save_language_model(
        out,
        learn.model.state_dict(),
        arch=learn.model.arch,
        vocab=learn.corpus.vocab,
        text=TextPipeline.of(learn.corpus),
        provenance=provenance,
        history=[asdict(row) for row in trained.epochs],
        files=history_files(trained, provenance),
    )


def history_files(trained: Trained, provenance: Provenance) -> dict[str, bytes]:
    """Draw what a training's folder shows of how it was learnt."""
    title = f"{provenance.origin.split(', from')[0]}, {provenance.direction}"
    figure, picture = plot_history(trained.epochs, trained.steps, title=title), BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return {"history.png": picture.getvalue(), STEPS: steps_csv(trained.steps).encode()}


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
