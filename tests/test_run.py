"""The working folder of a stage: one holder, one set of settings, and nothing left behind that is of no use."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from ulmfit.errors import UserError
from ulmfit.files import atomic_folder, write_json
from ulmfit.training import run as module
from ulmfit.training.config import PretrainConfig
from ulmfit.training.distributed import World
from ulmfit.training.run import Run, open_run

ROOT = Path(__file__).resolve().parents[1]
SETTINGS: dict[str, Any] = {
    "stage": "pretrain_lm",
    "corpus": "0123",
    "parent": "",
    "config": {"lr": 0.02, "moms": (0.8, 0.7, 0.8), "clip": None, "arch": {"n_hid": 1150}},
}


def settings(**changed: Any) -> dict[str, Any]:
    """The settings above, with some of their leaves replaced."""
    found = copy.deepcopy(SETTINGS)
    for name, value in changed.items():
        homes = (found, found["config"], found["config"]["arch"])
        next(home for home in homes if name in home)[name] = value
    return found


def finish(run: Run, text: str = "result") -> None:
    """Write the artefact as a stage does."""
    with atomic_folder(run.out) as folder:
        write_json(folder / "manifest.json", {"kind": "language_model", "config": run.settings})
        (folder / "weights").write_text(text)


def begin(out: Path, **changed: Any) -> Path:
    """Leave an unfinished training behind, with a checkpoint."""
    with pytest.raises(ZeroDivisionError), open_run(out, settings=settings(**changed)) as run:
        run.checkpoint.write_text("begun")
        raise ZeroDivisionError
    assert run.checkpoint.exists()
    return run.folder


def made(out: Path, **changed: Any) -> Path:
    """Leave a finished training behind."""
    with open_run(out, settings=settings(**changed)) as run:
        finish(run)
    return out


def refused(out: Path, *, restart: bool = False, **changed: Any) -> str:
    """Open a run that has to be refused in one line, with everything left as it is."""
    before = {p: p.stat().st_mtime_ns for p in out.parent.rglob("*")}
    with (
        pytest.raises(UserError) as caught,
        open_run(out, settings=settings(**changed), restart=restart),
    ):
        raise AssertionError("was let in")
    assert {p: p.stat().st_mtime_ns for p in out.parent.rglob("*")} == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- the life of a folder


def test_a_stage_that_ends_well_leaves_its_result_alone(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "lm"
    with open_run(out, settings=SETTINGS) as run:
        assert not run.is_finished
        assert run.folder == tmp_path / "deep" / "lm.training"
        assert {run.checkpoint.name, run.best.name, run.history.name} == {
            "checkpoint.safetensors", "best.safetensors", "history.csv",
        }  # fmt: skip
        assert {p.parent for p in (run.checkpoint, run.best, run.history)} == {run.folder}
        assert json.loads((run.folder / "settings.json").read_text()) == run.settings
        for path in (run.checkpoint, run.best, run.history):
            path.write_text("x")
        finish(run)
    assert os.listdir(out.parent) == ["lm"]


def test_what_is_finished_is_found_and_nothing_is_touched(tmp_path: Path) -> None:
    made(tmp_path / "lm")
    before = tmp_path.stat().st_mtime_ns
    with open_run(tmp_path / "lm", settings=SETTINGS) as run:
        assert run.is_finished
        assert not run.folder.exists()
    assert tmp_path.stat().st_mtime_ns == before


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_an_error_keeps_a_checkpoint_and_the_next_run_finds_it(
    tmp_path: Path, error: type[BaseException]
) -> None:
    for text in ("one", "two"):
        with pytest.raises(error), open_run(tmp_path / "lm", settings=SETTINGS) as run:
            assert not run.is_finished
            assert run.checkpoint.exists() == (text == "two")
            run.checkpoint.write_text(text)
            raise error
    with open_run(tmp_path / "lm", settings=SETTINGS) as run:
        assert run.checkpoint.read_text() == "two"
        finish(run)
    assert os.listdir(tmp_path) == ["lm"]


def test_an_error_before_the_first_checkpoint_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        open_run(tmp_path / "lm", settings=SETTINGS) as run,
    ):
        run.history.write_text("epoch\n")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("n_done", [0, 1])
def test_two_directions_go_on_inside_one_folder(tmp_path: Path, n_done: int) -> None:
    """One run is inside another; what is kept of the inner one keeps the outer one."""

    def train(is_cut: bool) -> int:
        n_trained = 0
        with open_run(tmp_path / "lm", settings=SETTINGS) as run:
            for name in ("forward", "backward"):
                with open_run(run.folder / name, settings=SETTINGS) as inner:
                    if inner.is_finished:
                        continue
                    if is_cut and n_trained == n_done:
                        if not n_done:
                            inner.checkpoint.write_text("half")
                        raise ZeroDivisionError
                    assert inner.checkpoint.exists() == (
                        not is_cut and not n_done and not n_trained
                    )
                    n_trained += 1
                    finish(inner)
            finish(run)
        return n_trained

    with pytest.raises(ZeroDivisionError):
        train(is_cut=True)
    assert train(is_cut=False) == 2 - n_done
    assert os.listdir(tmp_path) == ["lm"]


# --- other settings


def test_differing_settings_are_listed(tmp_path: Path) -> None:
    made(tmp_path / "lm")
    begin(tmp_path / "half")
    changed = {"lr": 0.01, "n_hid": 400, "moms": (0.7, 0.7), "clip": 0.3, "corpus": "4567"}
    for out, place in (("lm", "lm was made"), ("half", "half.training was begun")):
        said = refused(tmp_path / out, **changed)
        assert said.startswith(str(tmp_path / place))
        for change in (
            "lr 0.01 (was 0.02)", "n_hid 400 (was 1150)", "moms 0.7 0.7 (was 0.8 0.7 0.8)",
            "clip 0.3 (was None)", "another corpus",
        ):  # fmt: skip
            assert change in said
        assert "another language model" not in said and "parent" not in said
        assert "choose another --out, or --restart" in said


def test_every_knob_of_a_stage_is_listed(tmp_path: Path) -> None:
    one, other = PretrainConfig(), PretrainConfig(lr=0.5, bs=7, moms=(0.7, 0.6, 0.7))
    base = {"stage": "pretrain_lm"}
    with open_run(tmp_path / "lm", settings=base | {"config": asdict(one)}) as run:
        finish(run)
    with open_run(tmp_path / "lm", settings=base | {"config": asdict(one)}) as run:
        assert run.is_finished
    with (
        pytest.raises(UserError) as caught,
        open_run(tmp_path / "lm", settings=base | {"config": asdict(other)}),
    ):
        pass
    listed = str(caught.value).split("settings: ")[1].split("; ")[0]
    assert set(listed.split(", ")) == {
        f"lr 0.5 (was {one.lr})", f"bs 7 (was {one.bs})", "moms 0.7 0.6 0.7 (was None)",
    }  # fmt: skip


@pytest.mark.parametrize(
    "equal", [{"moms": [0.8, 0.7, 0.8]}, {"lr": 2e-2}, {"arch": {"n_hid": 1150.0}}]
)
def test_settings_are_compared_as_json(tmp_path: Path, equal: dict[str, Any]) -> None:
    made(tmp_path / "lm")
    with open_run(tmp_path / "lm", settings=settings(**equal)) as run:
        assert run.is_finished


def test_a_setting_that_is_new_and_unset_changes_nothing(tmp_path: Path) -> None:
    made(tmp_path / "lm")
    config = SETTINGS["config"]
    with open_run(tmp_path / "lm", settings=SETTINGS | {"config": config | {"new": None}}) as run:
        assert run.is_finished
    with (
        pytest.raises(UserError, match=r"new_knob 3 \(was None\)"),
        open_run(tmp_path / "lm", settings=SETTINGS | {"config": config | {"new_knob": 3}}),
    ):
        pass


@pytest.mark.parametrize("restart", [False, True])
def test_another_stage_is_never_replaced(tmp_path: Path, restart: bool) -> None:
    made(tmp_path / "lm")
    begin(tmp_path / "half")
    for out in ("lm", "half"):
        said = refused(tmp_path / out, restart=restart, stage="finetune_lm")
        assert "is of the stage pretrain_lm, not finetune_lm: choose another --out" in said


@pytest.mark.parametrize("restart", [False, True])
def test_what_no_training_made_is_never_replaced(tmp_path: Path, restart: bool) -> None:
    places = {}
    for name in ("file", "notes", "corpus", "broken", "taken", "odd", "flat"):
        places[name] = tmp_path / name / "lm"
        places[name].parent.mkdir()
    places["file"].write_text("x")
    for name in ("notes", "corpus", "broken"):
        places[name].mkdir()
    (places["notes"] / "notes.txt").write_text("x")
    write_json(places["corpus"] / "manifest.json", {"kind": "corpus", "config": {"lang": "en"}})
    (places["broken"] / "manifest.json").write_text("{")
    working = {name: places[name].with_name("lm.training") for name in ("taken", "odd", "flat")}
    working["taken"].mkdir()
    (working["taken"] / "notes.txt").write_text("x")
    working["odd"].mkdir()
    (working["odd"] / "settings.json").write_text("[]")
    working["flat"].write_text("x")
    for name, says in {
        "file": "not an artefact folder", "notes": "not an artefact folder", "corpus": "that no training made",
        "broken": "not valid JSON", "taken": "has the name of one", "odd": "holds no settings", "flat": "cannot write",
    }.items():  # fmt: skip
        said = refused(places[name], restart=restart)
        assert says in said and str(tmp_path / name / "lm") in said


# --- starting over


def test_restart_drops_what_is_unfinished(tmp_path: Path) -> None:
    begin(tmp_path / "lm")
    with open_run(tmp_path / "lm", settings=settings(lr=0.5), restart=True) as run:
        assert not run.is_finished
        assert sorted(os.listdir(run.folder)) == ["lock", "settings.json"]
        assert json.loads((run.folder / "settings.json").read_text())["config"]["lr"] == 0.5
        finish(run)


def test_restart_replaces_the_result_only_at_the_end(tmp_path: Path) -> None:
    made(tmp_path / "lm")
    with open_run(tmp_path / "lm", settings=SETTINGS, restart=True) as run:
        assert not run.is_finished
        assert (run.out / "weights").read_text() == "result"
        finish(run, "again")
    assert (tmp_path / "lm" / "weights").read_text() == "again"
    assert os.listdir(tmp_path) == ["lm"]


def test_a_restart_that_was_interrupted_goes_on_without_the_flag(tmp_path: Path) -> None:
    made(tmp_path / "lm")
    with (
        pytest.raises(ZeroDivisionError),
        open_run(tmp_path / "lm", settings=settings(lr=0.5), restart=True) as run,
    ):
        run.checkpoint.write_text("begun")
        raise ZeroDivisionError
    assert "lm.training was begun" in refused(tmp_path / "lm", lr=0.7)
    with open_run(tmp_path / "lm", settings=SETTINGS) as run:  # the result is still the old one
        assert run.is_finished
    with open_run(tmp_path / "lm", settings=settings(lr=0.5)) as run:
        assert not run.is_finished
        assert run.checkpoint.read_text() == "begun"
        finish(run)
    assert os.listdir(tmp_path) == ["lm"]


def test_a_restart_with_the_same_settings_goes_on_without_the_flag(tmp_path: Path) -> None:
    made(tmp_path / "lm")
    with (
        pytest.raises(ZeroDivisionError),
        open_run(tmp_path / "lm", settings=SETTINGS, restart=True) as run,
    ):
        run.checkpoint.write_text("begun")
        raise ZeroDivisionError
    with open_run(tmp_path / "lm", settings=SETTINGS) as run:
        assert not run.is_finished
        assert run.checkpoint.read_text() == "begun"
        finish(run)
    with open_run(tmp_path / "lm", settings=SETTINGS) as run:
        assert run.is_finished
    assert os.listdir(tmp_path) == ["lm"]


# --- one at a time


HOLD = """
import json, sys, time
from ulmfit.training.run import open_run
with open_run(sys.argv[1], settings=json.loads(sys.argv[2])) as run:
    run.checkpoint.write_text("begun")
    print("on", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "lm"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out), json.dumps(SETTINGS)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout and holder.stdout.readline() == "on\n"
        for restart in (False, True):
            said = refused(out, restart=restart)
            assert (
                said
                == f"another process trains in {out}.training: wait for it or choose another --out"
            )
    finally:
        holder.kill()
        holder.communicate()
    with open_run(out, settings=SETTINGS) as run:
        assert run.checkpoint.read_text() == "begun"
        finish(run)
    assert os.listdir(tmp_path) == ["lm"]


def test_a_second_thread_and_a_second_call_are_refused(tmp_path: Path) -> None:
    said: list[str] = []
    with open_run(tmp_path / "lm", settings=SETTINGS):
        thread = threading.Thread(target=lambda: said.append(refused(tmp_path / "lm")))
        thread.start()
        thread.join()
        assert "another process trains" in said[0]
        assert "another process trains" in refused(tmp_path / "lm")
        with open_run(tmp_path / "lm2", settings=SETTINGS):  # a neighbour is free
            pass


def test_the_lock_is_held_until_the_folder_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever came in between would go on from what is being removed."""
    is_held = []
    delete = module._delete

    def watched(path: Path) -> None:
        with pytest.raises(Timeout):
            FileLock(tmp_path / "lm.training" / "lock").acquire(timeout=0)
        is_held.append(path.name)
        delete(path)

    with open_run(tmp_path / "lm", settings=SETTINGS) as run:
        run.checkpoint.write_text("x")
        monkeypatch.setattr(module, "_delete", watched)
    assert is_held == ["checkpoint.safetensors", "settings.json"]
    assert os.listdir(tmp_path) == []


def test_the_first_of_several_processes_prepares_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []
    monkeypatch.setattr(module, "wait", lambda: waited.append(1))
    with open_run(tmp_path / "lm", settings=SETTINGS) as first:
        monkeypatch.setattr(module, "world", lambda: World(rank=1, size=2))
        with open_run(tmp_path / "lm", settings=SETTINGS) as second:
            assert second == first
        assert first.folder.exists()
        finish(first)
        with open_run(tmp_path / "lm", settings=SETTINGS) as second:
            assert second.is_finished
    assert len(waited) == 3


# --- what kills leave behind


def test_leftovers_of_kills_are_swept_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "lm[1]"  # a name that means something to glob
    working = begin(out)
    (working / ".checkpoint.safetensors.abcd1234.part").write_text("half")
    (working / ".tmpX1Yz").write_text("half")
    gone, kept = [".lm[1].abcd_123.part"], [".lm[1].v2.abcd_123.part", ".lm1.abcd_123.part", ".x"]
    for name in gone + kept:
        (tmp_path / name).mkdir()
    (tmp_path / ".lm[1].abcd_123.part.lock").touch()
    with open_run(out, settings=SETTINGS) as run:
        assert sorted(os.listdir(working)) == ["checkpoint.safetensors", "lock", "settings.json"]
        finish(run)
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, out.name])


def test_the_names_that_are_swept_are_those_of_the_writers(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "lm") as part:
        (tmp_path / "copy").mkdir()
        (tmp_path / "copy" / part.name).mkdir()  # as if the process were killed here
        (tmp_path / "copy" / f"{part.name}.lock").touch()
        raise KeyboardInterrupt
    with open_run(tmp_path / "copy" / "lm", settings=SETTINGS):
        assert os.listdir(tmp_path / "copy") == ["lm.training"]


def test_a_writer_that_is_alive_keeps_its_place(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "lm") as part:
        with open_run(tmp_path / "lm", settings=SETTINGS):
            assert part.is_dir()
        (part / "file").write_text("whole")
    assert (tmp_path / "lm" / "file").read_text() == "whole"


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_kill_while_the_result_is_replaced(tmp_path: Path, is_replaced: bool) -> None:
    """The old result was moved aside; the new one is in its place or not yet."""
    out = made(tmp_path / "lm")
    old = tmp_path / ".lm.abcd1234.part.old"
    (tmp_path / ".lm.abcd1234.part.lock").touch()
    begin(tmp_path / "other", lr=0.5)
    (tmp_path / "other.training").rename(tmp_path / "lm.training")
    (out / "weights").write_text("old")
    out.rename(old)
    if is_replaced:
        made(tmp_path / "new", lr=0.3).rename(out)
    with open_run(out, settings=settings(lr=0.5)) as run:
        assert (out / "weights").read_text() == ("result" if is_replaced else "old")
        assert not old.exists()
        assert run.checkpoint.exists()


def test_a_kill_between_the_result_and_the_end(tmp_path: Path) -> None:
    working = begin(tmp_path / "lm")
    finish(Run(tmp_path / "lm", settings()))
    assert working.exists()
    with open_run(tmp_path / "lm", settings=SETTINGS) as run:
        assert run.is_finished
    assert os.listdir(tmp_path) == ["lm"]


def test_a_kill_before_the_settings_were_written(tmp_path: Path) -> None:
    working = tmp_path / "lm.training"
    working.mkdir()
    (working / "lock").write_text("")
    (working / ".settings.json.abcd1234.part").write_text('{"stage"')
    with open_run(tmp_path / "lm", settings=SETTINGS) as run:
        assert sorted(os.listdir(run.folder)) == ["lock", "settings.json"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_place_is_one_line_but_a_result_there_is_found(tmp_path: Path) -> None:
    made(tmp_path / "lm")
    tmp_path.chmod(0o500)
    assert "Permission denied" in refused(tmp_path / "other")
    with open_run(tmp_path / "lm", settings=SETTINGS) as run:
        assert run.is_finished
    tmp_path.chmod(0o700)
