"""Language models by name: those that travel with this package, and published ones, which are fetched once, verified,
and kept as artefact folders in the user's cache.

A new one is a line in `PRETRAINED`.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from ulmfit.errors import UserError, nearest
from ulmfit.files import MANIFEST, read_json
from ulmfit.models.artefact import LanguageModelParts, load_language_model
from ulmfit.models.convert import convert
from ulmfit.models.pair import KIND as PAIR
from ulmfit.models.pair import LanguageModelPairParts, load_language_model_pair
from ulmfit.text.archives import unpack
from ulmfit.text.download import RemoteFile, download, mismatch
from ulmfit.text.locate import PACKAGED, data_folder

_HEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class Pretrained:
    """An archive with weights and a vocabulary."""

    remote: RemoteFile
    origin: str
    direction: str = "forward"
    head_md5: str = ""
    """MD5 of the first 2**20 bytes: what fastai v1 published next to the size. gzip's own sum covers the rest."""


@dataclass(frozen=True)
class Packaged:
    """A model that travels with this package, in the folder of its name."""

    origin: str
    direction: str


_MODELS = "https://s3.amazonaws.com/fast-ai-modelzoo"
# Sizes and check sums as in fastai v1's table of its files.
PRETRAINED: dict[str, Pretrained | Packaged] = {
    "en": Packaged("this project's AWD-LSTM, trained on English Wikipedia", "both"),
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


def open_language_model(lm: str | Path) -> LanguageModelParts | LanguageModelPairParts:
    """Open a language model or a pair: the folder of one, or the name of a pretrained one."""
    folder = Path(lm)
    if not (folder / MANIFEST).exists() and str(lm) in PRETRAINED:
        return load_pretrained(str(lm))
    if not folder.is_dir():
        raise UserError(
            f"{lm} is neither the folder of a language model nor a pretrained one: {nearest(str(lm), PRETRAINED)}"
        )
    return _load(folder)


def load_pretrained(
    name: str, *, data_dir: str | Path | None = None
) -> LanguageModelParts | LanguageModelPairParts:
    """Load a language model by name; a published one is fetched and converted the first time."""
    folder = pretrained_folder(name, data_dir=data_dir)
    if not (folder / MANIFEST).is_file():
        entry, home = PRETRAINED[name], data_folder(data_dir)
        if isinstance(entry, Packaged):
            raise UserError(
                f"the language model {name!r} is not part of this installation: install the project again"
            )
        _fetch_and_convert(name, entry, folder, (home / "archives", home))
    return _load(folder)


def pretrained_folder(name: str, *, data_dir: str | Path | None = None) -> Path:
    """Say where a model lies, or will lie once it is fetched."""
    if name not in PRETRAINED:
        raise UserError(f"no pretrained model {name!r}: {nearest(name, PRETRAINED)}")
    if isinstance(PRETRAINED[name], Pretrained):
        return data_folder(data_dir) / "models" / name
    folders = [home / "models" / name for home in PACKAGED]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _load(folder: Path) -> LanguageModelParts | LanguageModelPairParts:
    manifest = folder / MANIFEST
    content = read_json(manifest) if manifest.exists() else None
    is_pair = isinstance(content, dict) and content.get("kind") == PAIR
    return load_language_model_pair(folder) if is_pair else load_language_model(folder)


def _fetch_and_convert(
    name: str, entry: Pretrained, folder: Path, places: tuple[Path, ...]
) -> None:
    """Make the artefact folder of a published model; of the files on the way only the archive stays."""
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
