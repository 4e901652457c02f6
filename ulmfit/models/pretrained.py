"""Language models by folder or by name; a published one is fetched once, verified, converted, and kept in the user's cache."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from ulmfit.errors import UserError, nearest
from ulmfit.files import MANIFEST, kind_of
from ulmfit.models.artefact import LanguageModelParts, load_language_model
from ulmfit.models.catalogue import PRETRAINED, Packaged, Pretrained, pretrained_folder
from ulmfit.models.convert import convert
from ulmfit.models.pair import KIND as PAIR
from ulmfit.models.pair import LanguageModelPairParts, load_language_model_pair
from ulmfit.text.archives import unpack
from ulmfit.text.download import download, mismatch
from ulmfit.text.locate import data_folder

_HEAD_BYTES = 1 << 20


def open_language_model(
    lm: str | Path, *, data_dir: str | Path | None = None
) -> LanguageModelParts | LanguageModelPairParts:
    """Open a language model or a pair: the folder of one, or the name of a pretrained one."""
    folder = Path(lm)
    if not (folder / MANIFEST).exists() and str(lm) in PRETRAINED:
        return load_pretrained(str(lm), data_dir=data_dir)
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


def _load(folder: Path) -> LanguageModelParts | LanguageModelPairParts:
    if kind_of(folder) == PAIR:
        return load_language_model_pair(folder)
    return load_language_model(folder)


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
