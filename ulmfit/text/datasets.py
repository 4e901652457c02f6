"""The data sets that have a name: where they are published, what is in them, in which forms they are accepted.

To add a data set, add an entry to `DATASETS`; `locate.py` finds, fetches and opens it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ulmfit.text.download import RemoteFile

_FASTAI = "https://s3.amazonaws.com/fast-ai-nlp"
_WIKITEXT = "https://wikitext.smerity.com"  # the author's copy of the archives, whose first address is closed
_TREC = "https://cogcomp.seas.upenn.edu/Data/QA/QC"
_ZHANG = (
    "Zhang, Zhao & LeCun 2015, Character-level Convolutional Networks for Text Classification, NIPS"
)
_UNSTATED = "not stated by the publishers; used in non-commercial research"


@dataclass(frozen=True)
class Piece:
    """One file or folder of a data set."""

    path: str
    """Below the data folder; a compressed copy (.xz, .gz, .bz2, .zst) will do."""
    split: str | None = None
    """None when a column or the folders say it."""
    columns: tuple[str, ...] | None = None
    """Names of the columns of a CSV file without header line."""
    remark: str = ""
    """What a reader of the numbers must know about this file."""


@dataclass(frozen=True)
class DataSet:
    """A published corpus."""

    title: str
    licence: str
    citation: str
    files: tuple[RemoteFile, ...]
    layouts: tuple[tuple[Piece, ...], ...]
    """The forms in which it is accepted; the published files give the first."""
    text: tuple[str, ...] = ("text",)
    label: str | None = "label"
    label_names: Mapping[str, str] = field(default_factory=dict)
    """What the labels of the files are called, e.g. "1" -> "World"."""


def _two_csv(folder: str, *columns: str) -> tuple[Piece, ...]:
    """Lay out train.csv and test.csv without header line, as Zhang et al. publish all their sets."""
    return tuple(Piece(f"{folder}/{split}.csv", split, columns) for split in ("train", "test"))


def _numbered(*names: str) -> dict[str, str]:
    """Name the classes of a file that counts them from 1."""
    return {str(number): name for number, name in enumerate(names, 1)}


def _wikitext(version: str, size: int, sha256: str) -> DataSet:
    """Describe a WikiText corpus in its word-level form, with <unk>."""
    splits = ("train", "valid", "test")
    return DataSet(
        title=f"WikiText-{version}, word level",
        licence="CC BY-SA 3.0",
        citation="Merity et al. 2016, Pointer Sentinel Mixture Models, arXiv:1609.07843",
        files=(RemoteFile(f"{_WIKITEXT}/wikitext-{version}-v1.zip", size, sha256),),
        layouts=(
            tuple(Piece(f"wikitext-{version}/wiki.{split}.tokens", split) for split in splits),
            tuple(Piece(f"wiki.{split}.tokens", split) for split in splits),
        ),
        label=None,
    )


DATASETS: dict[str, DataSet] = {
    "imdb": DataSet(
        title="Large Movie Review Dataset v1.0",
        licence="no formal licence; free to download for research, the reviews are their authors'",
        citation="Maas et al. 2011, Learning Word Vectors for Sentiment Analysis, ACL",
        files=(
            RemoteFile(
                "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
                84_125_825,
                "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
            ),
        ),
        layouts=(
            (Piece("aclImdb"),),
            (Piece("imdb_labeled.csv"), Piece("imdb_unsup.csv", "unsup")),
        ),
    ),
    "wikitext-2": _wikitext(
        "2", 4_475_746, "92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c"
    ),
    "wikitext-103": _wikitext(
        "103", 190_229_076, "242ba0f20b329cfdf1ccc61e9e9e5b59becf189db7f7a81cd2a0e2fc31539590"
    ),
    "ag_news": DataSet(
        title="AG's News, four topics",
        licence=_UNSTATED,
        citation=_ZHANG,
        files=(RemoteFile(f"{_FASTAI}/ag_news_csv.tgz", 11_784_419),),
        layouts=(
            _two_csv("ag_news_csv", "class", "title", "description"),
            (
                Piece(
                    "train_subset_12k.csv",
                    "train",
                    remark="train_subset_12k.csv is about a tenth of the official training set of 120,000 rows",
                ),
                Piece("test.csv", "test", ("class", "title", "description")),
            ),
        ),
        text=("title", "description"),
        label="class",
        label_names=_numbered("World", "Sports", "Business", "Sci/Tech"),
    ),
    "dbpedia": DataSet(
        title="DBpedia, fourteen ontology classes",
        licence="CC BY-SA 3.0 and GFDL",
        citation=_ZHANG,
        files=(
            RemoteFile(
                f"{_FASTAI}/dbpedia_csv.tgz",
                68_341_743,
                "42db5221ddedddb673a4cabcc5f3a7d869714c878bcfe4ba94b29d14aa38e417",
            ),
        ),
        layouts=(_two_csv("dbpedia_csv", "class", "title", "content"),),
        text=("title", "content"),
        label="class",
        label_names=_numbered(
            *(
                "Company",
                "EducationalInstitution",
                "Artist",
                "Athlete",
                "OfficeHolder",
                "MeanOfTransportation",
            ),
            *(
                "Building",
                "NaturalPlace",
                "Village",
                "Animal",
                "Plant",
                "Album",
                "Film",
                "WrittenWork",
            ),
        ),
    ),
    "yelp_polarity": DataSet(
        title="Yelp reviews, negative and positive",
        licence="the Yelp dataset agreement",
        citation=_ZHANG,
        files=(
            RemoteFile(
                f"{_FASTAI}/yelp_review_polarity_csv.tgz",
                166_373_201,
                "528f22e286cad085948acbc3bea7e58188416546b0e364d0ae4ca0ce666abe35",
            ),
        ),
        layouts=(_two_csv("yelp_review_polarity_csv", "class", "text"),),
        label="class",
        label_names=_numbered("negative", "positive"),
    ),
    "yelp_full": DataSet(
        title="Yelp reviews, one to five stars",
        licence="the Yelp dataset agreement",
        citation=_ZHANG,
        files=(
            RemoteFile(
                f"{_FASTAI}/yelp_review_full_csv.tgz",
                196_146_755,
                "56006b0a17a370f1e366504b1f2c3e3754e4a3dda17d3e718a885c552869a559",
            ),
        ),
        layouts=(_two_csv("yelp_review_full_csv", "class", "text"),),
        label="class",
    ),
    "trec": DataSet(
        title="TREC questions, six coarse classes",
        licence=_UNSTATED,
        citation="Li & Roth 2002, Learning Question Classifiers, COLING",
        files=(
            RemoteFile(
                f"{_TREC}/train_5500.label",
                335_858,
                "9e4c8bdcaffb96ed61041bd64b564183d52793a8e91d84fc3a8646885f466ec3",
            ),
            RemoteFile(
                f"{_TREC}/TREC_10.label",
                23_354,
                "033f22c028c2bbba9ca682f68ffe204dc1aa6e1cf35dd6207f2d4ca67f0d0e8e",
            ),
        ),
        layouts=((Piece("train_5500.label", "train"), Piece("TREC_10.label", "test")),),
    ),
    "demo": DataSet(
        title="The small corpus that comes with the project",
        licence="that of the project",
        citation="the project itself",
        files=(),
        layouts=((Piece("demo.csv"),),),
    ),
}


@dataclass(frozen=True)
class DataSetRow:
    """What a listing of the data sets shows."""

    name: str
    title: str
    size_mb: float
    """To download; 0 when it comes with the project."""
    licence: str


def describe() -> list[DataSetRow]:
    """List the data sets for a table."""
    rows = DATASETS.items()
    return [
        DataSetRow(name, s.title, sum(f.size or 0 for f in s.files) / 1e6, s.licence)
        for name, s in rows
    ]
