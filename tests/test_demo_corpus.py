"""The demo corpus: its counts, its variety, that bags of words do not solve it, and that it regenerates.

Everything is measured on data/demo.csv.gz itself; nothing is imported from the generator.
"""

from __future__ import annotations

import csv
import gzip
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

DATA = Path(__file__).resolve().parents[1] / "data"
CORPUS = DATA / "demo.csv.gz"
WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")


class Review(NamedTuple):
    split: str
    label: str
    text: str

    def words(self) -> list[str]:
        return WORD.findall(self.text.replace("<br />", " ").lower())

    def sentences(self) -> list[str]:
        return re.split(r"(?<=[.!?])\s+", self.text.replace("<br />", " "))


@pytest.fixture(scope="module")
def reviews() -> list[Review]:
    with gzip.open(CORPUS, "rt", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["split", "label", "text"]
    return [Review(*row) for row in rows]


def skeletons(texts: list[list[str]], n_kept: int) -> Counter[str]:
    """Keep the commonest words of the corpus and reduce each run of other words to one blank."""
    common = {w for w, _ in Counter(w for words in texts for w in words).most_common(n_kept)}
    marked = (" ".join(w if w in common else "_" for w in words) for words in texts)
    return Counter(re.sub(r"_( _)+", "_", line) for line in marked)


def test_splits_have_their_sizes_and_are_balanced(reviews: list[Review]) -> None:
    cells = Counter((review.split, review.label) for review in reviews)
    assert cells == {
        ("train", "pos"): 1000,
        ("train", "neg"): 1000,
        ("test", "pos"): 500,
        ("test", "neg"): 500,
        ("unsup", ""): 2000,
    }


def test_reviews_are_short_and_distinct(reviews: list[Review]) -> None:
    assert len({" ".join(review.words()) for review in reviews}) == len(reviews)
    lengths = [len(review.text.replace("<br />", " ").split()) for review in reviews]
    assert min(lengths) >= 20 and max(lengths) <= 80


def test_vocabulary_is_broad(reviews: list[Review]) -> None:
    counts = Counter(word for review in reviews for word in review.words())
    assert len(counts) >= 3500
    assert sum(n >= 3 for n in counts.values()) >= 3000
    assert CORPUS.stat().st_size < 600_000


@pytest.mark.parametrize("n_kept", [60, 120, 240])
def test_no_template_exceeds_one_percent(reviews: list[Review], n_kept: int) -> None:
    counts = skeletons([review.words() for review in reviews], n_kept)
    assert max(counts.values()) <= 0.01 * len(reviews)


def test_skeletons_see_a_template() -> None:
    texts = [f"i saw {name} and it was {mood}".split() for name in "abc" for mood in ("x", "y")]
    assert skeletons(texts, 5) == {"i saw _ and it was _": 6}


def test_test_sentences_are_not_in_train(reviews: list[Review]) -> None:
    def long_sentences(split: str) -> list[str]:
        found = (s for r in reviews if r.split == split for s in r.sentences())
        return [s.lower() for s in found if len(s.split()) >= 5]

    seen, asked = set(long_sentences("train")), long_sentences("test")
    assert sum(sentence in seen for sentence in asked) <= 0.01 * len(asked)


@pytest.mark.parametrize("n_gram", [1, 2])
def test_bags_of_words_do_not_solve_it(reviews: list[Review], n_gram: int) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    train = [review for review in reviews if review.split == "train"]
    test = [review for review in reviews if review.split == "test"]
    features = TfidfVectorizer(ngram_range=(1, n_gram), sublinear_tf=True)
    model = make_pipeline(features, LogisticRegression(C=10, max_iter=2000))
    model.fit([review.text for review in train], [review.label for review in train])
    accuracy = model.score([review.text for review in test], [review.label for review in test])
    assert 0.6 <= accuracy <= 0.86


def test_polar_words_stand_on_both_sides(reviews: list[Review]) -> None:
    counts: dict[str, Counter[str]] = {label: Counter() for label in ("pos", "neg", "")}
    for review in reviews:
        counts[review.label].update(set(review.words()))
    praise = [
        "superb",
        "brilliant",
        "great",
        "loved",
        "triumph",
        "delighted",
        "gripping",
        "comfortable",
    ]
    blame = ["dreadful", "dull", "bad", "hated", "disaster", "bored", "tedious", "flimsy"]
    for words, contrary in ((praise, "neg"), (blame, "pos")):
        assert all(counts[contrary][word] for word in words)
        on_both = sum(counts["pos"][word] + counts["neg"][word] for word in words)
        assert sum(counts[contrary][word] for word in words) >= 0.15 * on_both


def test_text_is_clean_but_lively(reviews: list[Review]) -> None:
    everything = "\n".join(review.text for review in reviews)
    plain = everything.replace("<br />", "")
    assert not re.search(r"[<>{}\[\]|@_*=+]|  |\bxx[a-z]+\b|&\w+;", plain)
    assert not re.search(r"\b[Aa] (?=[aei])", plain)
    for quirk in ("<br />", "!!!", "sooo", "n't", '"'):
        assert everything.count(quirk) >= 20, quirk
    assert len(re.findall(r"\b[A-Z]{4,}\b", plain)) >= 100
    assert len(re.findall(r"\b\d+\b", plain)) >= 500


def test_generator_writes_the_same_corpus(tmp_path: Path) -> None:
    outs = [tmp_path / "first.csv.gz", tmp_path / "second.csv.gz"]
    for out in outs:
        command = [sys.executable, str(DATA / "generate.py"), "--out", str(out)]
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    assert outs[0].read_bytes() == outs[1].read_bytes()
    # the compressed bytes may differ between builds of zlib, the text may not
    assert gzip.decompress(outs[0].read_bytes()) == gzip.decompress(CORPUS.read_bytes())
