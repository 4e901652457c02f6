"""Readers of two official forms that are not CSV: WikiText's articles and TREC's questions. Out: a `Table` each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ulmfit.errors import UserError
from ulmfit.text.streams import BadByte, lines, not_utf8
from ulmfit.text.table import FileTable


class ArticlesTable(FileTable):
    """A `wiki.*.tokens` file, one article a row; articles begin at headings ` = Title = ` between blank lines."""

    def read_columns(self) -> list[str]:
        """Return the names of the columns."""
        return ["text"]

    def rows(self, names: Sequence[str]) -> Iterator[Sequence[object]]:
        """Yield the cells of the columns `names`, row by row."""
        for article in self._articles():
            yield (article,) * len(names)

    def _articles(self) -> Iterator[str]:
        article: list[str] = []
        row = 1
        try:
            for line in lines(self.path):
                article.append(line)
                if len(article) > 3 and _is_title(
                    article[-3:]
                ):  # the title and the blank lines around it
                    yield "".join(article[:-3])
                    row, article = row + 1, article[-3:]
        except BadByte as error:
            raise not_utf8(self.path, self.where(row), error) from None
        if article:
            yield "".join(article)


def _is_title(three: list[str]) -> bool:
    """Tell a title from a line of a table or a formula that looks like one: blank lines stand around a title."""
    before, line, after = (line.strip() for line in three)
    return (
        not before
        and not after
        and len(line) > 4
        and line[:2] == "= "
        and line[-2:] == " ="
        and line[2] != "="
    )


class QuestionsTable(FileTable):
    """TREC's `.label` files, in Latin-1: `DESC:manner How did ... ?`; the label is the coarse class."""

    def read_columns(self) -> list[str]:
        """Return the names of the columns."""
        return ["label", "text"]

    def rows(self, names: Sequence[str]) -> Iterator[Sequence[object]]:
        """Yield the cells of the columns `names`, row by row."""
        for row, line in enumerate(lines(self.path, "latin-1"), 1):
            kind, _, question = line.strip().partition(" ")
            label, colon, _ = kind.partition(":")
            if not colon:
                raise UserError(
                    f"{self.path}, {self.where(row)}: expected CLASS:subclass and a question"
                )
            cells = {"label": label, "text": question}
            yield [cells[name] for name in names]
