"""Raw texts -> token codes, remembering what every whitespace-delimited chunk of text became.

A text is cut where its characters change between white space and the rest. A chunk is put through the rules and
split into tokens once, in bulk with the other new chunks, and looked up ever after. That is exact, because all but
one of the rules, and the tokenizers, look no further than a chunk; the texts where one does are found and take the
slow way: repeated words, and special cases that neighbours can undo.
"""

from __future__ import annotations

import gc
import itertools
import re
from collections.abc import Sequence

import numpy as np

from ulmfit.text import rules as r
from ulmfit.text.cells import whole_characters
from ulmfit.text.chunks import ChunkTable, Growing, Ragged
from ulmfit.text.cuts import Cut, cut_texts
from ulmfit.text.spans import Coded, SpanTable, Splitter

# Characters; a longer run without white space is cut, so that no pattern can hang on it.
MAX_CHUNK = 1_000
MAX_CHUNKS = 1_000_000  # remembered; more are forgotten all at once, which bounds memory
_BATCH = 1 << 20  # characters coded at a time

# What is known of a chunk, as bits.
WHITE = 1  # white space, not text
SPACED = 2  # a rule put a space before it
WORD = 4  # letters, digits and underscores only, as replace_wrep wants its words
REPEATING = 8  # replace_rep made pieces of it, which replace_wrep may take for words
ENTANGLED = 16  # its neighbours can change its tokens
CUT = 32  # longer than MAX_CHUNK
_IS_REPEATING = re.compile(rf"{r.REP} \d+ (?:\w|\S+ +\w)").search


class Coder:
    """Code texts by the tokens they hold; `tokens[code]` is the token."""

    def __init__(self, rules: str, splitter: Splitter) -> None:
        self.rules, self.splitter = rules, splitter
        self.spans = SpanTable(splitter)
        self.forget()

    @property
    def tokens(self) -> list[str]:
        """All tokens so far, in the order of their codes."""
        return self.spans.tokens

    def __len__(self) -> int:
        """Count what it remembers: chunks, or tokens where it keeps no chunks."""
        return max(len(self.chunks), len(self.spans))

    def forget(self) -> None:
        """Forget all chunks and spans, but not the tokens."""
        self.chunks, self.flags, self.chunk_codes = ChunkTable(), Growing(np.uint8), Ragged()
        self._runs: dict[int, str] = {}  # chunks that are white space
        self.spans.forget()

    def memory(self) -> dict[str, np.ndarray]:
        """Return all that is known of chunks, as arrays that `restore` takes."""
        words, lengths = self.chunks.words()
        codes, counts = self.chunk_codes.all()
        tokens = " ".join(self.tokens).encode()  # no token holds a space
        return {
            "words": np.frombuffer(words, np.uint8),
            "lengths": lengths,
            "codes": codes,
            "counts": counts,
            "flags": self.flags.values,
            "tokens": np.frombuffer(tokens, np.uint8),
        }

    def restore(self, memory: dict[str, np.ndarray]) -> None:
        """Know again what `memory` returned, in a coder that knows nothing yet."""
        words, lengths, counts = memory["words"].tobytes(), memory["lengths"], memory["counts"]
        tokens = memory["tokens"].tobytes().decode().split(" ")
        if not len(lengths) == len(counts) == len(memory["flags"]) or len(words) != lengths.sum():
            raise ValueError("the arrays do not belong together")
        starts = np.cumsum(lengths) - lengths
        numbers, _ = self.chunks.find(words + b" " * 16, starts, lengths)
        order = np.argsort(numbers)
        if not np.array_equal(numbers[order], np.arange(len(numbers))):
            raise ValueError("a word stands twice")
        saved = Ragged()
        saved.extend(self.spans.codes(tokens)[memory["codes"]], counts)
        self.chunk_codes.extend(saved.rows(order)[0], counts[order])
        self.flags.extend(memory["flags"][order])
        for number in np.flatnonzero(self.flags.values & WHITE).tolist():
            i = order[number]
            self._runs[number] = words[starts[i] : starts[i] + lengths[i]].decode()

    def code(self, fields: Sequence[Sequence[str]]) -> Coded:
        """Code the documents whose text columns are `fields`; half surrogate pairs become U+FFFD."""
        collecting = gc.isenabled()
        gc.disable()  # many small lists and no cycles: looking for some took a fifth of the time
        try:
            try:
                return self._code(fields)
            except UnicodeEncodeError:
                return self._code([list(map(whole_characters, column)) for column in fields])
        except BaseException:
            self.forget()  # an interrupted batch leaves chunks that have no tokens
            raise
        finally:
            if collecting:
                gc.enable()

    def _code(self, fields: Sequence[Sequence[str]]) -> Coded:
        texts = self._cleaned(fields)
        sizes = np.cumsum([0, *map(len, texts)])
        cuts = np.searchsorted(sizes, np.arange(0, sizes[-1], _BATCH)).tolist()
        bounds = sorted({0, *cuts, len(texts)})
        return _joined([self._code_batch(texts[a:b]) for a, b in itertools.pairwise(bounds)])

    def _cleaned(self, fields: Sequence[Sequence[str]]) -> list[str]:
        """Do what looks across chunks, HTML and control words; then join the fields, and strip."""
        fix = r.fix_html if self.rules == "fastai" else str
        columns = [[r.escape_controls(fix(text)) for text in column] for column in fields]
        if len(columns) > 1:
            marked = [[f"{r.FLD} {i} {t}" for t in column] for i, column in enumerate(columns, 1)]
            columns = [[" ".join(document) for document in zip(*marked, strict=True)]]
        return [text.strip() for text in columns[0]]

    def _code_batch(self, texts: list[str], *, counted: bool = False) -> Coded:
        """Code cleaned texts; `counted` are those whose repeated words have been counted already."""
        if not self.splitter.is_per_span:
            return _joined([self._code_whole(text) for text in texts])
        if len(self.chunks) > MAX_CHUNKS and not counted:  # those come with the numbers of others
            self.forget()
            self.splitter.forget()
        cut = cut_texts([f"{r.BOS} {text}" for text in texts])
        chunks, new = self.chunks.find(cut.data, cut.starts, cut.lengths)
        self._learn([chunk.decode() for chunk in new])
        replaced = self._beyond_chunks(texts, cut, chunks, counted)
        self._widen_runs(chunks)
        codes, ends = self.chunk_codes.rows(chunks)
        edges = np.concatenate([[0], ends])[cut.firsts]
        if not replaced:
            return Coded(codes, np.diff(edges))
        bounds = itertools.pairwise(edges.tolist())
        pieces = [replaced.get(i, codes[a:b]) for i, (a, b) in enumerate(bounds)]
        return Coded(np.concatenate(pieces), np.fromiter(map(len, pieces), np.int64, len(pieces)))

    def _learn(self, new: list[str]) -> None:
        """Put new chunks through the rules, split them, and remember their tokens."""
        if not new:
            return
        texts, white = new.copy(), [i for i, chunk in enumerate(new) if chunk[0].isspace()]
        long = [i for i, chunk in enumerate(new) if len(chunk) > MAX_CHUNK]
        for i in white:
            self._runs[len(self.chunks) - len(new) + i] = new[i]
            texts[i] = ""
        for i in long:
            texts[i] = _shortened(new[i])
        text = "\n".join(texts)
        for rule in r.CHUNK_RULES[self.rules]:
            text = rule(text)
        lines = text.split("\n")
        spans = [line.split() or [chunk] for line, chunk in zip(lines, new, strict=True)]
        coded = self.spans.split(list(itertools.chain.from_iterable(spans)))
        last = np.cumsum(np.fromiter(map(len, spans), np.int64, len(spans)))
        self.chunk_codes.extend(coded.codes, np.diff(coded.ends[last - 1], prepend=0))
        flags = self._describe(new, lines)
        flags[white] = WHITE
        flags[long] |= CUT
        flags[np.searchsorted(last, np.flatnonzero(coded.entangled), "right")] |= ENTANGLED
        self.flags.extend(flags)

    def _describe(self, chunks: list[str], lines: list[str]) -> np.ndarray:
        """Say what the rules did to chunks that became `lines`."""
        flags = np.zeros(len(chunks), np.uint8)
        if self.rules == "fastai":
            flags[[i for i, line in enumerate(lines) if line[:1] == " "]] |= SPACED
            flags[[i for i, chunk in enumerate(chunks) if _is_word(chunk)]] |= WORD
            repeated = [i for i, line in enumerate(lines) if r.REP in line]
            flags[[i for i in repeated if _IS_REPEATING(lines[i])]] |= REPEATING
        return flags

    def _widen_runs(self, chunks: np.ndarray) -> None:
        """Give white space the space that a rule put before the chunk behind it."""
        flags = self.flags.values[chunks]
        for i in np.flatnonzero((flags[:-1] & WHITE > 0) & (flags[1:] & SPACED > 0)).tolist():
            run = f"{self._runs[int(chunks[i])]} ".encode()
            found, new = self.chunks.find(run + b" " * 16, np.array([0]), np.array([len(run)]))
            self._learn([chunk.decode() for chunk in new])
            chunks[i] = found[0]

    def _beyond_chunks(
        self, texts: list[str], cut: Cut, chunks: np.ndarray, counted: bool
    ) -> dict[int, np.ndarray]:
        """Return the tokens of the texts whose tokens do not follow from their chunks."""
        flags = self.flags.values[chunks]
        repeating = set() if counted else self._repeating(cut, chunks, flags)
        entangled = np.flatnonzero(flags & ENTANGLED)
        disturbed = {i for i in cut.texts_at(entangled) if i in repeating}
        for chunk in entangled.tolist():
            if self._is_disturbed(cut, chunks, flags, chunk):
                disturbed.update(cut.texts_at(np.array([chunk])))
        for i in cut.texts_at(np.flatnonzero(flags & CUT)):
            repeating.discard(i)
            disturbed.discard(i)
        recounted = {i: r.replace_wrep(r.replace_rep(texts[i])) for i in repeating - disturbed}
        for i, text in list(recounted.items()):
            if r.replace_rep(text) != text:  # a count, such as 111, would be taken for a repetition
                disturbed.add(i)
                del recounted[i]
        found = {i: self._code_whole(texts[i]).codes for i in disturbed}
        if recounted:
            coded = self._code_batch([text.strip() for text in recounted.values()], counted=True)
            found |= zip(
                recounted, np.split(coded.codes, np.cumsum(coded.lengths)[:-1]), strict=True
            )
        return found

    def _repeating(self, cut: Cut, chunks: np.ndarray, flags: np.ndarray) -> set[int]:
        """Return the numbers of the texts in which `replace_wrep` finds something."""
        text = np.flatnonzero(flags & WHITE == 0)
        maybe = flags[text] & REPEATING > 0
        maybe[:-1] |= (np.diff(chunks[text]) == 0) & (flags[text[1:]] & WORD > 0)
        found = set()
        for i in np.flatnonzero(maybe).tolist():
            # Three equal words in a row, one of which is here, or two of which begin here.
            around = cut.between(text[max(i - 2, 0)], text[min(i + 2, len(text) - 1)])
            if r.has_repeated_word(r.replace_rep(around)):
                found.update(cut.texts_at(text[i : i + 1]))
        return found

    def _is_disturbed(self, cut: Cut, chunks: np.ndarray, flags: np.ndarray, chunk: int) -> bool:
        """Tell whether its neighbours change the tokens of an entangled chunk, by splitting them together."""
        number = np.searchsorted(cut.firsts, chunk, "right") - 1
        first = max(int(cut.firsts[number]), chunk - self.splitter.reach)
        end = min(int(cut.firsts[number + 1]), chunk + self.splitter.reach + 1)
        white = first + np.flatnonzero(flags[first:end] & WHITE)  # nothing reaches across
        first = max([first, *(white[white < chunk] + 1).tolist()])
        end = min([end, *white[white > chunk].tolist()])
        text = cut.between(first, end - 1)
        for rule in r.CHUNK_RULES[self.rules]:
            text = rule(text)
        together = self.spans.codes(self.splitter.document(" ".join(text.split())))
        return not np.array_equal(together, self.chunk_codes.rows(chunks[first:end])[0])

    def _code_whole(self, text: str) -> Coded:
        """Code one cleaned text by applying all rules to it, and splitting it whole."""
        for rule in r.RULES[self.rules]:
            text = rule(text) if rule not in (r.fix_html, r.escape_controls) else text
        codes = self.spans.codes(self.splitter.document(f"{r.BOS} {text}"))
        return Coded(codes, np.array([len(codes)]))


def _is_word(chunk: str) -> bool:
    """Tell whether `\\w+` matches a chunk."""
    return chunk.isalnum() or ("_" in chunk and chunk.replace("_", "a").isalnum())


def _shortened(chunk: str) -> str:
    """Put a space after every MAX_CHUNK characters."""
    return " ".join(chunk[i : i + MAX_CHUNK] for i in range(0, len(chunk), MAX_CHUNK))


def _joined(parts: list[Coded]) -> Coded:
    codes = [np.empty(0, np.int32), *(part.codes for part in parts)]
    lengths = [np.empty(0, np.int64), *(part.lengths for part in parts)]
    return Coded(np.concatenate(codes), np.concatenate(lengths))
