"""Folders of .txt files, one document each, whose place says split and label. In: a folder. Out: a `Table`.

Read are `train/<label>/*.txt` with other splits beside it (the ImageNet layout; aclImdb's `train/unsup` too),
`<label>/*.txt`, and plain `*.txt`. Files come in the order of their sorted paths, whatever the file system does.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ulmfit.errors import UserError
from ulmfit.files import hash_file
from ulmfit.text.cells import SPLIT_NAMES, UNSUP, whole_characters
from ulmfit.text.readers import is_table
from ulmfit.text.streams import bare_name, file_text


@dataclass(frozen=True)
class _Document:
    path: tuple[str, ...]
    """The parts of the path below the root."""
    split: str
    label: str | None


class FolderTable:
    """Text files as rows of text, label and split; label and split come from the folder names."""

    def __init__(self, root: Path) -> None:
        self.name = whole_characters(f"{root.name or root}/")
        self._root = root
        self._found: list[_Document] = []
        self._takes_all = False
        self.left_out: list[str] = []
        """Text files that are taken for lists and notes."""

    def take_all(self) -> None:
        """Take lists and notes for documents without label, as one does who looks for no labels."""
        self._takes_all = True

    def columns(self) -> list[str]:
        """Return the names of the columns."""
        is_labelled = any(document.label for document in self._documents())
        return ["text", "label", "split"] if is_labelled else ["text", "split"]

    def rows(self, names: Sequence[str]) -> Iterator[Sequence[object]]:
        """Yield the cells of the columns `names`, row by row."""
        for document in self._documents():
            text = file_text(self._root.joinpath(*document.path))
            cells = {"text": text, "label": document.label, "split": document.split}
            yield [cells[name] for name in names]

    def where(self, *rows: int) -> str:
        """Word the place of some rows for a message."""
        return ", ".join("/".join(self._documents()[row - 1].path) for row in rows)

    def content_hash(self, names: Sequence[str]) -> str:
        """Hash the content of the columns `names`."""
        digest = hashlib.sha256()
        for document in self._documents():
            content = hash_file(self._root.joinpath(*document.path))
            digest.update(f"{'/'.join(document.path)}\0{content}\0".encode("utf-8", "replace"))
        return digest.hexdigest()

    def _documents(self) -> list[_Document]:
        """List the folder once: a source is what it was when it was first looked at."""
        if not self._found:
            paths = sorted(_walk(self._root))
            self._found = self._listing(paths)
            taken = {document.path for document in self._found}
            others = [path for path in paths if path not in taken]
            if self._takes_all:
                self._found += [_Document(path, "train", None) for path in others]
                self._found.sort(key=lambda document: document.path)
            else:
                self.left_out = ["/".join(path) for path in others]
        return self._found

    def _listing(self, paths: list[tuple[str, ...]]) -> list[_Document]:
        tops = {path[0].casefold() for path in paths if len(path) > 1}
        splits = {SPLIT_NAMES.get(top) for top in tops}
        if "train" in splits:  # then folders beside it that are no split hold something else
            paths = [path for path in paths if len(path) > 1 and path[0].casefold() in SPLIT_NAMES]
        elif None in splits:  # a label may be called "test"; only unsup keeps its meaning
            return _documents(paths, {top for top in tops if SPLIT_NAMES.get(top) == UNSUP})
        if not paths:
            raise UserError(f"{self._root} holds no .txt documents; {self._hint()}")
        return _documents(paths, set(SPLIT_NAMES))

    def _hint(self) -> str:
        names = sorted(os.listdir(self._root))
        if tables := [name for name in names if is_table(Path(name))]:
            return f"name its files instead: {', '.join(tables[:5])}"
        return f"expected train/<label>/*.txt, <label>/*.txt or *.txt; there is: {', '.join(names[:12]) or 'nothing'}"


def _walk(
    folder: Path, parents: tuple[str, ...] = (), above: frozenset[str] = frozenset()
) -> Iterator[tuple[str, ...]]:
    """Yield the path parts of every text file below `folder`; hidden files and folders are left out, and links that lead back."""
    above |= {os.path.realpath(folder)}
    _, folders, names = next(os.walk(folder), (None, [], []))
    for name in names:
        if not name.startswith(".") and bare_name(Path(name)).endswith(".txt"):
            yield (*parents, name)
    for name in folders:
        inner = folder / name
        if not name.startswith((".", "__")) and os.path.realpath(inner) not in above:
            yield from _walk(inner, (*parents, name), above)


def _documents(paths: list[tuple[str, ...]], splits: set[str]) -> list[_Document]:
    """Give each path its split and label; text files beside label folders are lists and notes, not documents."""
    documents, parents = [], set()
    for path in paths:
        head = path[:1] if len(path) > 1 and path[0].casefold() in splits else ()
        labels = path[len(head) : -1]
        split = SPLIT_NAMES[head[0].casefold()] if head else "train"
        if labels and SPLIT_NAMES.get(labels[0].casefold()) == UNSUP:
            split = UNSUP
        parents |= {head} if labels else set()
        parents |= {()} if len(path) > 1 else set()
        label = whole_characters(labels[0]) if labels and split != UNSUP else None
        documents.append(_Document(path, split, label))
    return [document for document in documents if document.path[:-1] not in parents]


class TextFileTable(FolderTable):
    """A single .txt file: one document without label."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent)
        self.name = whole_characters(path.name)
        self._path = path

    def _documents(self) -> list[_Document]:
        return [_Document((self._path.name,), "train", None)]
