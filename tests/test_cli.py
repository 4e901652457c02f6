"""The command line: every exit code, one line per mistake, results on stdout and nothing else there."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest

from ulmfit import cli
from ulmfit.config import PRESETS, TextConfig
from ulmfit.errors import Stopped
from ulmfit.flags import parse
from ulmfit.models.catalogue import PRETRAINED
from ulmfit.progress import Progress
from ulmfit.text.datasets import DATASETS
from ulmfit.verb_flags import (
    CheckFlags,
    ConvertFlags,
    DataFlags,
    DoctorFlags,
    GenerateFlags,
    PrepareFlags,
)

ROOT = Path(__file__).resolve().parents[1]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def csv(tiny_frame: pd.DataFrame, tmp_path: Path) -> str:
    tiny_frame.to_csv(tmp_path / "films.csv", index=False)
    return str(tmp_path / "films.csv")


def refused(argv: list[str], capsys: Capture) -> str:
    """Run a command that has to end with code 2, and return its one line."""
    assert cli.main(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("ulmfit: ")
    assert "Traceback" not in said.err
    return said.err


# --- what is done (0)


def test_help_names_every_verb(capsys: Capture) -> None:
    for argv in ([], ["--help"], ["-h"]):
        assert cli.main(argv) == 0
        said = capsys.readouterr().out
        assert all(f"\n  {verb} " in said for verb in cli.VERBS)


def test_every_verb_has_a_function_and_help(capsys: Capture) -> None:
    for verb in cli.VERBS:
        assert cli.function_of(verb).__name__ == verb.replace("-", "_")
        assert cli.main([verb, "--help"]) == 0
        assert "--json" in capsys.readouterr().out


def test_help_of_prepare_has_every_knob_with_its_text(capsys: Capture) -> None:
    assert cli.main(["prepare", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("[no-]", "").split())
    for field in fields(TextConfig):
        assert f"--{field.name.replace('_', '-')} " in said
    assert "A token seen less often than this is unknown" in said


def test_version(capsys: Capture) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("ulmfit 0.")


def test_prepare_writes_then_is_up_to_date(csv: str, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "corpus"
    argv = ["prepare", csv, "--split", "split", "--out", str(out), "--min-freq", "1"]
    assert cli.main(argv) == 0
    assert f"wrote {out}" in capsys.readouterr().err
    assert cli.main(argv) == 0
    said = capsys.readouterr()
    assert f"up to date: {out}" in said.err
    assert said.out.strip()
    assert cli.main([*argv[:-1], "2"]) == 0
    assert f"wrote {out}" in capsys.readouterr().err
    (tmp_path / "recipe.json").write_text("{}")
    assert cli.main(argv) == 2
    assert f"{out} is the corpus of a run, of other texts" in capsys.readouterr().err
    assert cli.main([*argv, "--restart"]) == 0


def test_prepare_from_a_file_per_split(csv: str, tmp_path: Path, capsys: Capture) -> None:
    pd.DataFrame({"text": ["a film of no label", "another one"]}).to_csv(
        tmp_path / "more.csv", index=False
    )
    files = [csv, "--test", csv, "--unsup", str(tmp_path / "more.csv")]
    assert cli.main(["prepare", *files, "--out", str(tmp_path / "corpus"), "--json"]) == 0
    json.loads(capsys.readouterr().out)
    from ulmfit import load

    corpus = load(tmp_path / "corpus")
    assert {
        name: corpus.manifest.splits[name].documents for name in ("train", "test", "unsup")
    } == {
        "train": 12,
        "test": 12,
        "unsup": 2,
    }


def test_show_prints_every_rule_and_the_tokens(capsys: Capture) -> None:
    assert cli.main(["prepare", "--show", "I LOVED it sooooo much", "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)
    assert {"replace_rep", "replace_all_caps", "lowercase"} <= {step["rule"] for step in steps}
    assert "xxbos i xxup loved" in {step["rule"]: step["text"] for step in steps}["word"]
    assert cli.main(["prepare", "--show", "I LOVED it", "--rules", "none"]) == 0
    assert "xxup" not in capsys.readouterr().out


def test_check_reports(csv: str, capsys: Capture) -> None:
    assert cli.main(["check", csv, "--split", "split", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert findings[0]["detail"] == "12 (8 train, 4 test)"


def test_doctor_and_data(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["doctor", "--json", "--data-dir", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["data_dir"] == str(tmp_path)
    assert cli.main(["data", "--json", "--data-dir", str(tmp_path)]) == 0
    listed = json.loads(capsys.readouterr().out)["data_sets"]
    assert [row["name"] for row in listed] == list(DATASETS)
    assert [row["name"] for row in listed if row["present"]] == ["demo"]
    assert cli.main(["data", "--data-dir", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(DATASETS) + len(PRETRAINED) + 2


# --- what is the user's mistake (2)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["prepar"], "did you mean 'prepare'?"),
        (["prepare"], "no SOURCE"),
        (["check", "--text", "review", "films.csv"], "no SOURCE"),
        (["prepare", "demo"], "--out"),
        (["prepare", "demo", "--min-frq", "3"], "did you mean '--min-freq'?"),
        (["prepare", "demo", "--min-freq", "three"], "--min-freq"),
        (["prepare", "demo", "--min-freq", "0"], "--min-freq is 0; allowed: 1 or more"),
        (["prepare", "demo", "--tokenizer", "wrd"], "--tokenizer is 'wrd'; allowed: word"),
        (["prepare", "demo", "--out"], "--out"),
        (["prepare", "demo", "imdb"], "'imdb' is one argument too many"),
        (["prepare", "demo", "--preset", "labtop"], "did you mean 'laptop'?"),
        (["prepare", "demo", "--out", "x", "--text", "review"], "'demo' names its own columns"),
        (["check", "no_such.csv"], "no_such.csv"),
        (["doctor", "--fix"], "--fix"),
        (["generate"], "no LM"),
        (["generate", "no_such_folder"], "no_such_folder is neither the folder"),
        (["generate", "lm", "one", "two"], "'two' is one argument too many"),
        (["generate", "lm", "--top-q", "0.9"], "did you mean '--top-p'?"),
        (["convert"], "no SOURCE"),
        (["convert", "lm.pth"], "no --out"),
        (["convert", "lm.pth", "--out", "lm"], "there is no lm.pth"),
        (["convert", "lm", "--out", "files", "--to", "keras"], "--to is 'keras'"),
        (["convert", "lm", "--out", "files", "--to", "fastai"], "lm is not a folder"),
        (["convert", "lm", "--out", "o", "--to", "fastai", "--vocab", "v"], "takes --out alone"),
    ],
)
def test_a_mistake_is_one_line(
    argv: list[str], says: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert says in refused(argv, capsys)
    assert not list(tmp_path.iterdir())


def test_a_wrong_column_is_named(csv: str, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "corpus"
    said = refused(["prepare", csv, "--text", "txt", "--out", str(out)], capsys)
    assert "films.csv" in said
    assert "'txt'" in said
    assert not out.exists()


def test_check_of_unusable_labels_reports_and_fails(tmp_path: Path, capsys: Capture) -> None:
    pd.DataFrame({"text": ["a b", "c d"], "label": ["pos", "pos"]}).to_csv(
        tmp_path / "one.csv", index=False
    )
    assert cli.main(["check", str(tmp_path / "one.csv")]) == 2
    said = capsys.readouterr()
    assert "error  labels" in said.out
    assert said.err.startswith("ulmfit: one.csv: labels: 'pos' 2 in train")


# --- what is ours (1), and what is nobody's fault


def test_our_own_failure_has_a_traceback() -> None:
    code = "import ulmfit.verbs, ulmfit.cli, sys; ulmfit.verbs.data = lambda argv: 1 / 0; sys.exit(ulmfit.cli.main(['data']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_ctrl_c_is_one_line() -> None:
    code = "import sys, time; from ulmfit import cli, verbs; verbs.data = lambda argv: print('on', flush=True) or time.sleep(60); sys.exit(cli.main(['data']))"
    running = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout and running.stdout.readline() == "on\n"
    time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=30)[1]
    assert running.returncode == 130
    assert said.count("\n") == 1, said


@pytest.mark.parametrize(
    ("reason", "code"), [("Ctrl-C", 130), ("SIGTERM", 143), ("--max-minutes", 3)]
)
def test_a_stopped_training_is_one_line_and_has_its_code(
    reason: str, code: int, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(argv: list[str]) -> None:
        raise Stopped(f"stopped ({reason})\nin epoch 2", reason=reason)

    monkeypatch.setattr("ulmfit.verbs.data", stop)
    assert cli.main(["data"]) == code
    assert capsys.readouterr() == ("", f"ulmfit: stopped ({reason}) in epoch 2\n")


def test_what_goes_on_after_a_restart_is_the_command_without_it(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(argv: list[str]) -> None:
        raise Stopped("stopped (x); the same command goes on from there", reason="--max-minutes")

    monkeypatch.setattr("ulmfit.verbs.data", stop)
    cli.main(["data", "--restart"])
    assert "the same command without --restart goes on" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise on Windows")
def test_a_reader_that_stops_early_is_no_failure() -> None:
    script = f"{sys.executable} -m ulmfit data | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_module_is_the_program() -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "ulmfit", "prepr"], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")


# --- flags


def test_flags_that_are_given_win_over_the_preset() -> None:
    for name, value in PRESETS.items():
        assert parse(PrepareFlags, "prepare", ["demo", "--preset", name]).config == value
    flags = parse(
        PrepareFlags, "prepare", ["demo", "--preset=multifit", "--max-vocab", "99", "--lang", "de"]
    )
    assert (flags.config.tokenizer, flags.config.max_vocab, flags.config.lang) == (
        "subword",
        99,
        "de",
    )


def test_columns() -> None:
    argv = [
        "x.csv",
        "--text",
        "title",
        "body",
        "--label",
        "none",
        "--vocab-splits",
        "train",
        "test",
    ]
    flags = parse(CheckFlags, "check", argv)
    assert (flags.source, flags.text_columns(), flags.label_columns()) == (
        "x.csv",
        ("title", "body"),
        None,
    )
    assert flags.config.vocab_splits == ("train", "test")
    flags = parse(CheckFlags, "check", ["x.csv", "--label", "a", "b", "--test", "y.csv"])
    assert (flags.text_columns(), flags.label_columns()) == ("text", ("a", "b"))
    assert flags.documents() == {"train": "x.csv", "test": Path("y.csv")}


@pytest.mark.parametrize(
    "kind", [PrepareFlags, CheckFlags, GenerateFlags, ConvertFlags, DoctorFlags, DataFlags]
)
def test_every_flag_explains_itself(kind: type, capsys: Capture) -> None:
    verb = kind.__name__.removesuffix("Flags").lower()
    assert cli.main([verb, "--help"]) == 0
    assert kind.__doc__ and kind.__doc__.split()[0] in capsys.readouterr().out


# --- progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("ulmfit.progress.time.monotonic", lambda: next(clock))
    terminal, pipe = Terminal(), io.StringIO()
    bar, lines = Progress(terminal), Progress(pipe)
    for done in range(1, 11):
        bar("tokenize", done, 10)
        lines("tokenize", done, 10)
    bar.close()
    lines.close()
    assert terminal.getvalue().count("\r") == 11  # ten frames, and the last is wiped
    assert "\n" not in terminal.getvalue()
    assert (
        pipe.getvalue().count("\n") == 5
    )  # 200 seconds at most every 30, on a clock of 20 between calls
    assert "\r" not in pipe.getvalue()
    assert "5 of 10 (50%)" in terminal.getvalue()


def test_a_wrong_flag_is_one_line_in_any_encoding() -> None:
    """tyro draws its boxes otherwise where stdout is not UTF-8."""
    argv = [sys.executable, "-m", "ulmfit", "train-classifier", "LM", "CORPUS", "--epochs", "1e3"]
    said = {
        subprocess.run(
            argv, env={**os.environ, "PYTHONIOENCODING": name}, capture_output=True, text=True
        ).stderr
        for name in ("utf-8", "latin-1", "ascii")
    }
    assert said == {
        "ulmfit: train-classifier: --epochs: '1e3' is not a whole number (see ulmfit train-classifier --help)\n"
    }


def test_an_empty_out_is_not_the_current_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fit", "demo", "--out", ""]) == 2
    assert "--out: '' names no file and no folder" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_an_output_on_a_full_disk_is_one_line() -> None:
    for verb in ("data", "--help"):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([sys.executable, "-m", "ulmfit", verb], stdout=full, stderr=subprocess.PIPE)  # fmt: skip
        assert done.returncode == 2
        said = done.stderr.decode()
        assert said == "ulmfit: cannot write the output: No space left on device; free some space\n"


@pytest.mark.parametrize("closed", ["stdin", "stdout", "stderr"])
def test_a_stream_that_was_closed_leads_nowhere(
    closed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, closed, None)  # as Python starts where the caller has closed it
    assert cli.main(["data"]) == 0
    assert cli.main(["data", "--no-such-flag"]) == 2
    getattr(sys, closed).close()
    monkeypatch.undo()
    assert ("demo" in capsys.readouterr().out) == (closed != "stdout")
