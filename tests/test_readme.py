"""The README tells the truth: its commands are where CI looks for them, its examples run, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ulmfit.cli import VERBS, main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(marker: str) -> str:
    """Return the fenced block that follows the only comment of that name."""
    found = re.findall(rf"^<!-- {marker} -->\n```\w+\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"{marker}: {len(found)} blocks"
    return found[0]


def test_main_command_installs_and_runs_the_main_job() -> None:
    lines = block("command: main").splitlines()
    assert lines[0] == "python3 -m venv .venv"
    assert lines[1].endswith("pip install -e . -c constraints.txt")
    assert lines[2].startswith(".venv/bin/ulmfit ")


def test_tests_command_runs_pytest() -> None:
    lines = block("command: tests").splitlines()
    assert '".[dev]"' in lines[-2]
    assert lines[-1] == ".venv/bin/python -m pytest -n 2"


@pytest.mark.skipif(sys.platform == "win32", reason="the script of CI is for bash")
@pytest.mark.parametrize("name", ["main", "tests"])
def test_ci_reads_the_same_commands(name: str) -> None:
    function = re.search(
        r"^readme_command\(\) \{.*?^\}", (ROOT / ".ci/run").read_text(), re.MULTILINE | re.DOTALL
    )
    assert function
    script = f"{function[0]}\nreadme_command {name}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == block(f"command: {name}")


@pytest.mark.slow  # the script of CI runs the same command
@pytest.mark.timeout(900)
def test_the_main_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run the last line of the main command in this environment."""
    monkeypatch.chdir(tmp_path)
    program, *argv = shlex.split(block("command: main").splitlines()[-1])
    assert program == ".venv/bin/ulmfit"
    assert main(argv) == 0
    assert "classifier" in capsys.readouterr().out


@pytest.mark.parametrize("line", block("example: shell").splitlines())
def test_shell_example(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    program, *argv = shlex.split(line)
    assert program == "ulmfit"
    assert main(argv) == 0
    assert capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_stages_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for line in block("example: stages").splitlines():
        program, *argv = shlex.split(line)
        assert program == "ulmfit"
        assert main(argv) == 0
        assert capsys.readouterr().out


@pytest.mark.skipif(not (ROOT / "results").is_dir(), reason="a source archive has no results")
@pytest.mark.skipif(sys.platform == "win32", reason="makes a symbolic link")
def test_python_example(tmp_path: Path) -> None:
    (tmp_path / "results").symlink_to(ROOT / "results")
    assert "neg" in run(block("example: python"), tmp_path)


def test_the_example_of_what_lies_inside(tmp_path: Path) -> None:
    code = block("example: inside") + "\nxb, yb = dls.one_batch()\nassert xb.shape == (16, 40)\n"
    assert "xxup" in run(code, tmp_path)


def run(code: str, folder: Path) -> str:
    """Run Python in a process of its own, and give what it prints."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_verb_is_mentioned() -> None:
    assert all(f"`{verb}`" in README or f"ulmfit {verb}" in README for verb in VERBS)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target
