"""Any source of text -> a corpus folder, in one pass and bounded memory.

Tokens stream into a temporary file under provisional codes while they are counted; when all are counted, the
vocabulary is known and the codes become ids. Nothing depends on the number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.files import atomic_folder, fingerprint, hash_file
from ulmfit.text.corpus import SUBWORD_MODEL, Corpus
from ulmfit.text.document_batches import Documents
from ulmfit.text.documents import Source
from ulmfit.text.labels import LabelStore
from ulmfit.text.locate import subword_model
from ulmfit.text.manifest import FORMAT, CorpusManifest
from ulmfit.text.parts import Parts
from ulmfit.text.pieces import SubwordSplitter, train_subwords
from ulmfit.text.rules import apply_rules
from ulmfit.text.sources import open_source
from ulmfit.text.spans import Coded
from ulmfit.text.tally import Tally
from ulmfit.text.tokenizers import VERSION
from ulmfit.text.vocab import Vocab
from ulmfit.text.workers import MAX_TOKENS, DocumentCoder
from ulmfit.unfinished import sweep

if TYPE_CHECKING:
    from ulmfit.text.sources import Raw

_BLOCK = 1 << 20  # codes renumbered at a time
_OF_A_RUN = "recipe.json"  # stands beside a corpus from which the models of a run have learnt
Progress = Callable[[int, int], None]  # takes the documents and the tokens so far


def prepare(
    source: Raw,
    out: str | Path,
    *,
    text: str | Sequence[str] = "text",
    label: str | Sequence[str] | None = "label",
    split: str | None = None,
    config: TextConfig = TextConfig(),
    data_dir: str | Path | None = None,
    columns: Sequence[str] | None = None,
    n_workers: int = 0,
    progress: Progress | None = None,
    restart: bool = False,
    known: Sequence[str] = (),
) -> Corpus:
    """Turn a source of texts into a corpus folder; one that is there already, from equal input, is kept.

    One from other input is replaced, but for that of a run, whose models have learnt from it: only `restart` replaces that.
    The vocabulary begins with what is `known`, such as the `vocab` of a language model, however rare it is in these texts.
    """
    _require_workers(n_workers)
    opened = open_source(
        source, text=text, label=label, split=split, data_dir=data_dir, columns=columns, config=config
    )  # fmt: skip
    key = key_of(opened, config, known)
    if (corpus := _kept(Path(out), key, restart=restart)) is not None:
        return corpus
    with atomic_folder(out, kind="corpus") as folder:
        coder = DocumentCoder(_with_model(opened, config, folder), n_workers=n_workers)
        tally, labels = Tally(), LabelStore(opened.label_kind, opened.named_labels)
        parts = Parts(folder / "tokens.part")
        with open(folder / "codes.part", "w+b") as codes:
            for documents, coded in _coded(coder, opened, tally, parts):
                labels.add(documents.labels, documents.splits)
                codes.write(coded.codes.tobytes())
                if progress:
                    progress(tally.n_documents, tally.n_tokens)
            vocab = _vocabulary(coder, parts, opened.name, known)
            _write_ids(codes, folder / "ids.npy", parts.ids(vocab), len(vocab), tally.n_tokens)
        vocab.save(folder / "vocab.json")
        found = labels.finish(opened.name)
        _write_arrays(folder, tally, found.values)
        manifest = CorpusManifest(
            name=opened.name,
            key=key,
            config=replace(config, sp_model=None),
            label_kind=opened.label_kind,
            label_names=found.names,
            splits=tally.summaries(parts.unknown(vocab)),
            vocab_fingerprint=vocab.fingerprint,
            tokenizer_fingerprint=coder.tokenizer.fingerprint,
            versions={name: version(name) for name in ("spacy", "sentencepiece", "numpy")},
            notices=tuple(filter(None, (*opened.notices, found.notice))),
            files={path.name: hash_file(path) for path in sorted(folder.glob("*.npy"))},
            n_fields=opened.n_fields,
            text_columns=opened.text_columns,
        )
        _finish(folder, manifest)
    return Corpus.load(out)


def _require_workers(n: int) -> None:
    if n < 0:
        raise UserError(f"--workers is {n}; allowed: 0 (this process) or more")


def key_of(source: Source, config: TextConfig, known: Sequence[str] = ()) -> str:
    """Hash all that the corpus depends on: the data, the configuration, and the code that reads them."""
    path = subword_model(config.sp_model) if config.sp_model else None
    model = hash_file(path) if path and path.is_file() else None
    library = version("sentencepiece" if config.tokenizer == "subword" else "spacy")
    settings = asdict(replace(config, sp_model=None))
    parts = [FORMAT, VERSION, library, source.fingerprint(), settings, model]
    return fingerprint([*parts, list(known)] if known else parts)


def _kept(out: Path, key: str, *, restart: bool) -> Corpus | None:
    """Return the corpus of this key at `out`, if it is there whole, and refuse to replace that of a run.

    What killed writers left is cleared away.
    """
    sweep(out)
    try:
        corpus = Corpus.load(out)
    except UserError:
        return None
    if corpus.fingerprint == key:
        return corpus
    if not restart and out.with_name(_OF_A_RUN).is_file():
        raise UserError(
            f"{out} is the corpus of a run, of other texts or settings: choose another --out, or --restart to replace it"
        )
    return None


def _with_model(source: Source, config: TextConfig, folder: Path) -> TextConfig:
    """Place the SentencePiece model of a subword corpus in its folder: the given one, or one trained on the source."""
    if config.tokenizer != "subword":
        return config
    model = folder / SUBWORD_MODEL
    model.parent.mkdir()
    if config.sp_model:
        given = subword_model(config.sp_model)
        SubwordSplitter(given)  # refuses what is not a model
        model.write_bytes(given.read_bytes())
    else:
        texts = _counted_texts(source, config)
        train_subwords(texts, model, n_pieces=config.max_vocab, kind=config.sp_type)
    return replace(config, sp_model=str(model))


def _counted_texts(source: Source, config: TextConfig) -> Iterator[str]:
    """Yield the texts that count for the vocabulary, after the rules."""
    for documents in source.batches():
        for fields, split in zip(
            zip(*documents.fields, strict=True), documents.splits, strict=True
        ):
            if split in config.vocab_splits:
                yield from (apply_rules(config.rules, field) for field in fields)


def _coded(
    coder: DocumentCoder, source: Source, tally: Tally, parts: Parts
) -> Iterator[tuple[Documents, Coded]]:
    """Code and count all documents, and begin a new part when there are too many tokens to remember."""
    for documents, coded in coder.code(source.batches()):
        tally.add(documents, coded)
        yield documents, coded
        if coder.n_tokens > MAX_TOKENS:
            parts.add(tally.close(coder.tokens))
            coder.forget()
    parts.add(tally.close(coder.tokens))


def _vocabulary(coder: DocumentCoder, parts: Parts, name: str, known: Sequence[str]) -> Vocab:
    """Build the vocabulary: what is known, then of a SentencePiece model its pieces, else the frequent tokens."""
    config, splitter = coder.config, coder.tokenizer.splitter
    counts = parts.counts(config.vocab_splits, config.max_vocab)
    if not counts:
        raise UserError(
            f"{name}: no document is in split {' or '.join(config.vocab_splits)}; see --vocab-splits"
        )
    if isinstance(splitter, SubwordSplitter):
        own = Vocab(splitter.vocabulary())
    else:
        own = Vocab.build(
            counts,
            min_freq=config.min_freq,
            max_vocab=config.max_vocab,
            fake_tokens=config.fake_tokens,
        )
    return own.after(known) if known else own


def _write_ids(
    codes: BinaryIO,
    path: Path,
    parts: Iterable[tuple[int, np.ndarray]],
    n_vocab: int,
    n_tokens: int,
) -> None:
    """Renumber the codes of each part into `path`, a block at a time, in the smallest type that holds all ids."""
    dtype = np.min_scalar_type(max(n_vocab - 1, 256))
    codes.seek(0)
    with open(path, "wb") as file:
        header = {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": (n_tokens,),
        }
        np.lib.format.write_array_header_1_0(file, header)
        for n_running, ids in parts:
            narrow = ids.astype(dtype)
            for start in range(0, n_running, _BLOCK):
                block = codes.read(4 * min(_BLOCK, n_running - start))
                file.write(narrow[np.frombuffer(block, np.int32)].tobytes())


def _finish(folder: Path, manifest: CorpusManifest) -> None:
    """Clear away what the writing needed, and write what makes the folder a corpus."""
    for part in folder.glob("*.part"):
        part.unlink()
    manifest.save(folder)
    (folder / "README.md").write_text(Corpus.load(folder).card(), encoding="utf-8")


def _write_arrays(folder: Path, tally: Tally, labels: np.ndarray | None) -> None:
    """Write what there is one of per document."""
    np.save(folder / "offsets.npy", np.concatenate([[0], np.cumsum(tally.lengths)]))
    np.save(folder / "splits.npy", tally.splits)
    np.save(folder / "characters.npy", tally.characters)
    if labels is not None:
        np.save(folder / "labels.npy", labels)
