"""spaCy's word tokenizer, one whitespace-free span at a time, in bulk.

spaCy splits each span by itself, with one exception: special cases such as `:)` are matched over the finished
tokens of a document, so that what stands behind a span can undo a match inside it. Spans with such a match are
reported as entangled; their documents go through spaCy whole.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ulmfit.errors import UserError
from ulmfit.text.rules import CONTROL_TOKENS, replace_space, rm_useless_spaces
from ulmfit.text.shapes import (
    LETTERS,
    can_match_letters,
    can_start_with,
    single_closers,
    single_openers,
)
from ulmfit.text.spans import Splitter

_BULK = 20_000  # spans in one spaCy document
_OPENERS, _CLOSERS = "\"'([`*", ".,!?;:)]\"'*"
_LETTERS = re.compile(r"[a-z]+").fullmatch


class WordSplitter(Splitter):
    """Split spans into the tokens that `spacy.blank(lang)` makes of them."""

    def __init__(self, lang: str) -> None:
        self._begin(lang)

    def _begin(self, lang: str) -> None:
        import spacy

        self.lang = lang
        self._spacy: Any = _blank(lang)
        # Chinese, Japanese and some others have tokenizers of another kind.
        self.is_per_span = type(self._spacy).__module__ == "spacy.tokenizer"
        self.fingerprint = f"spacy-{spacy.__version__}-{lang}"
        if not self.is_per_span:
            return
        self._cases: frozenset[str] = frozenset(self._spacy.rules)
        self.reach = max(map(len, self._cases))  # a special case has no more tokens than characters
        self._suffix_length = functools.lru_cache(maxsize=1 << 16)(self._spacy.find_suffix)

    def forget(self) -> None:
        """Begin anew, since spaCy keeps every word that it has seen."""
        lang = self.lang
        vars(self).clear()
        self._begin(lang)

    # What it takes to split new spans; a text of known ones does without.

    @functools.cached_property
    def _unmatched(self) -> Any:
        return _without_matcher(self._spacy)

    @functools.cached_property
    def _affixed(self) -> frozenset[str]:
        return frozenset(case for case in self._cases if _has_affix(self._spacy, case))

    @functools.cached_property
    def _spaced(self) -> frozenset[str]:
        """The longest piece of each special case that goes over several spans."""
        return frozenset(max(c.split(), key=len) for c in self._cases if len(c.split()) > 1)

    @functools.cached_property
    def _marks(self) -> _Marks:
        return _single_marks(self._spacy)

    def split(self, spans: list[str]) -> tuple[list[list[str]], list[bool]]:
        """Return the tokens of each span, and whether the span's company can change them.

        Marks at the ends are taken off as spaCy would, and only what then is left, and is more than letters, goes
        through spaCy; spans whose tokens might form a special case go through it as they are.
        """
        peeled = [self._peel(span) for span in spans]
        cores = dict.fromkeys(core for _, core, _ in peeled if not self._is_whole(core))
        known = dict(zip(cores, _split_bulk(self._spacy, list(cores)), strict=True))
        tokens = [[*before, *known.get(core, (core,)), *after] for before, core, after in peeled]
        doubtful = [
            i for i, found in enumerate(tokens) if len(found) > 1 and self._may_match(found)
        ]
        suspects = [spans[i] for i in doubtful]
        matched = _split_bulk(self._spacy, suspects)
        unmatched = _split_bulk(self._unmatched, suspects)
        entangled = [any(piece in span for piece in self._spaced) for span in spans]
        for i, one, other in zip(doubtful, matched, unmatched, strict=True):
            tokens[i], entangled[i] = one, entangled[i] or one != other
        return tokens, entangled

    def _peel(self, span: str) -> tuple[str, str, str]:
        """Take a mark off the front of a word, and all marks off its end that spaCy takes one at a time."""
        before, core, end = "", span, len(span)
        opened = end > 1 and span[0] in self._marks.openers and "a" <= span[1] <= "z"
        if opened and not span.startswith(self._marks.cases[span[0]]):
            before, core = span[0], span[1:]
        end = len(core)
        if "a" <= core[0] <= "z":
            while (
                end > 1 and core[end - 1] in self._marks.closers and core[end - 2] != core[end - 1]
            ):
                if (
                    core[:end] in self._cases
                    or self._suffix_length(core[max(end - 3, 0) : end]) != 1
                ):
                    break
                end -= 1
        return before, core[:end], core[end:]

    def _is_whole(self, core: str) -> bool:
        """Tell whether a span is known to be one token."""
        return bool(self._marks.openers) and _LETTERS(core) is not None and core not in self._cases

    def _may_match(self, tokens: list[str]) -> bool:
        """Tell whether some of `tokens` spell a special case that spaCy looks for in finished tokens."""
        for i, text in enumerate(tokens):
            if len(text) > 1 and text in self._affixed:
                return True
            for token in tokens[i + 1 :]:
                text += token
                if text in self._affixed:
                    return True
                if len(text) > self.reach:
                    break
        return False

    def white(self, run: str) -> list[str]:
        """Return a run of white space as one token, with its inner spaces shown."""
        return [replace_space(rm_useless_spaces(run))]

    def document(self, text: str) -> list[str]:
        """Return the tokens of a whole text that has been through the rules."""
        return [replace_space(token.text) for token in self._spacy(text)]


def _blank(lang: str) -> Any:
    """Make spaCy's blank tokenizer for a language, with the control tokens as special cases."""
    import spacy

    try:
        tokenizer: Any = spacy.blank(lang).tokenizer
        tokenizer.vocab.lex_attr_getters = {}  # shapes, stop words ...: half of the cost of a new word
    except ImportError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"--lang {lang!r}: spaCy has no tokenizer for it here ({reason})"
        ) from error
    if hasattr(tokenizer, "add_special_case"):
        for token in CONTROL_TOKENS:
            tokenizer.add_special_case(token, [{"ORTH": token}])
    return tokenizer


def _without_matcher(tokenizer: Any) -> Any:
    """Copy a spaCy tokenizer, less its matching of special cases over finished tokens.

    spaCy files a special case with that matcher only if an affix pattern finds something in it: so the cases are
    added while the patterns are asleep.
    """
    awake = False

    def when_awake(function: Callable[[str], Any] | None, otherwise: Any) -> Any:
        return None if function is None else lambda text: function(text) if awake else otherwise

    copy = type(tokenizer)(
        tokenizer.vocab,
        rules={case: rule for case, rule in tokenizer.rules.items() if len(case.split()) < 2},
        prefix_search=when_awake(tokenizer.prefix_search, None),
        suffix_search=when_awake(tokenizer.suffix_search, None),
        infix_finditer=when_awake(tokenizer.infix_finditer, ()),
        token_match=tokenizer.token_match,
        url_match=tokenizer.url_match,
    )
    awake = True
    return copy


def _split_bulk(tokenizer: Any, spans: list[str]) -> list[list[str]]:
    """Split many spans by a few calls: as the lines of one document, since spaCy keeps a line break as a token."""
    tokens: list[list[str]] = []
    for first in range(0, len(spans), _BULK):
        lines = spans[first : first + _BULK]
        texts = [token.text for token in tokenizer("\n".join(lines))]
        tokens += [
            list(line) for is_break, line in itertools.groupby(texts, "\n".__eq__) if not is_break
        ]
    return tokens


def _has_affix(tokenizer: Any, text: str) -> bool:
    """Tell whether an affix pattern finds something in a special case, so that spaCy matches it over tokens."""
    finders = (tokenizer.find_prefix, tokenizer.find_suffix, tokenizer.find_infix)
    return not text.isspace() and any(find(text) for find in finders)


@dataclass(frozen=True)
class _Marks:
    """The marks that can be taken off the front and the end of a span one by one."""

    openers: str = ""
    closers: str = ""
    cases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The special cases that begin with each opener."""


def _single_marks(tokenizer: Any) -> _Marks:
    """Find the marks that come off one by one.

    There are none unless the patterns provably leave letters whole and take no prefix that begins with one.
    """
    functions = (
        tokenizer.prefix_search,
        tokenizer.suffix_search,
        tokenizer.infix_finditer,
        tokenizer.url_match,
    )
    patterns: list[Any] = [getattr(function, "__self__", None) for function in functions]
    if tokenizer.token_match or not all(isinstance(pattern, re.Pattern) for pattern in patterns):
        return _Marks()
    prefix, suffix = patterns[:2]
    if any(map(can_match_letters, patterns)) or can_start_with(prefix, LETTERS):
        return _Marks()
    openers = single_openers(prefix, _OPENERS)
    cases = {mark: tuple(case for case in tokenizer.rules if case[0] == mark) for mark in openers}
    return _Marks(openers, single_closers(suffix, _CLOSERS), cases)
