"""Write the demo corpus, demo.csv.gz: reviews composed by a seeded grammar from the hand-written files in material/.

In: material/common.txt and opinions.txt (shared), one more file a domain. Out: columns split, label, text, the same bytes
each time. Run `python data/generate.py`; the figures it prints are those of data/README.md.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

HERE = Path(__file__).resolve().parent
MATERIAL = HERE / "material"
SHARED = ("common.txt", "opinions.txt")
SEED = 2018
PAIRS = {
    "train": 1000,
    "test": 500,
    "unsup": 1000,
}  # each pair is one favourable and one unfavourable review
WORDS_PER_REVIEW = range(20, 81)
BUT = "connector"  # the material's list of them
CONTRASTED = ("PLAIN", "NEGATED", "COMPARISON", "SCOPE")
TURNS = ("NEGATED", "NEGATED", "CONCESSION", "COMPARISON", "EXPECTATION", "HEARSAY", "SCOPE")
PLAIN_SHARE = 0.6  # of the reviews: their opinion means what its words mean

Lexicon = dict[str, tuple[str, ...]]
Item = TypeVar("Item")


class Dice:
    """Draw at random; built on `random()` alone, whose values no Python version changes."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def pick(self, items: Sequence[Item]) -> Item:
        return items[int(self._random() * len(items))]

    def chance(self, probability: float) -> bool:
        return self._random() < probability

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        return sorted(items, key=lambda _: self._random())


# --- material -------------------------------------------------------------------------------------


HEADER = re.compile(r"^\[(\w+(?: [+-])?)\]$", re.M)


def read_lexicon(path: Path) -> Lexicon:
    """Read the sections of one file: [UPPER] holds a pattern a line, [lower] holds items between commas."""
    lexicon: Lexicon = {}
    _, *parts = HEADER.split(path.read_text(encoding="utf-8"))
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        items = body.splitlines() if name.isupper() else re.split(r",\s", body)
        lexicon[name] = tuple(item.strip() for item in items if item.strip())
    return lexicon


def read_domains() -> list[Lexicon]:
    """Join every domain's words with the shared ones; fillers of both kinds go into one list."""
    shared: Lexicon = {}
    for name in SHARED:
        shared |= read_lexicon(MATERIAL / name)
    domains = []
    for path in sorted(MATERIAL.glob("*.txt")):
        if path.name not in SHARED:
            own = read_lexicon(path)
            domains.append(shared | own | {"FILLERS": shared["FILLERS"] + own["FILLERS"] * 4})
    return domains


# --- one review -----------------------------------------------------------------------------------

CHOICE = re.compile(r"\[([^\[\]]*)\]")
VERDICT = re.compile(r"<([^<>]*)/([^<>]*)>")
BASE = {"did": "do", "loved": "love"}
PLURAL = {"is": "are", "was": "were"}
SLOT = re.compile(r"\{(good |bad |[-+@]?)([A-Za-z]+)(:cap)?\}")


@dataclass
class Review:
    """Fills patterns for one review: remembers its title and maker, and avoids saying anything twice."""

    words: Lexicon
    dice: Dice
    favourable: bool
    said: set[str] = field(default_factory=set)
    fixed: dict[str, str] = field(default_factory=dict)
    contrary: bool = False  # whether remarks contradict the verdict, or go either way
    plural: bool = False  # of the aspect named last, as the next line
    qualities: str = ""

    def __post_init__(self) -> None:
        self.fixed["is"] = self.dice.pick(self.words["tense"])
        self.fixed["title"] = title_case(self.render(self.dice.pick(self.words["TITLES"])))
        for name in ("maker", "band", "cinema"):
            if name in self.words:
                self.fixed[name] = self._draw(name)

    def render(self, pattern: str) -> str:
        """Make the choices of a pattern, then fill its slots from left to right."""
        while CHOICE.search(pattern):
            pattern = CHOICE.sub(lambda m: self.dice.pick(m[1].split("|")), pattern)
        pattern = VERDICT.sub(lambda m: m[1] if self.favourable else m[2], pattern)
        return SLOT.sub(lambda m: self._fill(m[1], m[2], m[3]), pattern)

    def _fill(self, sign: str, name: str, cap: str | None) -> str:
        if name in self.fixed:
            return self.fixed[name]
        for _ in range(9):  # look for something new; a short list may run out
            value = self._value(self._pole(sign), name)
            if value not in self.said:
                break
        self.said.add(value)
        return title_case(value) if cap else value

    def _pole(self, sign: str) -> str:
        """Say which of the lists "+" and "-" a slot's sign asks for in this review."""
        if sign == "@" and not self.contrary:
            return self.dice.pick("+-")
        if sign in ("+", "-", "@"):
            return "+" if (sign == "+") == self.favourable else "-"
        return {"good ": "+", "bad ": "-"}.get(sign, "")

    def _value(self, pole: str, name: str) -> str:
        """Dispatch the slots that need more than a draw from their list."""
        if name in ("winner", "loser"):
            return self.render("{this}" if (name == "winner") == self.favourable else "{rival}")
        if name == "are":
            return PLURAL[self.fixed["is"]] if self.plural else self.fixed["is"]
        if name == "aspect":
            aspect, _, self.qualities = self.dice.pick(self.words["ASPECTS"]).partition(": ")
            self.plural = aspect.endswith("*")
            return "the " + aspect.rstrip("*")
        if name == "quality":
            return self._quality(pole)
        if name == "phrase":
            noun = self._fill("", "aspect", None).removeprefix("the ")
            return f"the {self._quality(pole)} {noun}"
        if name == "strong":
            return self._draw(self.dice.pick(("grand ", "whole ")) + pole)
        if name == "CAPS":
            return self._value(pole, "strong").upper()
        if name in ("do", "love"):
            return self._draw(f"{name} {pole}").split(" = ")[0]
        if name in ("did", "loved"):
            return self._draw(f"{BASE[name]} {pole}").split(" = ")[1]
        return self._draw(f"{name} {pole}".strip())

    def _draw(self, name: str) -> str:
        return self.render(self.dice.pick(self.words[name]))

    def _quality(self, pole: str) -> str:
        """Pick an adjective for the aspect named last: one of its own, now and then a general one."""
        if self.dice.chance(0.2):
            return self._draw(f"grand {pole}")
        return self.dice.pick(self.qualities.split(" / ")[pole == "-"].split(", "))


def title_case(text: str) -> str:
    """Capitalise the words of a title, small words inside it excepted."""
    small = {"and", "of", "in", "for", "the", "a", "to", "from", "by"}
    article, rest = ("the ", text[4:]) if text.startswith("the ") else ("", text)
    words = [
        w if w in small and i else w[:1].upper() + w[1:] for i, w in enumerate(rest.split(" "))
    ]
    return article + " ".join(words)


# --- the shape of a review ------------------------------------------------------------------------


@dataclass(frozen=True)
class Draft:
    """A review in sentences, and its template: the patterns that they were made from."""

    sentences: tuple[str, ...]
    template: tuple[str, ...]


def plan(dice: Dice) -> list[str]:
    """Choose the section of each sentence: the verdict follows the remarks that may contradict it.

    BUT asks for a contrary remark and a word such as "nevertheless" before the next sentence.
    """
    before = ["FILLERS"] * dice.pick((0, 1, 1, 1, 2)) + ["REMARKS"] * dice.pick((0, 0, 0, 1, 1, 2))
    if dice.chance(PLAIN_SHARE):
        verdict = ["PLAIN"] * dice.pick((2, 2, 3))
    else:
        extra = dice.pick(("PLAIN", "PLAIN", "LITOTES", "")) if dice.chance(0.8) else ""
        verdict = [part for part in (extra, *dice.shuffled(TURNS)[: dice.pick((1, 2))]) if part]
    if "REMARKS" in before and verdict[0] in CONTRASTED and dice.chance(0.5):
        verdict.insert(0, BUT)
    after = ["FILLERS"] if dice.chance(0.2) else []
    return ["OPENERS", *dice.shuffled(before), *verdict, *after]


def draft(domain: Lexicon, dice: Dice, favourable: bool, seen: set[str]) -> Draft:
    """Write one review, of a permitted length and without a sentence that the corpus already has."""
    while True:
        sections = plan(dice)
        review = Review(domain, dice, favourable, contrary=BUT in sections)
        sentences: list[str] = []
        template: list[str] = []
        connector = ""
        for section in sections:
            pattern = dice.pick([p for p in domain[section] if p not in template])
            template.append(pattern)
            if section == BUT:
                connector = pattern + (" " if pattern.endswith(":") else ", ")
            else:
                sentences.append(polish(connector + review.render(pattern)))
                connector = ""
        n_words = sum(len(s.split()) for s in sentences)
        if n_words in WORDS_PER_REVIEW and seen.isdisjoint(sentences):
            seen.update(sentences)
            return Draft(tuple(sentences), tuple(template))


AN = re.compile(r"\b(a) (?!use|uni[cfl]|uku|euro|one\b)(?=[aeiou]|hour|heir|honest)", re.I)
BEGINNING = re.compile(r"(^|[.?!] )([\"(]?)([a-z])")


def polish(sentence: str) -> str:
    """Put the articles right and begin sentences with a capital."""
    sentence = AN.sub(r"\1n ", sentence)
    return BEGINNING.sub(lambda m: m[1] + m[2] + m[3].upper(), sentence)


# --- the looks of a review ------------------------------------------------------------------------

CONTRACTIONS = {
    r"\b(is|was|are|were|did|could|would|had|has|does) not (?=[a-z])": r"\1n't ",
    r"(?<!in )(?<!of )(?<!about )\b([Ii])t is (?=[a-z])": r"\1t's ",
    r"\bI am (?=[a-z])": "I'm ",
    r"\b(I|we|you|he|they) have (?=[a-z]+(?:ed|n)\b)": r"\1've ",
    r"\b([Cc])annot\b": r"\1an't",
    r"\b([Dd])o not\b": r"\1on't",
    r"\bI shall\b": "I'll",
}


def decorate(sentences: Sequence[str], dice: Dice) -> str:
    """Join the sentences the way people type: contractions, shouting, exclamation marks and line breaks."""
    lines = list(sentences)
    if dice.chance(0.5):
        lines = [contract(line) for line in lines]
    if dice.chance(0.12):
        lines = [
            re.sub(r"\b(not|never|nothing|nobody|loved|hated)\b", lambda m: m[1].upper(), line)
            for line in lines
        ]
    if dice.chance(0.15):
        lines[-1] = re.sub(r"[.!]$", dice.pick(("!", "!!!", "!!!!", "...")), lines[-1])
    joint = dice.pick(("<br /><br />", "<br />")) if dice.chance(0.08) else " "
    cut = 1 + dice.pick(range(len(lines) - 1))
    return joint.join((" ".join(lines[:cut]), " ".join(lines[cut:])))


def contract(sentence: str) -> str:
    for long, short in CONTRACTIONS.items():
        sentence = re.sub(long, short, sentence)
    return sentence


# --- the corpus -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    split: str
    label: str
    text: str
    template: tuple[str, ...]


def build(seed: int = SEED) -> list[Row]:
    """Write all reviews in pairs of one domain, and deal them out so that every split is balanced."""
    dice, domains = Dice(seed), read_domains()
    seen: set[str] = set()
    pairs = []
    for i in range(sum(PAIRS.values())):
        domain = domains[i % len(domains)]
        drafts = {label: draft(domain, dice, label == "pos", seen) for label in ("pos", "neg")}
        pairs.append(
            [(label, decorate(d.sentences, dice), d.template) for label, d in drafts.items()]
        )
    pairs = dice.shuffled(pairs)
    rows: list[Row] = []
    for split, size in PAIRS.items():
        reviews = [review for pair in pairs[:size] for review in pair]
        pairs = pairs[size:]
        for label, text, template in dice.shuffled(reviews):
            rows.append(Row(split, "" if split == "unsup" else label, text, template))
    return rows


def write(rows: Sequence[Row], out: Path) -> None:
    """Write the rows as gzipped CSV without a time stamp or a file name in it."""
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("split", "label", "text"))
    writer.writerows((row.split, row.label, row.text) for row in rows)
    with open(out, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        packed.write(table.getvalue().encode("utf-8"))


WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")


def describe(rows: Sequence[Row]) -> str:
    """Sum up what the corpus is made of."""
    words = Counter(word for row in rows for word in WORD.findall(row.text.lower()))
    templates = Counter(row.template for row in rows).most_common()
    patterns = Counter(pattern for row in rows for pattern in row.template).most_common()
    splits = Counter(row.split for row in rows)
    often = sum(n >= 3 for n in words.values())
    lines = [
        "reviews: " + ", ".join(f"{split} {n}" for split, n in splits.items()),
        f"words: {words.total()}, of {len(words)} types, {often} of which occur three times or more",
        f"templates: {len(templates)}, the largest {templates[0][1] / len(rows):.2%} of the reviews",
        f"sentence patterns: {len(patterns)}, the largest in {patterns[0][1] / len(rows):.2%} of them",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the demo corpus.")
    parser.add_argument("--out", type=Path, default=HERE / "demo.csv.gz")
    args = parser.parse_args()
    corpus = build()
    write(corpus, args.out)
    print(describe(corpus))
