"""A corpus, its vocabulary and its batches -> HTML to look at in a notebook."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ulmfit.markup import Html, dimmed, escaped, table, tokens
from ulmfit.text.rules import CONTROL_TOKENS

if TYPE_CHECKING:
    import pandas as pd

    from ulmfit.text.corpus import Corpus
    from ulmfit.text.vocab import Vocab

_LABELS, _CHARACTERS = 12, 400
_ENTRIES = 40  # of a vocabulary, after the control tokens and at the end
ROWS, COLUMNS = 6, 24  # of a batch
_SHOWN_TOKENS = 150  # of a document in `show_batch`, as in fastai


def corpus_html(corpus: Corpus) -> Html:
    """Show the splits with their labels, and the first document as it can be read again."""
    size = f"{len(corpus):,} documents, {len(corpus.ids):,} tokens, {len(corpus.vocab):,} entries in the vocabulary"
    header = ("split", "documents", "tokens", "a document", "unknown", "labels")
    parts = [
        Html(f"<b>corpus {escaped(corpus.manifest.name)}</b>: {size}"),
        table(header, _splits(corpus)),
        *(Html(f"note: {escaped(notice)}<br>") for notice in corpus.manifest.notices),
        *_first_document(corpus),
        dimmed(corpus.folder),
    ]
    return Html("".join(parts))


def _splits(corpus: Corpus) -> Iterator[tuple[object, ...]]:
    for name, split in corpus.manifest.splits.items():
        a_document = f"{split.tokens / max(split.documents, 1):.1f}"
        unknown = f"{split.unknown / max(split.tokens, 1):.2%}"
        labels = _listed(corpus.label_counts(name))
        yield name, split.documents, split.tokens, a_document, unknown, labels


def _listed(counts: Mapping[str, int]) -> str:
    shown = [f"{name} {n:,}" for name, n in counts.items() if n]
    return ", ".join([*shown[:_LABELS], *(["..."] if len(shown) > _LABELS else [])]) or "none"


def _first_document(corpus: Corpus) -> Iterator[Html]:
    if len(corpus):
        label, text = corpus.label(0), corpus.text(0)
        cut = f"{text[:_CHARACTERS]} ..." if len(text) > _CHARACTERS else text
        named = f" ({escaped(label)})" if label else ""
        yield Html(f"<p>first document{named}: <i>{escaped(cut)}</i></p>")


def vocab_html(vocab: Vocab) -> Html:
    """Show the size, the control tokens, and what stands at the beginning and at the end."""
    n_control = len(CONTROL_TOKENS)
    end = max(n_control + _ENTRIES, len(vocab) - _ENTRIES)
    ranges = {
        "control tokens": range(n_control),
        "first": range(n_control, min(len(vocab), n_control + _ENTRIES)),
        "last": range(end, len(vocab)),
    }
    rows = [(name, _entries(vocab, ids)) for name, ids in ranges.items() if len(ids)]
    return table(("ids", "tokens"), rows, caption=f"{len(vocab):,} tokens")


def _entries(vocab: Vocab, ids: range) -> Html:
    span = dimmed(f"{ids[0]} to {ids[-1]}:")
    found = (f'<code title="id {i}">{escaped(vocab[i])}</code>' for i in ids)
    return Html(f"{span} {' '.join(found)}")


def lm_batch_html(title: str, vocab: Vocab, batch: Sequence[list[Any]]) -> Html:
    """Show the first rows of what a language model reads, and what it has to say after each token."""
    rows = [
        (row, *(_tokens(vocab, ids[:COLUMNS]) for ids in pair))
        for row, pair in enumerate(zip(*batch, strict=True))
    ]
    return table(("row", "reads", "has to say next"), rows, caption=title)


def classifier_batch_html(title: str, corpus: Corpus, batch: Sequence[list[Any]]) -> Html:
    """Show the first documents of a batch with their lengths, padding and labels."""
    ids, lengths, *labels = batch
    n_columns = len(ids[0])
    names = [_label(corpus, label) for label in labels[0]] if labels else [""] * len(ids)
    rows = [
        (name, length, n_columns - length, _ends(corpus.vocab, row))
        for row, length, name in zip(ids, lengths, names, strict=True)
    ]
    return table(("label", "tokens", "padding", "ids as tokens"), rows, caption=title)


def lm_table(
    vocab: Vocab, batch: Sequence[list[Any]], said: Sequence[list[int]] | None = None
) -> pd.DataFrame:
    """Tabulate what a language model reads, what it has to say after each token, and what it says."""
    import pandas as pd

    columns = dict(zip(("text", "next", "said"), (*batch, *([] if said is None else [said]))))
    return pd.DataFrame(
        {name: [_words(vocab, ids) for ids in rows] for name, rows in columns.items()}
    )


def classifier_table(
    corpus: Corpus, batch: Sequence[list[Any]], answers: Sequence[Any] | None = None
) -> pd.DataFrame:
    """Tabulate documents without their padding, their labels, and a model's answers."""
    import pandas as pd

    ids, lengths, *labels = batch
    table = pd.DataFrame(
        {"text": [_words(corpus.vocab, row[:n]) for row, n in zip(ids, lengths, strict=True)]}
    )
    if labels:
        table["label"] = [_label(corpus, label) for label in labels[0]]
    if answers is not None:
        table["answer"] = [_label(corpus, answer) for answer in answers]
    return table


def show_table(table: pd.DataFrame) -> None:
    """Display a table in a notebook, or print it, with all of its text."""
    import pandas as pd

    try:
        from IPython.display import display
    except ImportError:
        display = print
    with pd.option_context("display.max_colwidth", None):
        display(table)


def _words(vocab: Vocab, ids: list[int]) -> str:
    return " ".join(vocab[i] for i in ids[:_SHOWN_TOKENS])


def _label(corpus: Corpus, label: float | list[float]) -> str:
    """Say a label of a batch in words; a document without one has none."""
    if corpus.label_kind == "number":
        (value,) = label if isinstance(label, list) else [label]
        return "" if math.isnan(value) else f"{value:g}"
    if isinstance(label, list):
        return ", ".join(name for name, holds in zip(corpus.label_names, label) if holds > 0)
    return corpus.label_names[int(label)] if label >= 0 else ""


def _ends(vocab: Vocab, ids: list[int]) -> Html:
    """Show how a row begins and how it ends."""
    if len(ids) <= COLUMNS:
        return _tokens(vocab, ids)
    half = COLUMNS // 2
    return Html(f"{_tokens(vocab, ids[:half])} {dimmed('...')} {_tokens(vocab, ids[-half:])}")


def _tokens(vocab: Vocab, ids: list[int]) -> Html:
    return tokens((word.replace("\n", "⏎") for word in vocab.decode(ids)), dim=CONTROL_TOKENS)
