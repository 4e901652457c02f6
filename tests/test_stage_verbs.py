"""The verbs of the stages: what reaches the stage, what is shown meanwhile, what is said at the end, and every mistake before it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_lm import write_tiny_lm

from ulmfit import cli
from ulmfit.config import PRESETS
from ulmfit.errors import Stopped, UserError
from ulmfit.history import EpochRow, TrainingProgress
from ulmfit.inference.language_model import LanguageModel
from ulmfit.inference.pair import LanguageModelPair
from ulmfit.models.artefact import LanguageModelParts
from ulmfit.models.pair import save_language_model_pair
from ulmfit.progress import StageProgress
from ulmfit.text.corpus import Corpus
from ulmfit.training.presets import FINETUNE_PRESETS, PRETRAIN_PRESETS

ROOT = Path(__file__).resolve().parents[1]
Capture = pytest.CaptureFixture[str]
ROW = EpochRow(
    epoch=2, phase=1, lr=0.01, train_loss=4.5, valid_loss=4.25, accuracy=0.2875, perplexity=70.1,
    bits_per_character=1.5, tokens=100_000, tokens_per_second=5210.4, seconds=90.0,
)  # fmt: skip
STEP = TrainingProgress(
    stage="finetune_lm", direction="forward", epoch=2, n_epochs=4, batch=123, n_batches=567,
    loss=4.321, tokens_per_second=5210.4, seconds_left=720.0, epoch_row=None,
)  # fmt: skip


@dataclass
class StandIn:
    """A stage that trains nothing, but remembers how it was called and writes a model."""

    corpus: Corpus
    has_pair: bool = False
    calls: list[SimpleNamespace] = field(default_factory=list)

    def pretrain_lm(self, corpus: Any, out: Path, **settings: Any) -> Any:
        return self._run(None, corpus, out, settings)

    def finetune_lm(self, lm: Any, corpus: Any, out: Path, **settings: Any) -> Any:
        return self._run(lm, corpus, out, settings)

    def _run(self, lm: Any, corpus: Any, out: Path, settings: dict[str, Any]) -> Any:
        n_threads = torch.get_num_threads()
        self.calls.append(
            SimpleNamespace(lm=lm, corpus=corpus, out=out, n_threads=n_threads, **settings)
        )
        for progress in (replace(STEP, notice="mind the gap"), STEP, replace(STEP, epoch_row=ROW)):
            settings["progress"](progress)
        if not (out / "manifest.json").exists():
            write_tiny_lm(out, self.corpus)
        model = LanguageModel.load(out)
        if not self.has_pair:
            return model
        backward = write_tiny_lm(out.with_name("bwd"), self.corpus, direction="backward")
        pair = out.with_name("pair")
        save_language_model_pair(pair, forward=out, backward=backward.folder, settings={})
        return LanguageModelPair.load(pair)


@pytest.fixture
def stage(demo_corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn(demo_corpus)
    for name in ("pretrain_lm", "finetune_lm"):
        monkeypatch.setitem(sys.modules, f"ulmfit.stages.{name}", stand_in)
    return stand_in


@pytest.fixture(scope="module")
def lm(demo_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> LanguageModelParts:
    return write_tiny_lm(tmp_path_factory.mktemp("lm") / "lm", demo_corpus)


# --- what reaches the stage


def test_pretrain_lm_passes_everything_on(stage: StandIn, tmp_path: Path) -> None:
    corpus, out = str(stage.corpus.folder), tmp_path / "lm"
    argv = ["pretrain-lm", corpus, "--out", str(out), "--preset", "tiny", "--n-hid", "48"]
    before = torch.get_num_threads()
    more = ["--restart", "--max-minutes", "1.5", "--threads", "3", "--clip", "none"]
    assert cli.main([*argv, *more]) == 0
    (call,) = stage.calls
    tiny = PRETRAIN_PRESETS["tiny"]
    assert call.config == replace(tiny, clip=None, arch=replace(tiny.arch, n_hid=48))
    assert (call.corpus.fingerprint, call.out) == (stage.corpus.fingerprint, out)
    assert (call.restart, call.max_minutes, call.n_threads) == (True, 1.5, 3)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("named", [True, False])
def test_finetune_lm_passes_a_folder_or_a_name_on(
    stage: StandIn, lm: LanguageModelParts, named: bool, tmp_path: Path
) -> None:
    source = "wt103-fwd" if named else str(lm.folder)
    argv = ["finetune-lm", source, str(stage.corpus.folder), "--out", str(tmp_path / "out")]
    before = torch.get_num_threads()
    assert cli.main(argv) == 0
    (call,) = stage.calls
    assert (call.lm, call.config) == (source, FINETUNE_PRESETS["laptop"])
    assert (call.restart, call.max_minutes, call.n_threads) == (False, None, before)


# --- what is said


def test_the_model_goes_to_stdout_and_the_rest_to_stderr(
    stage: StandIn, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "lm"
    argv = ["pretrain-lm", str(stage.corpus.folder), "--out", str(out)]
    assert cli.main(argv) == 0
    said = capsys.readouterr()
    assert said.out == f"{LanguageModel.load(out)}\n"
    assert said.err.splitlines() == [
        "mind the gap",
        "finetune-lm forward: epoch 2/4, train loss 4.500, valid loss 4.250, perplexity 70.1, "
        "accuracy 0.2875, 5,210 tokens/s, 1.5 min",
        f"wrote {out}",
    ]
    assert cli.main([*argv, "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == json.loads((out / "manifest.json").read_text())
    assert said.err.endswith(f"up to date: {out}\n")


def test_json_of_both_directions(stage: StandIn, tmp_path: Path, capsys: Capture) -> None:
    stage.has_pair = True
    argv = ["pretrain-lm", str(stage.corpus.folder), "--out", str(tmp_path / "lm"), "--json"]
    assert cli.main(argv) == 0
    said = json.loads(capsys.readouterr().out)
    assert [said[name]["direction"] for name in said] == ["forward", "backward"] == list(said)


@pytest.mark.parametrize("error", [UserError("no"), KeyboardInterrupt(), ZeroDivisionError()])
def test_threads_are_given_back_whatever_happens(
    error: BaseException, stage: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: Any, **settings: Any) -> None:
        assert torch.get_num_threads() == before + 1
        raise error

    monkeypatch.setattr(stage, "pretrain_lm", fail)
    before = torch.get_num_threads()
    argv = ["pretrain-lm", str(stage.corpus.folder), "--out", str(tmp_path / "lm")]
    argv += ["--threads", str(before + 1)]
    if isinstance(error, ZeroDivisionError):
        with pytest.raises(ZeroDivisionError):
            cli.main(argv)
    else:
        assert cli.main(argv) == (2 if isinstance(error, UserError) else 130)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("reason", "code"), [("Ctrl-C", 130), ("SIGTERM", 143), ("--max-minutes", 3)]
)
def test_a_training_that_was_stopped_says_so_in_a_line_and_has_its_exit_code(
    reason: str,
    code: int,
    stage: StandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    def stop(*given: Any, **settings: Any) -> None:
        raise Stopped(f"stopped ({reason}) in epoch 1", reason=reason)

    monkeypatch.setattr(stage, "pretrain_lm", stop)
    argv = ["pretrain-lm", str(stage.corpus.folder), "--out", str(tmp_path / "lm")]
    assert cli.main(argv) == code
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"ulmfit: stopped ({reason}) in epoch 1\n")


# --- what is the user's mistake


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("pretrain-lm", "no CORPUS: write it before the flags"),
        ("pretrain-lm --out o", "no CORPUS"),
        ("pretrain-lm nowhere --out o", "nowhere is not a folder: prepare it again"),
        ("pretrain-lm {empty} --out o", "is not a whole artefact folder"),
        ("pretrain-lm {lm} --out o", "holds a language_model, not a corpus"),
        ("pretrain-lm {corpus}", "no --out: name the folder to write"),
        ("pretrain-lm {corpus} --out", "--out"),
        ("pretrain-lm {corpus} --out {corpus}", "is what is read: choose another folder"),
        ("pretrain-lm {corpus} {corpus} --out o", "is one argument too many"),
        ("pretrain-lm {corpus} --out o --bs 0", "--bs is 0; allowed: 1 or more"),
        ("pretrain-lm {corpus} --out o --n-hidden 9", "did you mean '--n-hid'?"),
        ("pretrain-lm {corpus} --out o --n-hid 0", "--n-hid is 0; allowed: 1 or more"),
        ("pretrain-lm {corpus} --out o --drop-mult 9", "--input-p 0.25 times --drop-mult 9.0"),
        ("pretrain-lm {corpus} --out o --direction sideways", "allowed: forward, backward, both"),
        ("pretrain-lm {corpus} --out o --preset labtop", "did you mean 'laptop'?"),
        ("pretrain-lm {corpus} --out o --max-minutes 0", "--max-minutes is 0.0; allowed: above 0"),
        ("pretrain-lm {corpus} --out o --threads -1", "--threads is -1; allowed: 0 or more"),
        ("finetune-lm", "no LM: write it before the flags"),
        ("finetune-lm {lm}", "no CORPUS: write it before the flags"),
        ("finetune-lm {lm} --out o", "no CORPUS"),
        ("finetune-lm {lm} {corpus}", "no --out"),
        ("finetune-lm {corpus} {lm} --out o", "is a corpus, and LM comes first"),
        ("finetune-lm {corpus} --out o", "is a corpus, and LM comes first"),
        ("finetune-lm {lm} {lm} --out o", "holds a language_model, not a corpus"),
        ("finetune-lm {lm} {corpus} --out {lm}", "is what is read"),
        ("finetune-lm {lm} {corpus} --out o --n-hid 9", "unknown flag --n-hid"),
        ("finetune-lm {lm} {corpus} --out o --bs 0", "--bs is 0; allowed: 1 or more"),
        ("finetune-lm {lm} {corpus} --out o --direction sideways", "--direction is 'sideways'"),
        ("finetune-lm {lm} {corpus} --out o --preset fastbok", "did you mean 'fastbook'?"),
        ("finetune-lm {lm} {corpus} --out o --frozen-epoch 1", "did you mean '--frozen-epochs'?"),
        ("recipe", "no action ''"),
        ("recipe shwo laptop", "did you mean 'show'?"),
        ("recipe show", "0 presets given, 1 needed"),
        ("recipe show laptop tiny", "2 presets given, 1 needed"),
        ("recipe diff paper", "1 presets given, 2 needed"),
        ("recipe diff paper fastbok", "did you mean 'fastbook'?"),
    ],
)
def test_a_mistake_is_one_line(
    argv: str,
    says: str,
    stage: StandIn,
    lm: LanguageModelParts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    places = {"corpus": str(stage.corpus.folder), "lm": str(lm.folder), "empty": "empty"}
    assert cli.main([word.format(**places) for word in argv.split()]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("ulmfit: ") and said.err.count("\n") == 1
    assert says in said.err
    assert not stage.calls
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_help_and_recipes_load_no_learning_library() -> None:
    code = (
        "import sys; from ulmfit.cli import main; main(['pretrain-lm', '--help']); "
        "main(['finetune-lm', '--bs', '0']); main(['recipe', 'show', 'tiny']); "
        "print(sorted({'torch', 'fastai', 'pandas', 'spacy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


# --- recipe


def test_recipe_show_has_every_value_of_text_and_stages(capsys: Capture) -> None:
    assert cli.main(["recipe", "show", "laptop"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    shown = dict(line.split(maxsplit=1) for line in lines)
    assert head.split() == ["laptop"]
    assert len({len(line) - len(line.split(maxsplit=1)[1]) for line in lines}) == 1
    assert shown["text.max_vocab"] == str(PRESETS["laptop"].max_vocab)
    assert shown["text.vocab_splits"] == "train unsup"
    assert shown["pretrain_lm.arch.n_hid"] == str(PRETRAIN_PRESETS["laptop"].arch.n_hid)
    assert shown["finetune_lm.rise"] == "0.25"  # of one_cycle in fastai 2.8
    assert shown["finetune_lm.patience"] == "none"


@pytest.mark.parametrize("names", [("paper", "fastbook"), ("paper", "multifit"), ("tiny", "tiny")])
def test_recipe_diff_has_what_differs_and_nothing_else(
    names: tuple[str, str], capsys: Capture
) -> None:
    a, b = names
    assert cli.main(["recipe", "diff", a, b, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    shown = {}
    for name in names:
        assert cli.main(["recipe", "show", name, "--json"]) == 0
        shown[name] = {f: v[name] for f, v in json.loads(capsys.readouterr().out).items()}
    assert list(said) == [field for field in shown[a] if shown[a][field] != shown[b][field]]
    for name, values in said.items():
        assert values == {n: shown[n][name] for n in names}
        if name.startswith("text."):
            of_text = name.removeprefix("text.")
            assert values == {n: getattr(PRESETS[n], of_text) for n in names}
    assert cli.main(["recipe", "diff", a, b]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(said)
    assert lines[0].split() == [a, b]


def test_presets_differ_where_their_sources_do(capsys: Capture) -> None:
    assert cli.main(["recipe", "diff", "fastai-v1", "fastbook", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["finetune_lm.bs"] == {"fastai-v1": 256, "fastbook": 128}
    assert said["finetune_lm.clip"] == {"fastai-v1": 0.1, "fastbook": None}
    assert said["finetune_lm.rise"] == {"fastai-v1": 0.3, "fastbook": 0.25}
    assert "finetune_lm.lr" not in said
    assert cli.main(["recipe", "diff", "paper", "multifit", "--json"]) == 0
    assert "pretrain_lm.arch.backbone" in json.loads(capsys.readouterr().out)


# --- progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr("ulmfit.progress.time.monotonic", lambda: now.seconds)
    monkeypatch.setenv("COLUMNS", "200")
    return now


def test_a_terminal_has_one_live_line(clock: SimpleNamespace) -> None:
    screen = Terminal()
    show = StageProgress(screen)
    show(STEP)
    assert screen.getvalue() == (
        "\r\x1b[Kfinetune-lm forward: epoch 2/4 [===         ] 123 of 567, loss 4.321, "
        "5,210 tokens/s, 12 min left"
    )
    clock.seconds = 0.05
    show(replace(STEP, batch=124))
    assert "124 of 567" not in screen.getvalue()
    clock.seconds = 0.2
    show(replace(STEP, batch=125))
    assert "125 of 567" in screen.getvalue()
    show(replace(STEP, epoch_row=ROW))
    show.close()
    assert screen.getvalue().count("\n") == 1
    assert screen.getvalue().endswith("\r\x1b[Kfinetune-lm forward: epoch 2/4, train loss 4.500, "
        "valid loss 4.250, perplexity 70.1, accuracy 0.2875, 5,210 tokens/s, 1.5 min\n")  # fmt: skip


def test_the_live_line_stays_on_one_row(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    screen = Terminal()
    StageProgress(screen)(STEP)
    assert len(screen.getvalue().removeprefix("\r\x1b[K")) == 39


def test_elsewhere_a_line_an_epoch(clock: SimpleNamespace) -> None:
    pipe = io.StringIO()
    show = StageProgress(pipe)
    for epoch in (1, 2):
        for batch in range(1, 568):
            clock.seconds += 1
            show(replace(STEP, epoch=epoch, batch=batch))
        show(replace(STEP, epoch=epoch, epoch_row=replace(ROW, epoch=epoch)))
    show.close()
    lines = pipe.getvalue().splitlines()
    assert [line.partition(",")[0] for line in lines] == [
        f"finetune-lm forward: epoch {epoch}/4" for epoch in (1, 2)
    ]
    assert "\r" not in pipe.getvalue()


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_a_notice_is_said_once_and_at_once(kind: type[io.StringIO], clock: SimpleNamespace) -> None:
    stream = kind()
    show = StageProgress(stream)
    show(STEP)
    for direction in ("forward", "forward", "backward"):
        show(replace(STEP, direction=direction, notice="no valid split"))
    assert stream.getvalue().endswith("no valid split\n")
    assert stream.getvalue().count("no valid split") == 1


def test_what_was_not_measured_is_left_out(clock: SimpleNamespace) -> None:
    pipe = io.StringIO()
    nan = float("nan")
    row = replace(ROW, valid_loss=nan, perplexity=nan, accuracy=nan)
    StageProgress(pipe)(replace(STEP, epoch_row=row))
    assert pipe.getvalue().endswith("2/4, train loss 4.500, 5,210 tokens/s, 1.5 min\n")


@pytest.mark.parametrize(("seconds", "shown"), [(4.2, "4 s"), (90, "1.5 min"), (7200, "120.0 min")])
def test_an_epochs_time_is_rounded_to_what_can_be_told(
    seconds: float, shown: str, clock: SimpleNamespace
) -> None:
    pipe = io.StringIO()
    StageProgress(pipe)(replace(STEP, epoch_row=replace(ROW, seconds=seconds)))
    assert pipe.getvalue().endswith(f" tokens/s, {shown}\n")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (5340, "89 min"), (5400, "1 h 30 min"), (86400, "24 h 0 min")],
)  # fmt: skip
def test_time_left_is_in_a_persons_unit(seconds: float, shown: str, clock: SimpleNamespace) -> None:
    screen = Terminal()
    StageProgress(screen)(replace(STEP, seconds_left=seconds))
    assert screen.getvalue().endswith(f", {shown} left")
