"""A pair's folder -> the forward and the backward language model over one vocabulary (Howard & Ruder 2018, 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.files import fingerprint
from ulmfit.inference.language_model import LanguageModel, Score
from ulmfit.markup import escaped
from ulmfit.models import pretrained
from ulmfit.models.pair import LanguageModelPairParts, load_language_model_pair
from ulmfit.models.precision import Precision
from ulmfit.text.vocab import Vocab


class LanguageModelPair:
    """Two language models of the same text, one for each direction: `for lm in pair` gives forward, then backward.

    What is asked of the pair itself (`generate`, `score`, `logits`, `embed`) the forward one does.
    """

    def __init__(self, parts: LanguageModelPairParts, *, precision: Precision = "fp32") -> None:
        self.parts = parts
        self.forward = LanguageModel(parts.forward, precision=precision)
        self.backward = LanguageModel(parts.backward, precision=precision)

    @classmethod
    def load(cls, folder: str | Path, *, precision: Precision = "fp32") -> LanguageModelPair:
        """Load a folder, proving that its parts belong together."""
        return cls(load_language_model_pair(folder), precision=precision)

    @property
    def folder(self) -> Path:
        """Where both models lie."""
        return self.parts.folder

    @property
    def vocab(self) -> Vocab:
        """The tokens and their ids, the same for both."""
        return self.forward.vocab

    def text_config(self, like: TextConfig = TextConfig()) -> TextConfig:
        """Give the config of a corpus that reads text as these models do; what that leaves open is as in `like`."""
        return self.forward.text_config(like)

    @property
    def fingerprint(self) -> str:
        """A hash of both models: what a child names as its parent."""
        return fingerprint([one.parts.fingerprint for one in self])

    @property
    def generate(self) -> Callable[..., str]:
        """Write what comes after a prompt: `LanguageModel.generate` of the forward model."""
        return self.forward.generate

    @property
    def score(self) -> Callable[[Iterable[str]], list[Score]]:
        """Measure how well the forward model foresees texts: `LanguageModel.score`."""
        return self.forward.score

    @property
    def logits(self) -> Callable[[np.ndarray | Tensor], Tensor]:
        """Give the forward model's logits after each of some ids: `LanguageModel.logits`."""
        return self.forward.logits

    @property
    def embed(self) -> Callable[[Iterable[str]], np.ndarray]:
        """Turn each text into one vector: `LanguageModel.embed` of the forward model."""
        return self.forward.embed

    def __iter__(self) -> Iterator[LanguageModel]:
        return iter((self.forward, self.backward))

    def __str__(self) -> str:
        models = "\n".join(map(str, self)).replace("\n", "\n  ")
        return f"language model pair {self.folder}\n  {models}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        models = "".join(lm._repr_html_() for lm in self)
        return f"<b>language model pair {escaped(self.folder)}</b>{models}"


def load_pretrained(
    name: str, *, data_dir: str | Path | None = None
) -> LanguageModel | LanguageModelPair:
    """Load a language model by name: "en", which travels with this package in both directions, or a published one.

    A published one, such as wt103-fwd, is downloaded the first time.
    """
    parts = pretrained.load_pretrained(name, data_dir=data_dir)
    is_pair = isinstance(parts, LanguageModelPairParts)
    return LanguageModelPair(parts) if is_pair else LanguageModel(parts)


Source = LanguageModel | LanguageModelPair


def open_lm(lm: Source | str | Path, *, data_dir: str | Path | None = None) -> Source:
    """Open a language model or a pair by its folder, or a pretrained one by its name, which may lie in `data_dir`."""
    if isinstance(lm, Source):
        return lm
    if not isinstance(lm, (str, Path)):
        raise UserError(
            f"a {type(lm).__name__} is no language model: give one, its folder or the name of a pretrained one"
            + ("; learn.save_model(OUT) makes the folder" if hasattr(lm, "save_model") else "")
        )
    parts = pretrained.open_language_model(lm, data_dir=data_dir)
    if isinstance(parts, LanguageModelPairParts):
        return LanguageModelPair(parts)
    return LanguageModel(parts)


def open_one(lm: Source | str | Path, direction: str = "forward") -> LanguageModel:
    """Open a language model; of a pair the backward one if that is asked for, else the forward one."""
    found = open_lm(lm)
    if isinstance(found, LanguageModelPair):
        return found.backward if direction == "backward" else found.forward
    return found
