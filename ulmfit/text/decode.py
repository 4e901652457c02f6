"""Tokens -> readable text: the rules undone, as far as they can be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ulmfit.text.rules import (
    BOS,
    CONTROL_TOKENS,
    EOS,
    FLD,
    MAJ,
    PAD,
    REP,
    UNK,
    UP,
    WREP,
    unescape_controls,
)

_NO_SPACE_BEFORE = re.compile(r"[.,!?;:)\]}%…”’]+$|^(?:'|n't$|’)")
_NO_SPACE_AFTER = re.compile(r"[(\[{“‘$#/]$")
_CLITIC = re.compile(r"^(?:['’](?:s|d|m|ll|re|ve|t)|n['’]t)$", re.IGNORECASE)
_MOST_DIGITS = 4  # of a count: a generated text can ask for any number


def decode_words(tokens: Iterable[str]) -> str:
    """Join the tokens of the word tokenizer, with spaces where English typography wants them."""
    text, quoted = "", False
    glue = True  # no space before the next token
    for token in _expand(tokens):
        if token.isspace() or ("▁" in token and not token.strip("▁ \n\t\r")):
            text, glue = text + token.replace("▁", " "), True
            continue
        opens = token == '"' and not quoted
        closes = token == '"' and quoted
        quoted ^= token == '"'
        tight = (
            glue or closes or _CLITIC.match(token) or (_NO_SPACE_BEFORE.match(token) and not opens)
        )
        text += token if tight else f" {token}"
        glue = opens or bool(_NO_SPACE_AFTER.search(token))
    return text.strip()


def decode_pieces(tokens: Iterable[str]) -> str:
    """Join pieces or characters to words at the `▁` that begins each, then join the words."""
    text = "".join(f"▁{token}▁" if token in CONTROL_TOKENS else token for token in tokens)
    joined = " ".join(_expand(word for word in text.split("▁") if word))
    return joined.replace(" \n", "\n").replace("\n ", "\n")


def _expand(tokens: Iterable[str]) -> Iterator[str]:
    """Carry out the control tokens: each acts on what follows it, once."""
    stream = iter(tokens)
    for token in stream:
        if token in (BOS, EOS, PAD):
            continue
        if token == FLD:
            next(stream, None)  # the field's number
            yield "\n"
        elif token in (UP, MAJ):
            word = next(_beyond_marks(stream), "")
            capital = word.upper() if token == UP else word[:1].upper() + word[1:]
            yield word if word == UNK else unescape_controls(capital)
        elif token in (REP, WREP):
            yield from _repeat(token, next(stream, ""), next(stream, ""))
        else:
            yield unescape_controls(token)


def _beyond_marks(stream: Iterator[str]) -> Iterator[str]:
    """Skip what does not act on a mark of capitals, and only a model would write after one."""
    return (token for token in stream if token not in (UP, MAJ, BOS, EOS, PAD))


def _repeat(token: str, count: str, repeated: str) -> list[str]:
    """Repeat a character without spaces, or a word; what does not fit the pattern stays as it is."""
    if not count.isdecimal() or not repeated or len(count) > _MOST_DIGITS:
        return [part for part in (token, count, repeated) if part]
    return [repeated * int(count)] if token == REP else [repeated] * int(count)
