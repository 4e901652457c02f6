"""A classifier's folder -> answers for texts, the same alone, in any batch, in any order and in any thread.

Texts are read in windows, batches are cut by tokens, and documents by chunks: memory depends
neither on how many texts there are nor on how long one is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch

from ulmfit.errors import UserError
from ulmfit.inference.answers import Prediction, confidence, decide, predictions, probabilities
from ulmfit.inference.reading import BATCH_TOKENS
from ulmfit.inference.texts import Fields, TextEncoder, cut, fields_of
from ulmfit.markup import facts
from ulmfit.models.classifier_artefact import ClassifierParts, load_classifier
from ulmfit.models.precision import Precision, whole_range, without_autocast
from ulmfit.models.threads import each
from ulmfit.text.buckets import DocumentBatches, PaddedBatch

if TYPE_CHECKING:
    import pandas as pd

    from ulmfit.inference.explain import Method
    from ulmfit.inference.explanation import Explanation
    from ulmfit.models.classifier import Classifier as Module
    from ulmfit.models.classifier_arch import ClassifierArch
    from ulmfit.models.classifier_manifest import ClassifierManifest
    from ulmfit.text.tokenizers import Tokenizer
    from ulmfit.text.vocab import Vocab

BS = 64


class Classifier:
    """A trained classifier of one direction or both, with its vocabulary, tokenizer and labels.

    `precision="fp32"` is exact: a text's probabilities are the same in any company, to 1e-5.
    "auto" is faster where the processor multiplies bfloat16, and rounds. "int8" is the fastest for many texts: a
    coarser rounding, the same in any company.
    """

    def __init__(self, parts: ClassifierParts) -> None:
        self.parts = parts
        self._models: dict[tuple[str, Precision], Module] = {}
        self._lock = Lock()

    @classmethod
    def load(cls, folder: str | Path) -> Classifier:
        """Load a folder, or that of the run which made it, proving that its parts belong together."""
        return cls(load_classifier(folder))

    @property
    def folder(self) -> Path:
        """Where the classifier lies."""
        return self.parts.folder

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels' names in the order of the columns."""
        return self.parts.labels.names

    @property
    def label_kind(self) -> str:
        """category, multi or number."""
        return self.parts.labels.kind

    @property
    def temperature(self) -> float:
        """What logits are divided by."""
        return self.parts.labels.temperature

    @property
    def directions(self) -> tuple[str, ...]:
        """forward, backward, or the two, whose probabilities are averaged."""
        return self.parts.directions

    @property
    def vocab(self) -> Vocab:
        """The tokens and their ids."""
        return self.parts.vocab

    @property
    def arch(self) -> ClassifierArch:
        """The architecture."""
        return self.parts.arch

    @property
    def manifest(self) -> ClassifierManifest:
        """What the folder's manifest.json says."""
        return self.parts.manifest

    @property
    def n_fields(self) -> int:
        """How many texts make a document."""
        return self.parts.text.n_fields or 1

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the classifier was trained with."""
        return self._encoder.tokenizer

    def predict(
        self, texts: Iterable[str | Fields], *, precision: Precision = "auto"
    ) -> np.ndarray:
        """Give each text's label: a name, a tuple of the names that hold, or a value.

        Where it has learnt from several text columns, `texts` are tuples of as many.
        """
        return decide(self.predict_proba(texts, precision=precision), self.parts.labels)

    def predict_proba(
        self,
        texts: Iterable[str | Fields],
        *,
        precision: Precision = "auto",
        direction: str | None = None,
    ) -> np.ndarray:
        """Give (n, n_labels) probabilities, columns as in `labels`; of a classifier of numbers, the values.

        With a `direction`, its own answers; without one, the average of all.
        """
        found = [
            self.probabilities(self.encode(*window), precision=precision, direction=direction)
            for window in self._windows(texts)
        ]
        return np.concatenate([np.empty((0, len(self.labels))), *found])

    def predict_frame(
        self, texts: Iterable[str | Fields], *, precision: Precision = "auto"
    ) -> pd.DataFrame:
        """Give a table of text, label, confidence, and one column per label."""
        import pandas as pd

        read = list(fields_of(texts, self.n_fields))
        column = read if self.n_fields > 1 else [text for (text,) in read]
        found = self.predict_proba(column, precision=precision)
        labels = self.parts.labels
        table = pd.DataFrame(
            {
                # Objects, since pandas' own strings refuse half surrogates.
                "text": pd.Series(column, dtype=object),
                "label": decide(found, labels).tolist(),
                "confidence": confidence(found, labels),
            }
        )
        # Joined, not assigned: a label may be called `text`.
        return pd.concat([table, pd.DataFrame(found, columns=list(labels.names))], axis=1)

    def predict_iter(
        self, texts: Iterable[str | Fields], *, precision: Precision = "auto"
    ) -> Iterator[Prediction]:
        """Yield an answer for each text, in order, while the next texts are still to come."""
        for window in self._windows(texts):
            found = self.probabilities(self.encode(*window), precision=precision)
            yield from predictions(found, self.parts.labels)

    def explain(
        self,
        text: str | Fields,
        *,
        label: str | None = None,
        method: Method = "occlusion",
        max_tokens: int | None = None,
        precision: Precision = "auto",
    ) -> Explanation:
        """Say which words of a text speak for a label, by default the most probable one (see explain.py)."""
        from ulmfit.inference.explain import explain

        return explain(
            self, text, label=label, method=method, max_tokens=max_tokens, precision=precision
        )

    def encode(self, texts: Sequence[str], *more: Sequence[str]) -> list[np.ndarray]:
        """Turn texts into ids; `more` are further columns, where a document has several."""
        given, learnt = 1 + len(more), self.parts.text.n_fields
        if learnt not in (None, given):
            raise UserError(
                f"{self.parts.folder} has learnt from documents of {learnt} texts, and these have {given}: "
                "name as many text columns, in the order in which it met them"
            )
        return self._encoder.encode(texts, *more)

    def tokens(self, text: str | Fields) -> list[str]:
        """Turn a text into tokens, those included that the vocabulary lacks."""
        (fields,) = fields_of([text], self.n_fields)
        return self._encoder.tokens(*fields)

    def _windows(self, texts: Iterable[str | Fields]) -> Iterator[list[tuple[str, ...]]]:
        """Cut the documents into windows, and these into columns."""
        found = fields_of(texts, self.n_fields)
        for window in cut(found, lambda fields: sum(map(len, fields))):
            yield list(zip(*window))

    def probabilities(
        self,
        documents: Sequence[np.ndarray],
        *,
        precision: Precision = "auto",
        direction: str | None = None,
    ) -> np.ndarray:
        """Do what `predict_proba` does for documents that are ids already, in the order of their text."""
        asked = self.directions if direction is None else (direction,)
        logits = [self.logits(documents, name, precision=precision) for name in asked]
        return probabilities(np.stack(logits), self.parts.labels)

    def logits(
        self, documents: Sequence[np.ndarray], direction: str, *, precision: Precision = "auto"
    ) -> np.ndarray:
        """Give one direction's logits (n, n_labels), before the temperature."""
        found = self.encoder_logits(documents, direction, precision=precision)
        linear = self.parts.linear
        return found if linear is None else found + linear.logits(documents)

    def encoder_logits(
        self, documents: Sequence[np.ndarray], direction: str, *, precision: Precision = "auto"
    ) -> np.ndarray:
        """Give the same without the linear part."""
        model = self._model(direction, precision)
        ids = np.concatenate([np.empty(0, np.int64), *documents])
        offsets = np.cumsum([0, *map(len, documents)])
        batches = DocumentBatches(
            ids,
            offsets,
            rows=np.arange(len(documents)),
            bs=BS,
            max_tokens=BATCH_TOKENS,
            direction=direction,
            shuffle=False,
        )
        found = np.empty((len(documents), len(self.labels)), np.float32)

        @torch.no_grad()
        @without_autocast
        def answer(batch: PaddedBatch) -> tuple[np.ndarray, np.ndarray]:
            output = model(torch.from_numpy(batch.ids), torch.from_numpy(batch.lengths))
            return batch.places, output.logits.numpy()

        for places, logits in each(answer, batches.batches(0), arch=self.arch.encoder, bs=BS):
            found[places] = logits
        return found

    @cached_property
    def _encoder(self) -> TextEncoder:
        return TextEncoder(self.parts.tokenizer(), self.vocab)

    def _model(self, direction: str, precision: Precision) -> Module:
        """Build a direction's module for a precision once; all of them share their tensors."""
        if direction not in self.directions:
            raise UserError(
                f"no {direction} direction in {self.folder}: it reads {' and '.join(self.directions)}"
            )
        if precision not in get_args(Precision):
            raise UserError(
                f"--precision is {precision!r}; allowed: {', '.join(get_args(Precision))}"
            )
        if precision == "int8" and whole_range() is None:
            raise UserError(
                "--precision is 'int8', and torch has no products of 8 bits for this processor (AVX2 or AVX512): "
                "leave it at auto"
            )
        with self._lock:
            key = direction, precision
            if key not in self._models:
                self._models[key] = self.parts.model(direction, precision=precision)
            return self._models[key]

    def __str__(self) -> str:
        return "\n  ".join([f"classifier {self.folder}", *self._facts()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return facts(f"classifier {self.folder}", self._facts())

    def _facts(self) -> list[str]:
        """Say in a few lines what this is."""
        encoder, made = self.arch.encoder, self.manifest.provenance
        names = ", ".join(self.labels[:12]) + (", ..." if len(self.labels) > 12 else "")
        metrics = ", ".join(f"{name} {value:g}" for name, value in made.metrics.items())
        return [
            f"labels: {names} ({self.label_kind}), temperature {self.temperature:g}",
            f"{' and '.join(self.directions)} {encoder.backbone}, {encoder.n_layers} layers of "
            f"{encoder.n_hid}, embedding {encoder.emb_sz}",
            f"{len(self.vocab):,} entries in the vocabulary",
            f"metrics: {metrics or 'none'}",
            f"from {made.origin}",
        ]
