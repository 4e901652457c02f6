"""Look for files that a reader neither reads nor refuses in one line, guided by the code that they reach.

    pip install atheris
    python tests/fuzz.py "model manifest" d.csv vocab.pkl --seconds 120 --seed 0      (all readers without names)

Each reader begins from an honest file, in a process of its own. Prints one line of JSON for each; a finding is
kept in the current folder as crash-*, and the exit code is 1. The laws that hypothesis tries at every change
are in test_fuzz_*.py.
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
Reader = Callable[[bytes], Any]


def readers(home: Path) -> dict[str, tuple[Reader, bytes]]:
    """List what reads a file that somebody else wrote, with an honest one for each."""
    import test_fuzz_archives as archives
    import test_fuzz_artefacts as artefacts
    import test_fuzz_readers as tables
    import torch
    from hostile import lawful, replaced

    from ulmfit.models.foreign import read_foreign, read_tokens
    from ulmfit.text.archives import unpack

    found: dict[str, tuple[Reader, bytes]] = {}

    def add(name: str, path: Path, whole: bytes, *uses: Callable[[], Any]) -> None:
        path.write_bytes(whole)

        def read(content: bytes) -> None:
            with replaced(path, content):
                for use in uses:
                    lawful(use)

        found[name] = read, whole

    artefacts.write_home(home)
    for name, (use, folder, file) in artefacts.READERS.items():
        path = home / folder / file if file else home / folder
        add(
            name,
            path,
            path.read_bytes(),
            lambda use=use, at=home / folder, name=name: artefacts.forged(
                home, name, lambda: use(at)
            ),
        )
    for name, (path, whole) in tables.files(home).items():
        add(name, path, whole, lambda path=path: tables.read(path))
    vocab = home / "tokens.json"
    vocab.write_text(json.dumps(archives.TOKENS))
    for is_zip in (True, False):
        path = home / f"lm-{is_zip}.pth"
        torch.save(archives.lm_tensors(), path, _use_new_zipfile_serialization=is_zip)
        kind = "zip" if is_zip else "pickle"
        add(
            f"weights as {kind}",
            path,
            path.read_bytes(),
            lambda path=path: read_foreign(path, vocab),
        )
    path = home / "vocab.pkl"
    add("vocab.pkl", path, pickle.dumps(archives.TOKENS), lambda: read_tokens(path))
    for suffix in (".tgz", ".zip"):
        inner = home / f"alone{suffix}" / "home"
        inner.mkdir(parents=True)
        archive = inner / f"d{suffix}"
        whole = archives.build(inner, suffix)

        def use(inner: Path = inner, archive: Path = archive) -> None:
            lawful(lambda: unpack(archive, "set", limit_bytes=archives.MB))
            archives.require_inside(inner, archive)

        add(suffix, archive, whole, use)
    return found


def fuzz_one(name: str, home: Path, more: list[str]) -> None:
    """Let atheris try one reader until its time is up; does not return."""
    import atheris

    with atheris.instrument_imports(include=["ulmfit"]):
        import ulmfit.cli
        import ulmfit.evaluation.folder
        import ulmfit.training.run  # noqa: F401  (all that reads)

        read, whole = readers(home)[name]
    seeds = home / "seeds"
    seeds.mkdir()
    (seeds / "honest").write_bytes(whole)
    read(whole)
    atheris.Setup([sys.argv[0], *more, str(seeds)], read)
    atheris.Fuzz()


def main() -> int:
    """Fuzz each reader that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        limits = [f"-max_total_time={asked.seconds}", f"-seed={asked.seed + 1}", "-timeout=20"]
        fuzz_one(
            asked.names[0], Path(asked.inside), [*limits, "-rss_limit_mb=4096", "-max_len=20000"]
        )
    with tempfile.TemporaryDirectory() as folder:
        known = list(readers(Path(folder)))
    if unknown := set(asked.names) - set(known):
        parser.error(f"no reader {sorted(unknown)}: {known}")
    is_clean = True
    for name in asked.names or known:
        with tempfile.TemporaryDirectory() as folder:
            argv = [sys.executable, __file__, name, "--inside", folder]
            argv += ["--seconds", str(asked.seconds), "--seed", str(asked.seed)]
            done = subprocess.run(argv, capture_output=True, text=True)
        tries = re.findall(r"(?m)^(?:Done|#)(\d+|\s\d+)", done.stderr)
        covered = re.findall(r"cov: (\d+)", done.stderr)
        told = {
            "reader": name,
            "tries": int(tries[-1]) if tries else 0,
            "covered": int(covered[-1]) if covered else 0,
            "found": done.returncode != 0,
        }
        print(json.dumps(told), flush=True)
        if done.returncode:
            is_clean = False
            print((done.stdout + done.stderr)[-4_000:], file=sys.stderr)
    return 0 if is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
