"""Guess the language of some texts from their function words and scripts, just well enough to notice a mistake.

In: a few hundred texts. Out: a language code, or None when nothing stands out.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Iterable

NAMES: dict[str, str] = {
    "ar": "Arabic", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English",
    "es": "Spanish", "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian",
    "it": "Italian", "ja": "Japanese", "ko": "Korean", "nb": "Norwegian", "nl": "Dutch", "pl": "Polish",
    "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sv": "Swedish", "th": "Thai", "tr": "Turkish",
    "uk": "Ukrainian", "zh": "Chinese",
}  # fmt: skip
# Languages written without spaces, or by one language alone: their letters say enough. Japanese is asked for before
# Chinese, whose characters it also uses.
SCRIPTS: dict[str, str] = {
    "ja": r"[\u3040-\u30ff]",
    "ko": r"[\uac00-\ud7af]",
    "th": r"[\u0e00-\u0e7f]",
}
SCRIPTS["zh"] = r"[\u4e00-\u9fff]"
_WORD = re.compile(r"[^\W\d_]+")
_MIN_WORDS = 30
_MIN_SCRIPT = 0.2  # of the letters; Japanese is at least that much kana
_MIN_SHARE = 0.15  # of the words; running text is a third to a half function words
_MARGIN = 1.3  # by how much a language must lead before it is believed over the expected one


def looks_like(texts: Iterable[str], expected: str) -> str | None:
    """Return the code of a language other than `expected` that the texts seem to be in, or None."""
    text = "\n".join(texts)
    if script := _script(text):
        return script if script != expected else None
    words = Counter(_WORD.findall(text.lower()))
    if words.total() < _MIN_WORDS:
        return None
    shares = {lang: _share(words, stop_words(lang)) for lang in NAMES.keys() - SCRIPTS.keys()}
    best = max(sorted(shares), key=lambda lang: shares[lang])
    # An expected language without a list of function words cannot be compared.
    rival = shares.get(expected, _share(words, stop_words(expected)))
    if best == expected or shares[best] < max(_MIN_SHARE, _MARGIN * rival):
        return None
    return best


def stop_words(lang: str) -> frozenset[str]:
    """Return spaCy's function words of a language; none when it has no list."""
    try:
        return frozenset(importlib.import_module(f"spacy.lang.{lang}.stop_words").STOP_WORDS)
    except ImportError:
        return frozenset()


def _script(text: str) -> str | None:
    n_letters = sum(map(str.isalpha, text))
    for lang, letters in SCRIPTS.items():
        if n_letters and len(re.findall(letters, text)) / n_letters >= _MIN_SCRIPT:
            return lang
    return None


def _share(words: Counter[str], known: frozenset[str]) -> float:
    return sum(n for word, n in words.items() if word in known) / words.total()
