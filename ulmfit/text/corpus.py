"""A prepared corpus: a folder of flat id arrays that stay on the disk, with one vocabulary.

Reading one needs numpy alone; only `encode`, for new texts, builds the tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ulmfit.config import SPLITS, TextConfig
from ulmfit.errors import UserError, nearest
from ulmfit.files import CORPUS, hash_file, in_run
from ulmfit.text.decode import decode_pieces, decode_words
from ulmfit.text.display import corpus_html
from ulmfit.text.manifest import REPAIR, CorpusManifest
from ulmfit.text.vocab import Vocab
from ulmfit.text.windows import FlatArray, open_flat

if TYPE_CHECKING:
    from ulmfit.text.tokenizers import Tokenizer

SUBWORD_MODEL = "tokenizer/subwords.model"
_BLOCK = 1 << 22  # numbers looked at at once


@dataclass(frozen=True, eq=False, repr=False)
class Corpus:
    """Documents as ids, with labels and splits."""

    folder: Path
    manifest: CorpusManifest
    vocab: Vocab
    ids: FlatArray
    """All tokens of all documents, flat: memory-mapped, and read in windows where they are very many."""
    offsets: np.ndarray
    """Document d is ids[offsets[d]:offsets[d + 1]]."""
    splits: np.ndarray
    """Per document the position of its split in `ulmfit.config.SPLITS`."""
    labels: np.ndarray | None
    """category: int32, -1 without label; number: float32, NaN; multi: an int8 matrix, rows of -1."""
    characters: np.ndarray
    """Length of each raw text, for figures per character."""

    @classmethod
    def load(cls, folder: str | Path) -> Corpus:
        """Open a corpus folder, or that of the run which made it, proving that its parts belong together."""
        if not isinstance(folder, (str, Path)):
            raise UserError(
                f"a {type(folder).__name__} is no corpus: ulmfit.prepare(texts, OUT) makes one, in the folder OUT"
            )
        folder = in_run(folder, CORPUS)
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder: {REPAIR} {folder}")
        manifest = CorpusManifest.load(folder)
        vocab = Vocab.load(folder / "vocab.json")
        if vocab.fingerprint != manifest.vocab_fingerprint:
            raise UserError(
                f"{folder / 'vocab.json'} is not the vocabulary of this corpus: {REPAIR} {folder}"
            )
        ids = _open(folder / "ids.npy", open_flat)
        names = ("offsets", "splits", "characters")
        offsets, splits, characters = (_open(folder / f"{name}.npy") for name in names)
        labels = _open(folder / "labels.npy") if manifest.label_kind != "none" else None
        n = sum(split.documents for split in manifest.splits.values())
        per_document = (splits, characters, *(() if labels is None else (labels,)))
        if (
            len(offsets) != n + 1
            or offsets[-1] != len(ids)
            or any(len(array) != n for array in per_document)
        ):
            raise UserError(
                f"{folder}: the arrays do not fit the manifest's {n:,} documents: {REPAIR} {folder}"
            )
        found = cls(folder, manifest, vocab, ids, offsets, splits, labels, characters)
        found._require_sound()
        return found

    def _require_sound(self) -> None:
        """Refuse arrays that are not those that were written, or hold what nothing of this corpus can be."""
        offsets = self.offsets
        is_rising = _is_within(offsets, 0, None) and bool((offsets[1:] >= offsets[:-1]).all())
        sound = {
            "ids": _is_within(self.ids, 0, len(self.vocab)),
            "offsets": is_rising and offsets[0] == 0,
            "splits": _is_within(self.splits, 0, len(SPLITS)),
            "characters": _is_within(self.characters, 0, None),
            "labels": self._has_labels(),
        }
        for name, holds in sound.items():
            where = self.folder / f"{name}.npy"
            if not holds or not self._is_as_written(where):
                raise UserError(f"{where} was changed or damaged: {REPAIR} {self.folder}")

    def _is_as_written(self, array: Path) -> bool:
        """Compare an array's file with what the manifest knows of it."""
        digest = self.manifest.files.get(array.name)
        return digest is None or (array.is_file() and hash_file(array) == digest)

    def _has_labels(self) -> bool:
        """Tell whether there are labels of the kind and the names that the manifest says."""
        labels, n_names = self.labels, len(self.label_names)
        if labels is None:
            return self.label_kind == "none"
        if self.label_kind == "number":
            return labels.ndim == 1 and labels.dtype.kind == "f"
        if self.label_kind == "multi":
            return labels.shape[1:] == (n_names,) and _is_within(labels.ravel(), -1, 2)
        return self.label_kind == "category" and _is_within(labels, -1, n_names)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, document: int) -> np.ndarray:
        """Return the ids of a document."""
        if not 0 <= document < len(self):
            raise IndexError(f"document {document} of {len(self)}")
        return self.ids[self.offsets[document] : self.offsets[document + 1]]

    @property
    def label_kind(self) -> str:
        """What the labels are: none, category, multi or number."""
        return self.manifest.label_kind

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels' names, in the order of their codes."""
        return self.manifest.label_names

    @property
    def config(self) -> TextConfig:
        """How the text became ids."""
        return self.manifest.config

    @property
    def fingerprint(self) -> str:
        """The key: a hash of the data, the configuration and the tokenizer."""
        return self.manifest.key

    @property
    def protocol(self) -> str:
        """Whether models of this corpus can be clean: not if test documents counted for its vocabulary."""
        return "transductive" if "test" in self.config.vocab_splits else "clean"

    def rows(self, split: str) -> np.ndarray:
        """Return the numbers of the documents of a split, in corpus order."""
        if split not in SPLITS:
            raise UserError(f"no split {split!r}: {nearest(split, SPLITS)}")
        return np.flatnonzero(self.splits == SPLITS.index(split))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that made this corpus."""
        from dataclasses import replace

        from ulmfit.text.tokenizers import build_tokenizer

        model = self.folder / SUBWORD_MODEL
        tokenizer = build_tokenizer(
            replace(self.config, sp_model=str(model)) if model.exists() else self.config
        )
        if tokenizer.fingerprint != self.manifest.tokenizer_fingerprint:
            then = ", ".join(
                f"{name} {version}" for name, version in self.manifest.versions.items()
            )
            raise UserError(
                f"{self.folder} was tokenized with {then}; install these, or {REPAIR} {self.folder}"
            )
        return tokenizer

    def encode(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        """Yield the ids of new texts, as they would stand in this corpus."""
        for tokens in self.tokenizer.tokenize(texts):
            yield self.vocab.encode(tokens)

    def tokens(self, document: int) -> list[str]:
        """Return the tokens of a document."""
        return self.vocab.decode(self[document].tolist())

    def text(self, document: int) -> str:
        """Return a document as readable text, unknown words as `xxunk`."""
        tokens = self.tokens(document)
        return decode_words(tokens) if self.config.tokenizer == "word" else decode_pieces(tokens)

    def label(self, document: int) -> str:
        """Return a document's label in words, empty without one."""
        if not 0 <= document < len(self):
            raise IndexError(f"document {document} of {len(self)}")
        value = None if self.labels is None else self.labels[document]
        if (
            value is None
            or not np.all(np.isfinite(value))
            or (np.any(value < 0) and self.label_kind != "number")
        ):
            return ""
        if self.label_kind == "multi":
            return ", ".join(
                name for name, holds in zip(self.label_names, value, strict=True) if holds
            )
        return f"{value:g}" if self.label_kind == "number" else self.label_names[value]

    def show(self, n: int = 5, *, split: str = "train", characters: int = 300) -> Any:
        """Return the first `n` documents of a split as a DataFrame to look at."""
        import pandas as pd

        rows = self.rows(split)[:n].tolist()
        texts = [self.text(row)[:characters] for row in rows]
        labels = {} if self.labels is None else {"label": [self.label(row) for row in rows]}
        return pd.DataFrame(
            {"text": texts, **labels, "tokens": [len(self[row]) for row in rows]}, index=rows
        )

    def summary(self) -> dict[str, Any]:
        """Return what there is to know at a glance, for JSON."""
        return {
            "folder": str(self.folder), "name": self.manifest.name, "documents": len(self), "tokens": len(self.ids),
            "vocabulary": len(self.vocab), "bytes_per_id": self.ids.dtype.itemsize,
            "splits": {name: asdict(split) for name, split in self.manifest.splits.items()},
            "label_kind": self.label_kind, "labels": self.label_counts(), "notices": list(self.manifest.notices),
            "key": self.fingerprint,
        }  # fmt: skip

    def label_counts(self, split: str | None = None) -> dict[str, int]:
        """Count the documents of each label, in all splits or in one; of numbers, all that have one."""
        if self.labels is None:
            return {}
        labels = self.labels if split is None else self.labels[self.rows(split)]
        if self.label_kind == "number":
            return {"number": int(np.isfinite(labels).sum())}
        known = labels[labels >= 0] if self.label_kind == "category" else None
        counts = (
            np.bincount(known, minlength=len(self.label_names))
            if known is not None
            else (labels > 0).sum(0)
        )
        return dict(zip(self.label_names, counts.tolist(), strict=True))

    def describe(self) -> list[str]:
        """Say in a few lines what is here: the splits, the vocabulary, the labels, and what was noticed."""
        lines = []
        for name, split in self.manifest.splits.items():
            sizes = f"{split.documents:>9,} documents {split.tokens:>12,} tokens"
            lines.append(f"{name:<5} {sizes}  {split.unknown / max(split.tokens, 1):6.2%} unknown")
        labels = [f"{name} {n:,}" for name, n in self.label_counts().items()]
        shown = ", ".join([*labels[:12], *(["..."] if len(labels) > 12 else [])])
        lines.append(f"{len(self.vocab):,} entries in the vocabulary; labels: {shown or 'none'}")
        return [*lines, *(f"note: {notice}" for notice in self.manifest.notices)]

    def card(self) -> str:
        """Return the folder's README.md."""
        config = ", ".join(f"{name}={value!r}" for name, value in asdict(self.config).items())
        versions = ", ".join(f"{name} {number}" for name, number in self.manifest.versions.items())
        return (
            f"# Corpus: {self.manifest.name}\n\nText as numbers, prepared by ulmfit; open it with "
            f"`ulmfit.load(folder)`.\n\n```\n{chr(10).join(self.describe())}\n```\n\n"
            f"Made with {versions}; {config}. Key of data, settings and tokenizer: `{self.fingerprint}`.\n"
        )

    def __str__(self) -> str:
        size = f"{len(self):,} documents, {len(self.ids):,} tokens"
        head = f"corpus {self.manifest.name}: {size} in {self.folder}"
        return "\n  ".join([head, *self.describe()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return corpus_html(self)


def _mapped(path: Path) -> np.ndarray:
    """Map an array into memory: numbers, one for each document, or one row of them."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.ndim not in (1, 2):
        raise ValueError("no list of numbers")
    return array


def _open(path: Path, reader: Callable[[Path], Any] = _mapped) -> Any:
    """Read an array of the folder, or say in one line why not."""
    try:
        return reader(path)
    except Exception as error:  # numpy reads a header as Python: any error of its parser may come
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} cannot be read ({reason}): {REPAIR} {path.parent}") from error


def _is_within(array: FlatArray, least: int, limit: int | None) -> bool:
    """Tell whether an array holds whole numbers from `least` on and below `limit`."""
    if array.ndim != 1 or array.dtype.kind not in "iu":
        return False
    for start in range(0, len(array), _BLOCK):
        block = array[start : start + _BLOCK]
        if block.min() < least or (limit is not None and block.max() >= limit):
            return False
    return True
