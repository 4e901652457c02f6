"""From the name of a data set to its documents. In: a name and a data folder. Out: a `Source`.

What lies in the folder already always wins over a download; a download goes into the set's own folder there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.text.archives import unpack
from ulmfit.text.cells import LabelRule
from ulmfit.text.corpora import ArticlesTable, QuestionsTable
from ulmfit.text.csv_table import CsvTable
from ulmfit.text.datasets import DATASETS, DataSet, Piece
from ulmfit.text.documents import Part, Source
from ulmfit.text.download import RemoteFile, download, mismatch
from ulmfit.text.folders import FolderTable
from ulmfit.text.streams import COMPRESSED, bare_name
from ulmfit.text.table import Table

_PACKAGE = Path(__file__).resolve().parents[1]
# Where the files lie that travel with this project: installed, and in a checkout.
PACKAGED = (_PACKAGE / "data", _PACKAGE.parent / "data")
_ARCHIVES = (".tgz", ".tar.gz", ".zip")


def open_dataset(
    name: str, *, data_dir: str | Path | None, is_labelled: bool, config: TextConfig
) -> Source:
    """Find the data set `name`, or fetch it, and say how it is read."""
    dataset = DATASETS[name]
    found = _find(name, dataset, data_dir) or _fetch(name, dataset, data_folder(data_dir))
    rule = None
    if is_labelled and dataset.label:
        rule = LabelRule((dataset.label,), config.label_kind, names=dataset.label_names)
    parts = [
        Part(
            _table(path, piece),
            dataset.text,
            rule,
            None if piece.split else "split",
            piece.split,
            config.on_empty,
        )
        for piece, path in found
    ]
    return Source(name, tuple(parts), tuple(piece.remark for piece, _ in found if piece.remark))


def is_present(name: str, data_dir: str | Path | None = None) -> bool:
    """Tell whether a data set can be read without a download."""
    return bool(_find(name, DATASETS[name], data_dir))


def subword_model(asked: str) -> Path:
    """Find a SentencePiece model: a file, or that of a language model that travels with this project, by its name."""
    folders = [home / "models" / asked for home in PACKAGED if asked.isidentifier()]
    found = (path for folder in folders for path in sorted(folder.rglob("*.model")))
    return Path(asked) if Path(asked).is_file() else next(found, Path(asked))


def data_folder(data_dir: str | Path | None) -> Path:
    """Return the folder of all data sets: the argument, else $ULMFIT_DATA, else the user's cache folder."""
    if data_dir or os.environ.get("ULMFIT_DATA"):
        return Path(data_dir or os.environ["ULMFIT_DATA"]).expanduser()
    import pooch

    return Path(pooch.os_cache("ulmfit"))


def _table(path: Path, piece: Piece) -> Table:
    if path.is_dir():
        return FolderTable(path)
    name = bare_name(path)
    if name.endswith(".tokens"):
        return ArticlesTable(path)
    if name.endswith(".label"):
        return QuestionsTable(path)
    return CsvTable(path, columns=piece.columns)


def _find(name: str, dataset: DataSet, data_dir: str | Path | None) -> list[tuple[Piece, Path]]:
    """Return every piece of the first form that is there as a whole, with its path; nothing if none is."""
    if not dataset.files:
        homes = list(PACKAGED)
    else:
        root = data_folder(data_dir)
        homes = [root / name, root]
        if any(
            piece.path.partition("/")[0] == root.name
            for layout in dataset.layouts
            for piece in layout
        ):
            homes.append(root.parent)  # the folder of the published archive itself was named
    for layout in dataset.layouts:
        for home in homes:
            paths = [_existing(home / piece.path) for piece in layout]
            if all(paths):
                return [(piece, path) for piece, path in zip(layout, paths) if path]
    return []


def _existing(path: Path) -> Path | None:
    """Return the path, or a compressed copy of it, that exists."""
    return next(
        (p for suffix in ("", *COMPRESSED) if (p := path.with_name(path.name + suffix)).exists()),
        None,
    )


def _fetch(name: str, dataset: DataSet, root: Path) -> list[tuple[Piece, Path]]:
    """Download what is missing, unpack archives, and look again."""
    if not dataset.files:
        raise UserError(
            f"the {name!r} corpus is not part of this installation: install the project again"
        )
    home = root if root.name == name else root / name
    if Path(name).exists() and Path(name).resolve() != home.resolve():
        raise UserError(
            f"{name} is the name of a data set, which is not in {root}; for what is called so here write "
            f"{os.path.join(os.curdir, name)}, or name the folder of the data set with --data-dir"
        )
    for remote in dataset.files:
        path = _present(remote, (home, root)) or download(remote, home / remote.name)
        if remote.name.endswith(_ARCHIVES):
            unpack(path, dataset.layouts[0][0].path.partition("/")[0])
    if not (found := _find(name, dataset, root)):
        wanted = ", ".join(piece.path for piece in dataset.layouts[0])
        raise UserError(
            f"{home} does not hold the whole data set {name!r}: expected {wanted}; remove it to fetch it again"
        )
    return found


def _present(remote: RemoteFile, folders: Sequence[Path]) -> Path | None:
    """Return the published file if the user has put it there, and refuse another file of the same name."""
    path = next(
        (folder / remote.name for folder in folders if (folder / remote.name).exists()), None
    )
    if path and (wrong := mismatch(remote, path)):
        raise UserError(
            f"{path} is not the published file ({wrong}): remove it, or unpack it yourself to use it as it is"
        )
    return path
