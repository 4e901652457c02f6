"""Exercise 1: tokens -> ids."""

from __future__ import annotations

from random import Random

from ulmfit.exercises.exercise import Exercise, Wrong

_WORDS = ("the", "film", "is", "a", "bore", "joy", "xxmaj", "xxbos", "The", "Film")


def numericalise(tokens: list[str], vocab: list[str]) -> list[int]:
    """Give the id of each token, that of "xxunk" for a token that is not in the vocabulary."""
    ids = []
    for token in tokens:
        found = vocab.index("xxunk")
        for i, entry in enumerate(vocab):
            if entry == token:
                found = i
        ids.append(found)
    return ids


def _solution(tokens: list[str], vocab: list[str]) -> list[int]:
    ids = {token: i for i, token in enumerate(vocab)}  # one dictionary instead of a search a token
    return [ids.get(token, ids["xxunk"]) for token in tokens]


def _make(random: Random, size: int) -> tuple[list[str], list[str]]:
    known = random.sample(_WORDS, min(size - 1, len(_WORDS) - 2))
    vocab = random.sample([*known, "xxunk"], len(known) + 1)
    return [random.choice((*_WORDS, "xxunk")) for _ in range(size)], vocab


def _always_zero(tokens: list[str], vocab: list[str]) -> list[int]:
    return [vocab.index(token) if token in vocab else 0 for token in tokens]


def _left_out(tokens: list[str], vocab: list[str]) -> list[int]:
    return [vocab.index(token) for token in tokens if token in vocab]


def _minus_one(tokens: list[str], vocab: list[str]) -> list[int]:
    return [vocab.index(token) if token in vocab else -1 for token in tokens]


def _new_id(tokens: list[str], vocab: list[str]) -> list[int]:
    return [vocab.index(token) if token in vocab else len(vocab) for token in tokens]


def _added(tokens: list[str], vocab: list[str]) -> list[int]:
    own = list(vocab)
    return [
        own.index(token) if token in own else own.append(token) or len(own) - 1 for token in tokens
    ]


def _lowered(tokens: list[str], vocab: list[str]) -> list[int]:
    return _solution([token.lower() for token in tokens], vocab)


def _list_search(tokens: list[str], vocab: list[str]) -> list[int]:
    return [vocab.index(token) for token in tokens]


def _dict_search(tokens: list[str], vocab: list[str]) -> list[int]:
    ids = {token: i for i, token in enumerate(vocab)}
    return [ids[token] for token in tokens]


_NO_UNKNOWN = "a token that is not in the vocabulary is no error: its id is that of xxunk."

NUMERICALISE = Exercise(
    title="Numericalise",
    task="""\
A model reads numbers. The vocabulary is a list of tokens, and the **id** of a token is its place in that list.

Give the list of ids of `tokens`. A token that is not in the vocabulary gets the id of `xxunk`, *wherever* `xxunk` stands.
The text has been tokenized already: take tokens as they are.""",
    spec=numericalise,
    make=_make,
    hint="each token's id is its place in `vocab`; one that is not there gets the place of xxunk. One id for each token.",
    wrong=(
        Wrong(
            _always_zero,
            "unknown tokens got id 0. xxunk is often first, but it need not be: look its place up, else unknown "
            "words silently become whatever word stands there.",
        ),
        Wrong(
            _left_out,
            "unknown tokens are missing from your ids. One id for each token: an unknown word still stands in the "
            "sentence, as xxunk.",
        ),
        Wrong(_minus_one, "-1 is no row of an embedding: unknown tokens get the id of xxunk."),
        Wrong(
            _new_id,
            "unknown tokens got an id beyond the vocabulary, for which the embedding has no row: give them that of xxunk.",
        ),
        Wrong(
            _added,
            "a vocabulary must not grow while texts are read: the embedding has no row for new ids. Unknown tokens get "
            "the id of xxunk.",
        ),
        Wrong(
            _lowered,
            "you have changed the case of tokens. That is the tokenizer's work, and it leaves a mark (xxmaj): look "
            "tokens up as they are.",
        ),
        Wrong(_list_search, _NO_UNKNOWN),
        Wrong(_dict_search, _NO_UNKNOWN),
    ),
    solution=_solution,
    home="ulmfit/text/vocab.py",
)
