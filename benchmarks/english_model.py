"""How good a pretrained English language model is on WikiText-103's valid and test articles, and what it costs to load.

    python benchmarks/english_model.py --data-dir DIR [--lm en] [--splits valid test] [--articles 0]

DIR holds `wikitext-103-eval/wiki103.{valid,test}.tokens.xz`, which are also WikiText-2's but for rare
words. Their spacing is undone first, as the model knows running text: marks of numbers and hyphens,
blanks around punctuation and quotes, heading lines. Each article is read from its beginning (a
backward model: from its end) with a fresh state. `bits_per_character` counts the characters of that
running text and may be compared across tokenizers. `perplexity_per_word` spreads the same nats over
the tokens of the published files, line ends included, as their perplexities do; but published models
know a closed vocabulary with <unk>, read one stream and were trained on 103 M tokens of the same
articles' kind. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
import re
import time
from pathlib import Path

import ulmfit

_TITLE = re.compile(r"^ ((?:= )+)(.*?)(?: =)+ $")
_JOINS = (
    (re.compile(r" @([-,.])@ "), r"\1"),
    (re.compile(r" ([,.;:!?%)\]}])"), r"\1"),
    (re.compile(r"([(\[{$£€#]) "), r"\1"),
    (re.compile(r"(\w) (n't|'\w+)\b"), r"\1\2"),
    (re.compile(r"(\w) ' (?=\w)"), r"\1' "),
    (re.compile(r'" ([^"]*?) "'), r'"\1"'),
)


def running_text(lines: list[str]) -> str:
    """Undo the spacing of an article's tokens."""
    written = []
    for line in lines:
        line = _TITLE.sub(r"\2.", line.rstrip("\n"))
        for pattern, joined in _JOINS:
            line = pattern.sub(joined, line)
        if line.strip():
            written.append(line.strip())
    return "\n".join(written)


def articles(path: Path) -> list[list[str]]:
    """Cut a file into articles; one begins at a heading of the first level."""
    found: list[list[str]] = []
    with lzma.open(path, "rt", encoding="utf8", newline="\n") as file:
        for line in file:
            heading = _TITLE.match(line.rstrip("\n"))
            if not found or (heading and heading.group(1) == "= "):
                found.append([])
            found[-1].append(line)
    return [lines for lines in found if any(line.strip() for line in lines)]


def measure(lm: ulmfit.LanguageModel, documents: list[list[str]]) -> dict[str, float]:
    """Score the articles, and spread the loss over characters, pieces and published tokens."""
    scores = lm.score([running_text(lines) for lines in documents])
    nats = sum(score.nats for score in scores)
    n_published = sum(len(line.split()) + 1 for lines in documents for line in lines)
    return {
        "bits_per_character": round(
            nats / math.log(2) / sum(score.n_characters for score in scores), 4
        ),
        "perplexity_per_token": round(math.exp(nats / sum(s.n_tokens for s in scores)), 2),
        "perplexity_per_word": round(math.exp(nats / n_published), 2),
        "published_tokens": n_published,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--lm", default="en", help="a name or a folder")
    parser.add_argument("--splits", nargs="+", default=["valid", "test"])
    parser.add_argument("--articles", type=int, default=0, help="only so many; 0 for all")
    options = parser.parse_args()
    from ulmfit.inference.pair import open_lm

    start = time.perf_counter()
    opened = open_lm(options.lm)
    seconds = time.perf_counter() - start
    models = opened if isinstance(opened, ulmfit.LanguageModelPair) else (opened,)
    found = {}
    for split in options.splits:
        path = Path(options.data_dir, "wikitext-103-eval", f"wiki103.{split}.tokens.xz")
        documents = articles(path)[: options.articles or None]
        found[split] = {lm.direction: measure(lm, documents) for lm in models}
    size = sum(path.stat().st_size for path in opened.folder.rglob("*") if path.is_file())
    print(
        json.dumps(
            {
                "lm": str(options.lm),
                "mb": round(size / 1e6, 2),
                "load_seconds": round(seconds, 2),
                "articles": options.articles or "all",
                **found,
            }
        )
    )


if __name__ == "__main__":
    main()
