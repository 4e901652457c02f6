"""Published language models by name: fetched once, verified, and kept as artefact folders in the user's cache.

A new one is a line in `PRETRAINED`.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from ulmfit.errors import UserError, nearest
from ulmfit.files import MANIFEST
from ulmfit.models.artefact import LanguageModelParts, load_language_model
from ulmfit.models.convert import convert
from ulmfit.text.archives import unpack
from ulmfit.text.download import RemoteFile, download, mismatch
from ulmfit.text.locate import data_folder

_HEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class Pretrained:
    """An archive with weights and a vocabulary."""

    remote: RemoteFile
    origin: str
    direction: str = "forward"
    head_md5: str = ""
    """MD5 of the first 2**20 bytes: what fastai v1 published next to the size. gzip's own sum covers the rest."""


_MODELS = "https://s3.amazonaws.com/fast-ai-modelzoo"
# Sizes and check sums as in fastai v1's table of its files.
PRETRAINED: dict[str, Pretrained] = {
    "wt103-fwd": Pretrained(
        RemoteFile(f"{_MODELS}/wt103-fwd.tgz", 105_067_061),
        origin="fastai's AWD-LSTM, trained on WikiText-103",
        head_md5="7d1114cd9684bf9d1ca3c9f6a54da6f9",
    ),
    "wt103-bwd": Pretrained(
        RemoteFile(f"{_MODELS}/wt103-bwd.tgz", 105_205_312),
        origin="fastai's AWD-LSTM, trained backward on WikiText-103",
        direction="backward",
        head_md5="20b06f5830fd5a891d21044c28d3097f",
    ),
}


def load_pretrained(name: str, *, data_dir: str | Path | None = None) -> LanguageModelParts:
    """Load a published language model by name, fetching and converting it the first time."""
    if name not in PRETRAINED:
        raise UserError(f"no pretrained model {name!r}: {nearest(name, PRETRAINED)}")
    home = data_folder(data_dir)
    folder = home / "models" / name
    if not (folder / MANIFEST).is_file():
        _fetch_and_convert(name, folder, (home / "archives", home))
    return load_language_model(folder)


def _fetch_and_convert(name: str, folder: Path, places: tuple[Path, ...]) -> None:
    """Make the artefact folder of a published model; of the files on the way only the archive stays."""
    entry = PRETRAINED[name]
    unpacked = unpack(_fetch(entry, places), name)
    try:
        convert(unpacked, folder, direction=entry.direction, origin=entry.origin)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _fetch(entry: Pretrained, places: tuple[Path, ...]) -> Path:
    """Take the archive that lies in one of the folders, or download it into the first; verify it either way."""
    name = entry.remote.name
    found = next((place / name for place in places if (place / name).is_file()), None)
    path = found or download(entry.remote, places[0] / name)
    if wrong := mismatch(entry.remote, path) or _wrong_head(entry, path):
        raise UserError(f"{path} is not the published file ({wrong}): remove it and try again")
    return path


def _wrong_head(entry: Pretrained, path: Path) -> str:
    """Say how the beginning of a file differs from the published one's."""
    with open(path, "rb") as file:
        found = hashlib.md5(file.read(_HEAD_BYTES), usedforsecurity=False).hexdigest()
    if entry.head_md5 in ("", found):
        return ""
    return f"the MD5 of its first MB is {found}, the published one is {entry.head_md5}"
