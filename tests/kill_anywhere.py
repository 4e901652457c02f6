"""Kill all three stages at random moments, run the same command again, and compare with a run that nobody disturbed.

A trial begins in an empty folder: texts become corpora, a language model is trained, fine-tuned and made a
classifier, which answers and is evaluated. Half of the kills fall at any moment, half while a file is being
written. As a script, `python tests/kill_anywhere.py --kills 50 --seed 0`, it prints one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CLASSIFIER = "run/3_train_classifier"
ALLOWED_TRIES = 12  # starts of one trial before it is left to finish
_TIMED = re.compile(
    r"(\w+_)?seconds|tokens_per_second|history"
)  # the history has a file of its own
_CHECKPOINT_SECONDS = 0.3  # so that there are some inside an epoch, which takes a second here


@dataclass
class Tally:
    """What a series of kills came to."""

    kills: int = 0
    trials: int = 0
    while_writing: int = 0
    at: Counter[str] = field(default_factory=Counter)
    """Kills by the step of the chain that they met."""
    differences: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    seconds: float = 0.0


# --- the chain of commands


def write_texts(folder: Path, *, n: int = 160) -> None:
    """Draw rows of the embedded corpus, with all of its splits, and some texts without label."""
    import pandas as pd

    rows = pd.read_csv(ROOT / "data" / "demo.csv.gz", keep_default_na=False)
    rows = rows.sample(n=2 * n, random_state=0)
    rows[["text"]][:n].to_csv(folder / "general.csv", index=False)
    rows[n:].to_csv(folder / "reviews.csv", index=False)


def chain(folder: Path, *, is_watched: bool = False) -> None:
    """Run the whole recipe in `folder`; the same call goes on where a killed one was."""
    import ulmfit
    from ulmfit import cli
    from ulmfit.models.arch import ArchConfig
    from ulmfit.models.threads import one_thread
    from ulmfit.training import resume
    from ulmfit.training.presets import CLASSIFIER_PRESETS, FINETUNE_PRESETS, PRETRAIN_PRESETS

    if is_watched:
        resume.MINUTES = _CHECKPOINT_SECONDS / 60
    os.chdir(folder)
    text = ulmfit.TextConfig(min_freq=2, max_vocab=600)
    arch = ArchConfig(emb_sz=16, n_hid=24, n_layers=2)
    quiet: dict[str, Any] = {"progress": lambda _: None}
    with one_thread():
        general = ulmfit.prepare("../general.csv", "general", label=None, config=text)
        stage_1 = replace(PRETRAIN_PRESETS["tiny"], epochs=2, arch=arch)
        lm = ulmfit.pretrain_lm(general, "lm", config=stage_1, **quiet)
        ulmfit.fit(
            "../reviews.csv",
            "run",
            preset="tiny",
            split="split",
            lm=lm,
            config=text,
            finetune=FINETUNE_PRESETS["tiny"],
            classifier=replace(CLASSIFIER_PRESETS["tiny"], epochs=3),
            **quiet,
        )
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            answer = ["predict", CLASSIFIER, "../reviews.csv", "--out", "answers.csv"]
            measure = ["evaluate", CLASSIFIER, "run/corpus", "--out", "evaluation"]
            for argv in (answer, measure):
                assert cli.main(argv) == 0, argv


def step_of(folder: Path) -> str:
    """Name the step of the chain that comes next, by what is there."""
    done = ("general", "lm", "run/corpus", "run/2_finetune_lm", CLASSIFIER, "answers.csv")
    names = ("prepare", "stage 1", "prepare for stage 2", "stage 2", "stage 3", "predict")
    for path, name in zip(done, names):
        if not (folder / path).exists():
            return name
    return "evaluate"


# --- what has to be equal


def facts(folder: Path) -> dict[str, str]:
    """Describe all that a run leaves: files by their content, those with a clock in them by the rest."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.name == "history.csv":
            found[name] = _without_clock(path)
        elif name in ("evaluation/evaluation.json", "run/3_train_classifier/manifest.json"):
            found[name] = json.dumps(_without_seconds(json.loads(path.read_text("utf-8"))))
        elif path.suffix not in (".png", ".svg", ".html", ".md"):  # drawn from the others
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _without_clock(path: Path) -> str:
    with open(path, newline="", encoding="utf-8") as file:
        return json.dumps(_without_seconds(list(csv.DictReader(file))))


def _without_seconds(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {n: _without_seconds(v) for n, v in value.items() if not _TIMED.fullmatch(n)}
    return [_without_seconds(v) for v in value] if isinstance(value, list) else value


def leftovers(folder: Path) -> list[str]:
    """List what should not outlive a run that ended well."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return [n for n in names if re.search(r"(^|/)\.|\.(part|old|lock|training)$", n)]


# --- killing


def start(folder: Path) -> BaseProcess:
    """Run the chain in a process of its own, which begins with everything imported."""
    process = multiprocessing.get_context("fork").Process(target=_quietly, args=(folder,))
    process.start()
    return process


def _quietly(folder: Path) -> None:
    with open(folder.with_suffix(".log"), "a") as log:
        os.dup2(log.fileno(), 2)
    chain(folder, is_watched=True)


def kill_once(process: BaseProcess, folder: Path, lottery: random.Random, seconds: float) -> str:
    """Kill at any moment, or while a file is being written; say which, or "" if the run was over before."""
    if lottery.random() < 0.5:
        process.join(lottery.uniform(0, seconds))
        kind = "any moment"
    else:
        kind = "writing" if _wait_for_writing(process, folder, lottery) else ""
    if kind and process.is_alive():
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        return kind if process.exitcode == -signal.SIGKILL else ""
    process.join()
    return ""


def _wait_for_writing(process: BaseProcess, folder: Path, lottery: random.Random) -> bool:
    """Wait until the n-th time that something half-written stands in the folder."""
    n_left, seen = lottery.choice((1, 2, 3, 5, 8, 13, 21, 34, 55)), set()
    while process.is_alive():
        for place in (folder, *folder.glob("*.training"), folder / "run", *folder.glob("run/*.training")):  # fmt: skip
            for name in _hidden(place) - seen:
                seen.add(name)
                n_left -= 1
                if not n_left:
                    time.sleep(lottery.choice((0, 0, 0.001, 0.005)))
                    return True
        time.sleep(0.0005)
    return False


def _hidden(folder: Path) -> set[str]:
    try:
        return {str(folder / name) for name in os.listdir(folder) if name.startswith(".")}
    except OSError:
        return set()


def trial(
    folder: Path, lottery: random.Random, tally: Tally, *, n_kills: int, seconds: float
) -> None:
    """Kill a run up to `n_kills` times, and let it end."""
    folder.mkdir()
    n_before = tally.kills
    for _ in range(ALLOWED_TRIES):
        if tally.kills - n_before == n_kills:
            break
        process = start(folder)
        kind = kill_once(process, folder, lottery, seconds)
        if not kind:
            break
        tally.kills += 1
        tally.while_writing += kind == "writing"
        tally.at[step_of(folder)] += 1
    last = start(folder)
    last.join()
    tally.trials += 1
    if last.exitcode:
        log = folder.with_suffix(".log").read_text().strip().splitlines()
        tally.differences.append(f"{folder.name}: exit code {last.exitcode}: {log[-1:]}")


def undisturbed(folder: Path) -> float:
    """Run the chain in a fresh interpreter with its own order of hashes; say how long it took."""
    folder.mkdir()
    argv = [sys.executable, __file__, "--chain", str(folder)]
    done = subprocess.run(argv, check=True, cwd=ROOT, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def series(work: Path, *, n_kills: int, seed: int, kills_of_a_trial: int = 5) -> Tally:
    """Kill so many times, over as many trials as it takes, and compare each trial with the first run."""
    tally, lottery = Tally(), random.Random(seed)
    began_at = time.monotonic()
    write_texts(work)
    seconds = undisturbed(work / "undisturbed")
    expected = facts(work / "undisturbed")
    import ulmfit.recipe  # noqa: F401 - before the processes fork: none has to import it again

    while tally.kills < n_kills:
        folder, n_left = work / f"trial{tally.trials}", n_kills - tally.kills
        trial(folder, lottery, tally, n_kills=min(n_left, kills_of_a_trial), seconds=seconds)
        found = facts(folder)
        names = [n for n in {**expected, **found} if expected.get(n) != found.get(n)]
        tally.differences += [f"{folder.name}/{name}" for name in names]
        tally.leftovers += [f"{folder.name}/{name}" for name in leftovers(folder)]
    tally.seconds = round(time.monotonic() - began_at, 1)
    return tally


def main() -> int:
    """Read the flags, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="a folder to keep; by default a temporary one")
    parser.add_argument("--chain", type=Path, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.chain:
        import ulmfit.recipe  # noqa: F401 - before the clock starts

        began_at = time.monotonic()
        chain(flags.chain)
        print(time.monotonic() - began_at)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        work = flags.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        tally = series(work, n_kills=flags.kills, seed=flags.seed)
        print(json.dumps({"seed": flags.seed, **vars(tally)}))
    return 1 if tally.differences or tally.leftovers else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
