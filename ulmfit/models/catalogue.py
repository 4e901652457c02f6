"""The language models that have a name: those that travel with this package, and published ones. Imports nothing heavy.

A new one is a line in `PRETRAINED`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ulmfit.errors import UserError, nearest
from ulmfit.files import MANIFEST
from ulmfit.text.download import RemoteFile
from ulmfit.text.locate import PACKAGED, data_folder


@dataclass(frozen=True)
class Pretrained:
    """An archive with weights and a vocabulary."""

    remote: RemoteFile
    origin: str
    direction: str = "forward"
    licence: str = "not stated by the publishers"
    head_md5: str = ""
    """MD5 of the first 2**20 bytes: what fastai v1 published next to the size. gzip's own sum covers the rest."""


@dataclass(frozen=True)
class Packaged:
    """A model that travels with this package, in the folder of its name."""

    origin: str
    direction: str
    licence: str


@dataclass(frozen=True)
class PretrainedRow:
    """What a table says about a model."""

    name: str
    origin: str
    direction: str
    licence: str
    size_mb: float
    """To download; 0 for what came with the package."""
    present: bool


_MODELS = "https://s3.amazonaws.com/fast-ai-modelzoo"
# Sizes and check sums as in fastai v1's table of its files.
PRETRAINED: dict[str, Pretrained | Packaged] = {
    "en": Packaged(
        "this project's AWD-LSTM, trained on English Wikipedia", "both", "CC BY-SA 3.0, as its text"
    ),
    "wt103-fwd": Pretrained(
        RemoteFile(f"{_MODELS}/wt103-fwd.tgz", 105_067_061),
        origin="fastai's AWD-LSTM, trained on WikiText-103",
        head_md5="7d1114cd9684bf9d1ca3c9f6a54da6f9",
    ),
    "wt103-bwd": Pretrained(
        RemoteFile(f"{_MODELS}/wt103-bwd.tgz", 105_205_312),
        origin="fastai's AWD-LSTM, trained on WikiText-103",
        direction="backward",
        head_md5="20b06f5830fd5a891d21044c28d3097f",
    ),
}


def pretrained_folder(name: str, *, data_dir: str | Path | None = None) -> Path:
    """Say where a model lies, or will lie once it is fetched."""
    if name not in PRETRAINED:
        raise UserError(f"no pretrained model {name!r}: {nearest(name, PRETRAINED)}")
    if isinstance(PRETRAINED[name], Pretrained):
        return data_folder(data_dir) / "models" / name
    folders = [home / "models" / name for home in PACKAGED]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def is_packaged(folder: Path) -> bool:
    """Tell whether a model is one that travels with this package."""
    return folder.resolve().parent in [(home / "models").resolve() for home in PACKAGED]


def describe(data_dir: str | Path | None = None) -> list[PretrainedRow]:
    """List the models for a table."""
    return [
        PretrainedRow(
            name,
            entry.origin,
            entry.direction,
            entry.licence,
            round((entry.remote.size or 0) / 1e6, 1) if isinstance(entry, Pretrained) else 0.0,
            (pretrained_folder(name, data_dir=data_dir) / MANIFEST).is_file(),
        )
        for name, entry in PRETRAINED.items()
    ]
