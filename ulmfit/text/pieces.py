"""The two tokenizers that look into words: SentencePiece pieces, and characters.

Both mark the beginning of a word with `▁` and never let a token reach over white space, so that a text's tokens
follow from its words'.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ulmfit.errors import UserError
from ulmfit.files import atomic_file, hash_file
from ulmfit.text.rules import BOS, CONTROL_TOKENS, EOS, PAD, UNK
from ulmfit.text.spans import Splitter

WORD_START = "▁"
_TRAINING_CHARACTERS = (
    40_000_000  # of text for a SentencePiece model: more changes little and takes memory
)
_MAX_SENTENCE_BYTES = 100_000
_FEW = 32  # spans; for more than that SentencePiece's way to take a list is the faster one


class SubwordSplitter(Splitter):
    """Split spans into the pieces of a SentencePiece model."""

    def __init__(self, model: str | Path) -> None:
        from sentencepiece import SentencePieceProcessor

        if not Path(model).is_file():
            raise UserError(f"there is no SentencePiece model {model}: check --sp-model")
        self.model = Path(model)
        self.fingerprint = f"sentencepiece-{hash_file(model)}"
        try:
            self._processor: Any = SentencePieceProcessor(model_file=str(model))
        except (RuntimeError, OSError) as error:
            raise UserError(
                f"{model} is not a SentencePiece model: give the .model file"
            ) from error

    def split(self, spans: list[str]) -> tuple[list[list[str]], list[bool]]:
        """Return the pieces of each span."""
        encode = self._processor.encode
        few = len(spans) <= _FEW
        pieces = [encode(s, out_type=str) for s in spans] if few else encode(spans, out_type=str)
        return pieces, [False] * len(spans)

    def white(self, run: str) -> list[str]:
        """Return nothing: SentencePiece keeps no line breaks."""
        return []

    def vocabulary(self) -> list[str]:
        """Return the control tokens, then the model's own pieces in the order of the model."""
        model = self._processor
        ids = [
            i
            for i in range(len(model))
            if not (model.is_control(i) or model.is_unknown(i) or model.is_unused(i))
        ]
        pieces = [model.id_to_piece(i) for i in ids]
        return [
            *CONTROL_TOKENS,
            *(p for p in pieces if p.removeprefix(WORD_START) not in CONTROL_TOKENS),
        ]


class CharSplitter(Splitter):
    """Split spans into characters."""

    fingerprint = "char-1"

    def split(self, spans: list[str]) -> tuple[list[list[str]], list[bool]]:
        """Return the mark of a word's beginning and the characters of each span."""
        return [[WORD_START, *span] for span in spans], [False] * len(spans)

    def white(self, run: str) -> list[str]:
        """Return the characters of white space, but for its spaces."""
        return [character for character in run if character != " "]


def train_subwords(texts: Iterable[str], out: str | Path, *, n_pieces: int, kind: str) -> Path:
    """Train a SentencePiece model on texts that have been through the rules, and write it to `out`.

    The control tokens have the ids 0 to 8, and none of them can come from text.
    """
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    options: dict[str, Any] = {
        "model_type": kind,
        "vocab_size": n_pieces,
        "hard_vocab_limit": False,  # a small text may not hold as many pieces
        "character_coverage": 0.99999,
        "max_sentence_length": _MAX_SENTENCE_BYTES,
        "num_threads": 1,  # more make the model depend on their number
        "minloglevel": 2,
        **{"unk_id": 0, "pad_id": 1, "bos_id": 2, "eos_id": 3},
        **{"unk_piece": UNK, "pad_piece": PAD, "bos_piece": BOS, "eos_piece": EOS},
        "control_symbols": list(CONTROL_TOKENS[4:]),
    }
    try:
        SentencePieceTrainer.train(
            sentence_iterator=_sentences(texts), model_writer=model, **options
        )
    except (RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"SentencePiece could not learn {n_pieces} pieces from this text ({reason}): lower --max-vocab"
        ) from error
    with atomic_file(out) as part:
        part.write_bytes(model.getvalue())
    return Path(out)


def _sentences(texts: Iterable[str]) -> Iterator[str]:
    """Yield the lines of texts without control tokens, as much as is needed to learn from."""
    left = _TRAINING_CHARACTERS
    for text in texts:
        for line in text.split("\n"):
            words = " ".join(word for word in line.split() if word not in CONTROL_TOKENS)
            for i in range(0, len(words), _MAX_SENTENCE_BYTES // 4):
                yield words[i : i + _MAX_SENTENCE_BYTES // 4]
        left -= len(text)
        if left < 0:
            return
