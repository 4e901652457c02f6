"""What is wrong with a data set, and what will be done about it, before any training.

In: a source. Out: a `CheckReport` of findings. A new check is a function from an `Examined` to findings, and a
line in `CHECKS`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from ulmfit.config import TextConfig
from ulmfit.text.findings import CheckReport, Finding
from ulmfit.text.language import NAMES, looks_like
from ulmfit.text.survey import NAMED, Survey, survey

if TYPE_CHECKING:
    from ulmfit.text.sources import Raw

WINDOW = 1400  # tokens a classifier reads back from the end of a document: 20 pieces of 70 (fastai)
FEW_DOCUMENTS = 10
SKEWED = 10  # times as many documents of the most frequent label as of the rarest
MANY_LABELS = 1000
SHORT = 3  # tokens, xxbos among them
LONG_TOKEN = 50  # characters
MANY_UNKNOWN = 0.1
HELD_OUT = ("valid", "test")


def check(
    source: Raw,
    *,
    text: str | Sequence[str] = "text",
    label: str | Sequence[str] | None = "label",
    split: str | None = None,
    config: TextConfig = TextConfig(),
    data_dir: str | Path | None = None,
    columns: Sequence[str] | None = None,
    window: int | None = WINDOW,
) -> CheckReport:
    """Read a source once and report on it; everything that is told in tokens comes from a sample of it.

    `window` is how many tokens a classifier pools, the last ones of a document (`max_len` of its config).
    """
    from ulmfit.text.sources import open_source

    opened = open_source(
        source,
        text=text,
        label=label,
        split=split,
        data_dir=data_dir,
        columns=columns,
        config=config,
    )
    examined = Examined(survey(opened), config, window)
    return CheckReport(examined.seen.name, [row for look in CHECKS for row in look(examined)])


@dataclass(frozen=True)
class Examined:
    """A survey, with its sample as tokens."""

    seen: Survey
    config: TextConfig
    window: int | None = WINDOW

    @cached_property
    def tokens(self) -> dict[str, list[list[str]]]:
        """The sampled documents of each split, tokenized."""
        from ulmfit.text.tokenizers import build_tokenizer

        config = self.config
        if config.tokenizer == "subword" and not config.sp_model:
            config = replace(
                config, tokenizer="word"
            )  # its model is not trained yet: words will do
        tokenizer = build_tokenizer(config)
        splits = self.seen.splits.items()
        return {name: list(tokenizer.tokenize(part.sample)) for name, part in splits}


def _rows(examined: Examined) -> Iterator[Finding]:
    seen = examined.seen
    parts = ", ".join(f"{part.n_documents:,} {name}" for name, part in seen.splits.items())
    yield Finding("ok", "documents", f"{seen.n_documents:,} ({parts})")
    for notice in seen.notices:
        yield Finding("note", "reading", notice)


def _repeated(examined: Examined) -> Iterator[Finding]:
    for name, part in examined.seen.splits.items():
        if part.n_repeated:
            pairs = examined.seen.pairs(part.repeated, "=")
            more = ", ..." if part.n_repeated > NAMED else ""
            detail = f"{part.n_repeated:,} of {part.n_documents:,} {name} texts repeat another ({pairs}{more})"
            yield Finding("note", "repeated texts", detail, "kept; each counts again")


def _contradicting(examined: Examined) -> Iterator[Finding]:
    if examined.seen.label_kind != "category":
        return
    for name, part in examined.seen.splits.items():
        if part.n_contradicting:
            pairs = examined.seen.pairs(part.contradicting, "and")
            more = ", ..." if part.n_contradicting > NAMED else ""
            detail = f"{part.n_contradicting:,} {name} texts stand there with another label, too ({pairs}{more})"
            yield Finding(
                "warn",
                "contradicting labels",
                detail,
                "kept; nothing can learn both: correct or remove one",
            )


def _overlap(examined: Examined) -> Iterator[Finding]:
    splits = examined.seen.splits
    for name in HELD_OUT:
        for other in ("train", "unsup", "valid"):
            if name == other or name not in splits or other not in splits:
                continue
            shared = len(splits[name].hashes.keys() & splits[other].hashes.keys())
            if shared and (other == "train" or name == "test"):
                detail = f"{shared:,} of {len(splits[name].hashes):,} different {name} texts are also in {other}"
                yield Finding("warn", "overlap", detail, "kept; scores on them flatter the model")


def _labels(examined: Examined) -> Iterator[Finding]:
    seen = examined.seen
    if seen.label_kind not in ("category", "multi"):
        return
    labels = seen.splits["train"].labels if "train" in seen.splits else seen.labels()
    common = labels.most_common()
    listing = ", ".join(f"{name!r} {n:,}" for name, n in common[:8])
    listing += ", ..." if len(common) > 8 else ""
    if len(common) < (1 if seen.label_kind == "multi" else 2):
        action = "a classifier needs two; name the right column, or none for a language model"
        yield Finding("error", "labels", f"{listing or 'none'} in train", action)
        return
    detail = f"{len(common):,} in train: {listing}"
    is_text_or_date = len(common) > max(FEW_DOCUMENTS, labels.total() / 3)
    if len(common) > MANY_LABELS or is_text_or_date:
        action = "is this the column of the labels? for numbers pass --label-kind number"
        yield Finding("warn", "labels", detail, action)
    elif common[0][1] > SKEWED * common[-1][1]:
        yield Finding("note", "labels", detail, "kept; read F1 beside accuracy")
    else:
        yield Finding("ok", "labels", detail)
    if rare := [name for name, n in common if n < FEW_DOCUMENTS]:
        detail = f"fewer than {FEW_DOCUMENTS} train documents: {_listed(rare)}"
        yield Finding("warn", "rare labels", detail, "kept; merge or drop them")


def _spellings(examined: Examined) -> Iterator[Finding]:
    spelt: dict[str, list[str]] = defaultdict(list)
    for name in examined.seen.labels():
        spelt[name.strip().casefold()].append(name)
    for names in spelt.values():
        if len(names) > 1:
            action = "kept as different labels; make them equal in the file"
            yield Finding("warn", "label spelling", " / ".join(map(repr, sorted(names))), action)


def _unseen_labels(examined: Examined) -> Iterator[Finding]:
    splits = examined.seen.splits
    if "train" not in splits or examined.seen.label_kind not in ("category", "multi"):
        return
    for name in HELD_OUT:
        here = splits[name].labels if name in splits else {}
        if unseen := sorted(here.keys() - (+splits["train"].labels).keys()):
            detail = f"in {name} but not in train: {_listed(unseen)}"
            action = "nothing can learn them from train; correct or remove these documents"
            yield Finding("warn", "unseen labels", detail, action)


def _lengths(examined: Examined) -> Iterator[Finding]:
    lengths = sorted(len(found) for split in examined.tokens.values() for found in split)
    p95 = lengths[int(0.95 * (len(lengths) - 1))]
    window = examined.window
    n_long = 0 if window is None else sum(length > window for length in lengths)
    detail = f"median {median(lengths):,.0f} tokens, 95% up to {p95:,.0f}, longest {lengths[-1]:,}"
    if n_long:
        detail += f"; {n_long:,} of {len(lengths):,} longer than {window:,}"
        action = f"only the last {window:,} tokens of a document reach the classifier's pooling"
        yield Finding("note", "length", detail, action)
    elif median(lengths) <= SHORT:
        yield Finding("warn", "length", detail, "is this the column of the texts?")
    else:
        yield Finding("ok", "length", detail)


def _language(examined: Examined) -> Iterator[Finding]:
    lang = examined.config.lang
    other = looks_like(examined.seen.sample(examined.seen.splits), lang)
    if other and lang != "xx":  # spaCy's code for any language
        detail = f"looks like {NAMES[other]}, not {lang!r}"
        yield Finding("warn", "language", detail, f"pass --lang {other} if it is")


def _unknown(examined: Examined) -> Iterator[Finding]:
    from ulmfit.text.vocab import Vocab

    counted = [name for name in examined.config.vocab_splits if name in examined.tokens]
    if not counted or examined.config.tokenizer != "word":
        return
    config = examined.config
    counts = _count(found for name in counted for found in examined.tokens[name])
    vocab = Vocab.build(counts, min_freq=config.min_freq, max_vocab=config.max_vocab)
    is_whole = examined.seen.is_whole(counted)
    for name in HELD_OUT:
        if name not in examined.tokens:
            continue
        found = vocab.coverage(_count(examined.tokens[name]))
        detail = f"{found.unknown_rate:.1%} of {name}"
        if not is_whole:
            more = "the vocabulary of all documents knows more than that of the sample"
            yield Finding("ok", "unknown tokens", f"at most {detail}", more)
        elif found.unknown_rate > MANY_UNKNOWN:
            detail += f", such as {_listed(found.most_frequent_unknown[:NAMED])}"
            action = "more unlabelled text, a lower --min-freq or --tokenizer subword would help"
            yield Finding("warn", "unknown tokens", detail, action)
        else:
            yield Finding("ok", "unknown tokens", detail)


def _count(documents: Iterable[list[str]]) -> Counter[str]:
    return Counter(token for tokens in documents for token in tokens)


def _control(examined: Examined) -> Iterator[Finding]:
    if n := examined.seen.n_control:
        detail = f"typed in {n:,} documents (xxbos, xxpad, ...)"
        yield Finding("note", "control tokens", detail, "read as ordinary words")


def _html(examined: Examined) -> Iterator[Finding]:
    if n := examined.seen.n_html:
        detail = f"tags such as {examined.seen.first_html} in {n:,} documents"
        yield Finding("note", "HTML", detail, "kept as text; strip them first if they mean nothing")


def _long_tokens(examined: Examined) -> Iterator[Finding]:
    documents = (found for split in examined.tokens.values() for found in split)
    if long := [token for found in documents for token in found if len(token) > LONG_TOKEN]:
        shown = min(long, key=len)[:LONG_TOKEN]
        detail = f"{len(long):,} of over {LONG_TOKEN} characters in the sample ({shown}...)"
        yield Finding("note", "long tokens", detail, "most of them will be unknown")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(map(repr, names[:8])) + more


CHECKS: tuple[Callable[[Examined], Iterator[Finding]], ...] = (
    _rows,
    _repeated,
    _contradicting,
    _overlap,
    _labels,
    _spellings,
    _unseen_labels,
    _lengths,
    _language,
    _unknown,
    _control,
    _html,
    _long_tokens,
)
