"""Every knob as a frozen dataclass, and the presets as values of them. Imports nothing heavy.

The string under a field is its help text and its source. Change a value with `dataclasses.replace`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ulmfit.errors import UserError, nearest

SPLITS = ("train", "valid", "test", "unsup")


def require(holds: bool, field: str, value: object, allowed: str) -> None:
    """Refuse a field's value, naming the flag, the value and what is allowed."""
    if not holds:
        raise UserError(f"--{field.replace('_', '-')} is {value!r}; allowed: {allowed}")


@dataclass(frozen=True)
class TextConfig:
    """How raw text becomes ids: rules, tokenizer and vocabulary."""

    tokenizer: str = "word"
    """word (spaCy's rules), subword (SentencePiece) or char. The paper uses words (Howard & Ruder 2018, 4.1)."""
    lang: str = "en"
    """Language of the word tokenizer: any code spaCy has a blank pipeline for."""
    rules: str = "fastai"
    """fastai (its eight default rules: repetitions, capitals, HTML; paper 4.1) or none."""
    min_freq: int = 3
    """A token seen less often than this is unknown (fastai 2.8)."""
    max_vocab: int = 60_000
    """Entries of the vocabulary, special tokens included (fastai 2.8: 60,000); pieces of a subword model."""
    fake_tokens: bool = False
    """Append fastai's xxfake entries up to a multiple of 8, for vocabularies that must match fastai's one for one."""
    vocab_splits: tuple[str, ...] = ("train", "unsup")
    """Splits whose text is counted for the vocabulary. Test text is counted only if it is named here."""
    sp_model: str | None = None
    """A SentencePiece .model to reuse, or the name of the language model it belongs to: en; by default the subword tokenizer trains its own."""
    sp_type: str = "unigram"
    """Kind of SentencePiece model to train: unigram (MultiFiT) or bpe."""
    on_empty: str = "drop"
    """What to do with empty or missing texts: drop the row, keep it as an empty document, or stop with an error."""
    label_kind: str = "category"
    """category (names), or number (regression). Several label columns, or label_delim, mean multi-label."""
    label_delim: str | None = None
    """Separator between the labels of one cell, for multi-label data in one column."""

    def __post_init__(self) -> None:
        require(
            self.tokenizer in ("word", "subword", "char"),
            "tokenizer",
            self.tokenizer,
            "word, subword, char",
        )
        require(self.rules in ("fastai", "none"), "rules", self.rules, "fastai, none")
        require(self.min_freq >= 1, "min_freq", self.min_freq, "1 or more")
        require(16 <= self.max_vocab <= 2**31 - 1, "max_vocab", self.max_vocab, "16 to 2147483647")
        require(self.sp_type in ("unigram", "bpe"), "sp_type", self.sp_type, "unigram, bpe")
        require(
            self.on_empty in ("drop", "keep", "error"),
            "on_empty",
            self.on_empty,
            "drop, keep, error",
        )
        require(
            self.label_kind in ("category", "number"),
            "label_kind",
            self.label_kind,
            "category, number",
        )
        allowed = ", ".join(SPLITS)
        require(
            bool(self.vocab_splits) and set(self.vocab_splits) <= set(SPLITS),
            "vocab_splits",
            self.vocab_splits,
            allowed,
        )


# The published presets counted test text as well; here that is a protocol of its own: `vocab_splits`.
PRESETS: dict[str, TextConfig] = {
    # Howard & Ruder 2018, 4.1 asks for spaCy words with tokens for capitals and repetition, and gives no sizes:
    # those of the library that came with it.
    "paper": TextConfig(),
    # The authors' scripts keep what occurs at least twice (imdb_scripts/tok2id.py), at most 60,000 as their IMDb
    # vocabulary; the script's own default is 30,000.
    "paper-code": TextConfig(min_freq=2),
    # fastai 1, NumericalizeProcessor: 60,000 and 3.
    "fastai-v1": TextConfig(),
    # fastai 2.8, make_vocab, phantom entries included: 60,008 entries when full.
    "fastbook": TextConfig(fake_tokens=True),
    # MultiFiT (Eisenschlos et al. 2019, 4): SentencePiece, 15,000 pieces.
    "multifit": TextConfig(tokenizer="subword", max_vocab=15_000),
    # The 12,000 pieces of the pretrained English language model: no word is unknown, and a small softmax, which on a
    # CPU would be a third of the cost of a step.
    "laptop": TextConfig(tokenizer="subword", max_vocab=12_000, sp_model="en"),
    "tiny": TextConfig(tokenizer="subword", max_vocab=12_000, sp_model="en"),
}


def preset(name: str) -> TextConfig:
    """Look a preset up by name."""
    if name not in PRESETS:
        raise UserError(f"no preset {name!r}: {nearest(name, PRESETS)}")
    return PRESETS[name]
