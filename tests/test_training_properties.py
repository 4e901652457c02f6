"""Laws of a training, whatever its settings: killed anywhere it leaves the same folder, and nothing that is no number."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fastai.callback.core import Callback

import ulmfit
from ulmfit.errors import Diverged, Stopped
from ulmfit.models.arch import ArchConfig
from ulmfit.text.corpus import Corpus
from ulmfit.training.config import FinetuneConfig, PretrainConfig
from ulmfit.training.lm_learner import LMLearner, language_model_learner

pytestmark = pytest.mark.usefixtures("calm")

ARCH = ArchConfig(emb_sz=8, n_hid=12, n_layers=2)
PRETRAIN = PretrainConfig(bs=4, seq_len=8, epochs=2, lr=1e-2, schedule="one_cycle", arch=ARCH)
MEASURED = ("seconds", "tokens_per_second")  # by the clock, so never the same twice


class Killed(BaseException):
    """As sudden as a kill, in the same process."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    texts = [" ".join(f"word{i * k % 30}" for k in range(20)) for i in range(1, 15)]
    out = tmp_path_factory.mktemp("properties") / "corpus"
    return ulmfit.prepare(texts, out, config=ulmfit.TextConfig(min_freq=1))


@pytest.fixture(scope="module")
def lm(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> ulmfit.LanguageModel:
    out = tmp_path_factory.mktemp("stage1") / "lm"
    return ulmfit.pretrain_lm(corpus, out, config=replace(PRETRAIN, epochs=1), progress=silent)


def silent(_: object) -> None:
    """Listen to a stage without a word."""


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in MEASURED} for row in csv.DictReader(file)]


def assert_same(one: ulmfit.LanguageModel, other: ulmfit.LanguageModel) -> None:
    for name, tensor in one.parts.weights.items():
        assert torch.equal(tensor, other.parts.weights[name]), name
    assert history(one.folder) == history(other.folder)
    assert (one.folder / "steps.csv").read_text() == (other.folder / "steps.csv").read_text()
    assert one.manifest.provenance.metrics == other.manifest.provenance.metrics


def killer(
    monkeypatch: pytest.MonkeyPatch, when: int
) -> tuple[Callable[[object], None], list[str]]:
    """Die at event number `when`: a report, or a file of the training before or after it is written."""
    seen: list[str] = []

    def pass_by(event: str) -> None:
        seen.append(event)
        if len(seen) == when:
            raise Killed(event)

    def watched(write: Callable[..., None]) -> Callable[..., None]:
        def writing(path: Path, content: object) -> None:
            pass_by(f"before {path.name}")
            write(path, content)
            pass_by(f"after {path.name}")

        return writing

    for place in ("resume.save_checkpoint", "journal.write_history"):
        module, name = place.split(".")
        target = f"ulmfit.training.{module}"
        original = getattr(__import__(target, fromlist=[name]), name)
        monkeypatch.setattr(f"{target}.{name}", watched(original))
    return lambda _: pass_by("report"), seen


@pytest.mark.slow
@pytest.mark.parametrize(("minutes", "patience"), [(0.0, 1), (0.0, None), (10.0, 0)])
def test_killed_at_any_event_it_leaves_the_same_folder(
    lm: ulmfit.LanguageModel, corpus: Corpus, tmp_path: Path, minutes: float, patience: int | None
) -> None:
    """With checkpoints after every step, or at the end of epochs only; with phases, jitter, accumulation and early stopping."""
    config = FinetuneConfig(
        bs=4, seq_len=8, epochs=2, frozen_epochs=1, frozen_lr=0.2, lr=0.2, clip=None, schedule="flat",
        patience=patience, accumulate=3, label_smoothing=0.1, wd=0.01, decoupled_wd=True,
    )  # fmt: skip

    def tune(out: str, when: int) -> tuple[ulmfit.LanguageModel | None, list[str]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ulmfit.training.resume.MINUTES", minutes)
            listen, seen = killer(patch, when)
            try:
                tuned = ulmfit.finetune_lm(
                    lm, corpus, tmp_path / out, config=config, progress=listen
                )
            except Killed:
                return None, seen
            return tuned, seen

    whole, events = tune("whole", 0)
    assert whole is not None
    assert "after checkpoint.safetensors" in events
    # Every event around a file, and some of the many between.
    moments = [i for i, e in enumerate(events, 1) if e != "report" or i % 7 == 0]
    for when in moments[:: 1 + len(moments) // 16]:
        assert tune(f"cut{when}", when)[0] is None
        torch.manual_seed(when)
        resumed, _ = tune(f"cut{when}", 0)
        assert resumed is not None
        assert_same(whole, resumed)


def test_stopped_in_a_validation_it_leaves_the_same_folder(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pass was complete: no batch is left that could set the rate which the epoch's row names."""
    whole = ulmfit.pretrain_lm(corpus, tmp_path / "whole", config=PRETRAIN, progress=silent)
    learners: list[LMLearner] = []
    with monkeypatch.context() as patch:
        patch.setattr(
            "ulmfit.training.fit.Interrupts.reason",
            lambda _: "" if learners[0].training else "SIGTERM",
        )
        build = LMLearner.build.__func__

        def remember(cls: type[LMLearner], *args: object, **options: object) -> LMLearner:
            learners.append(build(cls, *args, **options))
            return learners[-1]

        patch.setattr(LMLearner, "build", classmethod(remember))
        with pytest.raises(Stopped, match="SIGTERM"):
            ulmfit.pretrain_lm(corpus, tmp_path / "cut", config=PRETRAIN, progress=silent)
    assert_same(
        whole, ulmfit.pretrain_lm(corpus, tmp_path / "cut", config=PRETRAIN, progress=silent)
    )


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_last_step_that_breaks_the_weights_is_no_result(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    """No batch comes after it whose loss could tell; neither a model nor a checkpoint may be made of it."""

    class Break(Callback):
        order = 3

        def before_step(self) -> None:
            if self.learn.dls.train.state().batch == self.learn.n_iter:
                next(self.learn.model.parameters()).grad.fill_(float("nan"))

    build = LMLearner.build.__func__
    monkeypatch.setattr(
        LMLearner,
        "build",
        classmethod(lambda cls, *args, **options: build(cls, *args, **options).add_cb(Break())),
    )
    config = replace(PRETRAIN, epochs=epochs)
    with pytest.raises(Diverged, match="lower"):
        ulmfit.pretrain_lm(corpus, tmp_path / "lm", config=config, progress=silent)
    assert not (tmp_path / "lm").exists()
    assert not (tmp_path / "lm.training" / "checkpoint.safetensors").exists()


def test_training_again_after_an_interruption_is_training_anew(
    lm: ulmfit.LanguageModel, corpus: Corpus
) -> None:
    """In a notebook: Ctrl-C between two steps, and `fit_phases` once more from the weights as they are."""
    config = FinetuneConfig(
        bs=4, seq_len=8, epochs=1, frozen_epochs=1, frozen_lr=5e-3, lr=5e-3, accumulate=3
    )

    class Interrupt(Callback):
        order = 100

        def after_batch(self) -> None:
            if self.training and self.learn.dls.train.state().batch == 5:
                raise KeyboardInterrupt

    def learner() -> LMLearner:
        learn = language_model_learner(corpus, lm, config=config)
        return learn.remove_cbs([cb for cb in learn.cbs if cb.name == "progress"])

    broken, fresh, interrupt = learner(), learner(), Interrupt()
    with broken.no_logging(), fresh.no_logging():
        broken.add_cb(interrupt)
        with pytest.raises(KeyboardInterrupt):
            broken.fit_phases()
        broken.remove_cb(interrupt)
        fresh.model.load_state_dict(broken.model.state_dict())
        for learn in (broken, fresh):
            torch.manual_seed(1)
            learn.fit_phases()
    for one, other in zip(broken.model.parameters(), fresh.model.parameters()):
        assert torch.equal(one, other)
