"""The rules that text goes through before it is split: plain functions from text to text.

`RULES["fastai"]` are the eight default rules of fastai 2.8 in their order, plus `escape_controls`, which keeps
control words typed by a user from being taken for control tokens. Howard & Ruder 2018, 4.1 asks for such tokens.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable

UNK, PAD, BOS, EOS, FLD, REP, WREP, UP, MAJ = (
    "xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxrep", "xxwrep", "xxup", "xxmaj",
)  # fmt: skip
CONTROL_TOKENS = (UNK, PAD, BOS, EOS, FLD, REP, WREP, UP, MAJ)  # their ids are 0 to 8, always
Rule = Callable[[str], str]

_CONTROL_WORD = re.compile(
    r"(?<![^\W\d_])(x)x(?=(?:pad|bos|eos|fld|rep|wrep|up|maj)(?![^\W\d_]))", re.IGNORECASE
)
_ESCAPED_WORD = re.compile(r"(x)ˣ(?=(pad|bos|eos|fld|rep|wrep|up|maj)$)", re.IGNORECASE)
_REPEATED_CHARACTER = re.compile(r"(\S)(\1{2,})")
_REPEATED_WORD = re.compile(r"(?:\s|^)(\w+)\s+((?:\1\s+)+)\1(\s|\W|$)")
_SPACED_CHARACTER = re.compile(r"([/#\\])")
_SPACES = re.compile(" {2,}")
_ALL_CAPS = re.compile(r"(\s|^)([A-Z]+[^a-z\s]*)(?=(\s|$))")
_CAPITALISED = re.compile(r"(\s|^)([A-Z][^A-Z\s]*)(?=(\s|$))")


def fix_html(text: str) -> str:
    """Undo broken entities, `<br />`, WikiText's ` @-@ ` and three dots, then unescape HTML."""
    # A test for one character is far cheaper than a replacement that finds nothing.
    semicolon, backslash, less = ";" in text, "\\" in text, "<" in text
    if semicolon:
        text = text.replace("#39;", "'").replace("amp;", "&").replace("#146;", "'")
        text = text.replace("nbsp;", " ").replace("#36;", "$")
    if backslash:
        text = text.replace("\\n", "\n")
    if semicolon:
        text = text.replace("quot;", "'")
    if less:
        text = text.replace("<br />", "\n")
    if backslash:
        text = text.replace('\\"', '"')
    if less:
        text = text.replace("<unk>", UNK)
    if "@" in text:
        text = text.replace(" @.@ ", ".").replace(" @-@ ", "-")
    text = text.replace("...", " …")
    return html.unescape(text) if "&" in text else text


def escape_controls(text: str) -> str:
    """Turn a control word that a user typed, such as `xxpad`, into an ordinary word (`xˣpad`).

    `xxunk` stays: its token means "unknown word", which is what a typed control word is.
    """
    if "xx" in text.lower():
        return _CONTROL_WORD.sub(r"\1ˣ", text)
    return text


def unescape_controls(token: str) -> str:
    """Give a token made by `escape_controls` its typed spelling back."""
    if "ˣ" in token:
        return _ESCAPED_WORD.sub(lambda m: m[1] + ("X" if m[2].isupper() else "x"), token)
    return token


def replace_rep(text: str) -> str:
    """Count repeated characters: `cccc` becomes ` xxrep 4 c `."""
    return _REPEATED_CHARACTER.sub(lambda m: f" {REP} {len(m[2]) + 1} {m[1]} ", text)


def replace_wrep(text: str) -> str:
    """Count repeated words: `so so so good` becomes ` xxwrep 3 so  good`."""
    return _REPEATED_WORD.sub(lambda m: f" {WREP} {len(m[2].split()) + 2} {m[1]} {m[3]}", text)


def has_repeated_word(text: str) -> bool:
    """Tell whether `replace_wrep` would change `text`."""
    return _REPEATED_WORD.search(text) is not None


def spec_add_spaces(text: str) -> str:
    r"""Put spaces around `/`, `#` and `\`."""
    return _SPACED_CHARACTER.sub(r" \1 ", text)


def rm_useless_spaces(text: str) -> str:
    """Shorten runs of spaces to one."""
    return _SPACES.sub(" ", text)


def replace_all_caps(text: str) -> str:
    """Lower-case words in capitals and put `xxup` before those of two letters or more."""
    return _ALL_CAPS.sub(lambda m: f"{m[1]}{UP + ' ' if len(m[2]) > 1 else ''}{m[2].lower()}", text)


def replace_maj(text: str) -> str:
    """Lower-case capitalised words and put `xxmaj` before those of two letters or more."""
    return _CAPITALISED.sub(
        lambda m: f"{m[1]}{MAJ + ' ' if len(m[2]) > 1 else ''}{m[2].lower()}", text
    )


def lowercase(text: str) -> str:
    """Lower-case everything and strip both ends."""
    return text.lower().strip()


def replace_space(token: str) -> str:
    """Show a space inside a token as `▁`, so that tokens can be joined by spaces and split again."""
    return token.replace(" ", "▁")


RULES: dict[str, tuple[Rule, ...]] = {
    "fastai": (
        fix_html, escape_controls, replace_rep, replace_wrep, spec_add_spaces, rm_useless_spaces,
        replace_all_caps, replace_maj, lowercase,
    ),
    "none": (escape_controls, str.strip),
}  # fmt: skip

# The rules that look no further than a run of text without white space; stripping is the caller's.
CHUNK_RULES: dict[str, tuple[Rule, ...]] = {
    "fastai": (replace_rep, spec_add_spaces, replace_all_caps, replace_maj, str.lower),
    "none": (),
}


def apply_rules(name: str, text: str) -> str:
    """Apply all rules of a set, in order."""
    for rule in RULES[name]:
        text = rule(text)
    return text
