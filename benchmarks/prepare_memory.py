"""Peak memory of `prepare` on a corpus and on ten times the same corpus.

    python benchmarks/prepare_memory.py imdb --data-dir DIR

Writes 25,000 documents of the source to one CSV file and the same ten times over to another, prepares each in a
process of its own without a cache, and prints one JSON line with the peak resident memory of both, their
ratio, and the size of the files. A ratio of 1 means that memory does not depend on the length of a corpus.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ulmfit.text.sources import open_source

PREPARE = """
import sys
import ulmfit
from peak import peak_mb
corpus = ulmfit.prepare(sys.argv[1], sys.argv[2], label=None)
print(peak_mb(), len(corpus.ids))
"""


def measure(path: Path, out: Path) -> tuple[float, int]:
    run = subprocess.run(
        [sys.executable, "-c", PREPARE, str(path), str(out)],
        env=os.environ | {"ULMFIT_CACHE": "off", "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    peak, tokens = run.stdout.split()
    return float(peak), int(tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", help="a file, or the name of a data set")
    parser.add_argument("--data-dir")
    parser.add_argument("--text", default="text")
    parser.add_argument("--documents", type=int, default=25_000)
    args = parser.parse_args()
    source = open_source(args.source, text=args.text, label=None, data_dir=args.data_dir)
    texts = [text for batch in source.batches() for text in batch.fields[0]][: args.documents]
    sizes = []
    with tempfile.TemporaryDirectory() as folder:
        for times in (1, 10):
            path = Path(folder) / f"{times}.csv"
            with open(path, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["text"])
                for _ in range(times):
                    writer.writerows([text] for text in texts)
            peak, tokens = measure(path, Path(folder) / f"corpus{times}")
            file_mb = path.stat().st_size / 1e6
            sizes.append(
                {"file_mb": round(file_mb), "tokens": tokens, "peak_resident_mb": round(peak)}
            )
    ratio = sizes[1]["peak_resident_mb"] / sizes[0]["peak_resident_mb"]
    print(json.dumps({"benchmark": "memory of prepare", "sizes": sizes, "ratio": round(ratio, 3)}))


if __name__ == "__main__":
    main()
