"""Raw text -> tokens: rules, then a splitter. A new splitter is one line in `TOKENIZERS`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from threading import RLock

from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.files import fingerprint
from ulmfit.text.coder import Coder
from ulmfit.text.decode import decode_pieces, decode_words
from ulmfit.text.locate import subword_model
from ulmfit.text.pieces import CharSplitter, SubwordSplitter
from ulmfit.text.rules import RULES
from ulmfit.text.spans import Coded, Splitter
from ulmfit.text.words import WordSplitter

VERSION = 1  # of the rules and of how they are applied: part of every fingerprint
_TEXTS_AT_ONCE = 1_000


def _subwords(config: TextConfig) -> Splitter:
    if config.sp_model is None:
        raise UserError(
            "--tokenizer subword needs --sp-model FILE here; `ulmfit prepare` trains one from your text"
        )
    return SubwordSplitter(subword_model(config.sp_model))


TOKENIZERS: dict[str, Callable[[TextConfig], Splitter]] = {
    "word": lambda config: WordSplitter(config.lang),
    "subword": _subwords,
    "char": lambda config: CharSplitter(),
}


class Tokenizer:
    """Rules and a splitter, with a memory of the words it has met, which one thread at a time uses."""

    def __init__(self, config: TextConfig) -> None:
        self.config = config
        self.lock = RLock()
        self.splitter = TOKENIZERS[config.tokenizer](config)
        self.fingerprint = fingerprint(
            [VERSION, config.rules, config.tokenizer, self.splitter.fingerprint]
        )

    @cached_property
    def coder(self) -> Coder:
        """The memory: what every chunk of text became."""
        return Coder(self.config.rules, self.splitter)

    def forget(self) -> None:
        """Begin with an empty memory, and with new codes."""
        with self.lock:
            self.splitter.forget()
            self.__dict__.pop("coder", None)

    def tokenize(self, texts: Iterable[str]) -> Iterator[list[str]]:
        """Yield each text's tokens, the first of which is `xxbos`."""
        if isinstance(texts, str):
            raise UserError(
                "tokenize takes a list of texts, and this is one text: put it in a list"
            )
        source = iter(texts)
        while batch := list(islice(source, _TEXTS_AT_ONCE)):
            with self.lock:
                coded = self.code([batch])
                tokens = iter([self.coder.tokens[code] for code in coded.codes.tolist()])
            yield from (list(islice(tokens, n)) for n in coded.lengths.tolist())

    def code(self, fields: Sequence[Sequence[str]]) -> Coded:
        """Code the documents whose text columns are `fields`."""
        with self.lock:
            return self.coder.code(fields)

    def decode(self, tokens: Iterable[str]) -> str:
        """Join tokens to readable text."""
        return decode_words(tokens) if self.config.tokenizer == "word" else decode_pieces(tokens)

    def steps(self, text: str) -> list[tuple[str, str]]:
        """Show what each rule, and then the splitter, makes of a text."""
        shown, original = [("text", text)], text
        for rule in RULES[self.config.rules]:
            text = rule(text)
            shown.append((getattr(rule, "__name__", "rule"), text))
        tokens = next(self.tokenize([original]))
        return [*shown, (self.config.tokenizer, " ".join(tokens)), ("decode", self.decode(tokens))]


def build_tokenizer(config: TextConfig = TextConfig()) -> Tokenizer:
    """Build the tokenizer that a configuration describes."""
    return Tokenizer(config)
