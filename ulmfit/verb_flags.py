"""The flags of the verbs before and around training, as dataclasses: the string under a field is its help text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ulmfit.config import PRESETS, TextConfig, require
from ulmfit.config import preset as preset_named
from ulmfit.errors import UserError
from ulmfit.flags import Positional, Repeated, Switch


@dataclass(frozen=True)
class SourceFlags:
    """Which texts are read, and how they become tokens."""

    source: Positional = ""
    """A data set (see `ulmfit data`), a CSV, TSV, JSONL, Parquet or text file, or a folder. It comes before the flags."""
    text: tuple[str, ...] = ("text",)
    """Column of the texts, or several."""
    label: tuple[str, ...] = ("label",)
    """Column of the labels; several 0/1 columns for multi-label data; none to leave labels out."""
    split: str = ""
    """Column that says train, valid, test or unsup."""
    columns: tuple[str, ...] = ()
    """Names of the columns of a CSV file without header line."""
    valid: Path | None = None
    """A second file, for the validation split."""
    test: Path | None = None
    """A file for the test split."""
    unsup: Path | None = None
    """A file or folder of texts without labels."""
    data_dir: Path | None = None
    """Where the data sets lie or are downloaded to; by default the user's cache folder."""
    preset: str = "paper"
    """Where every flag below gets its default from (see ulmfit/config.py)."""
    json: Switch = False
    """Print the result as JSON on stdout."""
    config: TextConfig = TextConfig()

    @classmethod
    def of_preset(cls, name: str) -> SourceFlags:
        """Give the defaults that a preset stands for."""
        return cls(preset=name, config=preset_named(name))

    def documents(self) -> str | Mapping[str, str | Path]:
        """Return the source; a dict of splits if some have their own file."""
        others = {"valid": self.valid, "test": self.test, "unsup": self.unsup}
        named = {name: path for name, path in others.items() if path is not None}
        train = {"train": self.source} if self.source else {}
        return {**train, **named} if named else self.source

    def text_columns(self) -> str | tuple[str, ...]:
        """Return the one text column, or the several."""
        return self.text[0] if len(self.text) == 1 else self.text

    def label_columns(self) -> str | tuple[str, ...] | None:
        """Return the one label column, the several, or None."""
        if self.label in ((), ("none",)):
            return None
        return self.label[0] if len(self.label) == 1 else self.label

    def require_source(self, usage: str) -> None:
        """Refuse a call that names no texts."""
        if not self.source and not (self.valid or self.test or self.unsup):
            raise UserError(f"no SOURCE: write it before the flags, as in `{usage}`")


@dataclass(frozen=True)
class PrepareFlags(SourceFlags):
    """Turn texts into a corpus folder: vocabulary, tokenizer and ids. On unchanged input it is left as it is."""

    out: Path | None = None
    """The folder to write."""
    workers: int = 0
    """Processes that tokenize beside this one; 0 means that this one does it."""
    show: str = ""
    """A text to show every step of, instead of a SOURCE."""
    lm: str = ""
    """Read the texts as this language model does, a folder or a name such as en: its rules and its tokenizer."""
    vocab: str = "texts"
    """texts: the vocabulary is that of the texts alone; union: all words of --lm come first, so that it forgets none."""
    restart: Switch = False
    """Replace the corpus of a run, too; the models that have learnt from it will not know the new one."""

    def __post_init__(self) -> None:
        require(self.vocab in ("texts", "union"), "vocab", self.vocab, "texts, union")
        if self.vocab == "union" and not self.lm:
            raise UserError("--vocab union keeps the words of a language model: name it with --lm")


@dataclass(frozen=True)
class FitFlags(SourceFlags):
    """Train a classifier of the texts and labels of a source: all stages, in one run folder. The same command again
    skips what is finished, and goes on where it was interrupted."""

    out: Path | None = None
    """The folder of the run; the classifier will lie in its 3_train_classifier."""
    lm: str = ""
    """Folder of a language model, or the name of a pretrained one: en, wt103-fwd or wt103-bwd. By default the one whose pieces
    the text is read with (--sp-model), else none: then one learns from the texts."""
    preset: str = "laptop"
    """Where the configs of all stages come from (see `ulmfit recipe show laptop`), and the flags of the text below."""
    direction: str = ""
    """forward, backward, or both to train two and average them; by default the preset's, or that of the language model."""
    seed: int | None = None
    """Seed of all stages; by default the preset's."""
    restart: Switch = False
    """Begin anew: forget interrupted stages, replace finished ones."""
    max_minutes: float | None = None
    """Stop after so many minutes; the same command again goes on."""
    threads: int = 0
    """Threads for the large matrix products; 0 leaves the choice to torch."""
    set: Repeated = ()
    """A setting of a stage, such as stage3.epochs=3 or stage2.lr=0.01; may be given several times."""
    config: TextConfig = PRESETS["laptop"]

    def __post_init__(self) -> None:
        require(self.threads >= 0, "threads", self.threads, "0 or more")
        directions = ("", "forward", "backward", "both")
        known = self.direction in directions
        require(known, "direction", self.direction, ", ".join(directions[1:]))
        minutes = self.max_minutes
        require(minutes is None or minutes > 0, "max_minutes", minutes, "above 0")
        require(self.seed is None or self.seed >= 0, "seed", self.seed, "0 or more")


@dataclass(frozen=True)
class CheckFlags(SourceFlags):
    """Say what is wrong with a data set, and what will be done about it, before any training."""


@dataclass(frozen=True)
class DoctorFlags:
    """Look at this installation: versions, processor, threads, disk, and what each missing extra would enable."""

    data_dir: Path | None = None
    """Where the data sets lie; by default the user's cache folder."""
    json: Switch = False
    """Print the result as JSON on stdout."""


@dataclass(frozen=True)
class DataFlags:
    """List the registered data sets, their licences, and which of them are here."""

    data_dir: Path | None = None
    """Where the data sets lie; by default the user's cache folder."""
    json: Switch = False
    """Print the result as JSON on stdout."""


@dataclass(frozen=True)
class GenerateFlags:
    """Let a language model continue a text. The new text goes to stdout, without the prompt."""

    lm: Positional = ""
    """The folder of a language model, or the name of a pretrained one, such as en."""
    prompt: Positional = ""
    """The text to go on from, in quotes; without one, a new document begins."""
    n_tokens: int = 50
    """How many tokens to write; a word and the mark of its capital letter are two."""
    temperature: float = 1.0
    """Below 1 likely words become likelier; 0 always takes the likeliest."""
    top_k: int | None = None
    """Choose among this many of the likeliest tokens."""
    top_p: float | None = None
    """Choose among the likeliest tokens that together have this probability."""
    min_p: float | None = None
    """Choose among tokens at least this share as probable as the likeliest one."""
    seed: int | None = None
    """The same seed writes the same text."""
    stop_at_document: Switch = False
    """Stop where the model would begin a new document."""
    json: Switch = False
    """Print the result as JSON on stdout."""


@dataclass(frozen=True)
class PredictFlags:
    """Let a classifier answer for each text of a source, in its order, in memory that does not grow with it.

    Columns: those of the source, label, confidence, and the probability of each label. Many labels of one text are
    joined by ; in CSV. A column of the source that has the name of one of the answer's is called input_NAME.
    """

    model: Positional = ""
    """The folder of a classifier, or of the run that made it."""
    source: Positional = ""
    """A CSV, TSV, JSONL, Parquet or text file, compressed or not, a folder of text files, a data set, or - for the lines
    of stdin, one text each. Both come before the flags."""
    text: tuple[str, ...] = ()
    """Column of the texts; several if the classifier was trained on several. By default where its own texts stood, or text."""
    columns: tuple[str, ...] = ()
    """Names of the columns of a CSV file without header line."""
    out: Path | None = None
    """A file to write, .csv or .jsonl, as a whole or not at all; by default CSV goes to stdout."""
    precision: str = "auto"
    """auto (bf16 where the processor multiplies it natively), bf16, int8 (faster still, and coarser), or fp32: exact."""
    direction: str = ""
    """forward or backward: the answers of one direction of a classifier that has both; by default their average."""
    data_dir: Path | None = None
    """Where the data sets lie; by default the user's cache folder."""
    json: Switch = False
    """JSON on stdout: the answers, one object a line; with --out the summary."""

    def __post_init__(self) -> None:
        for name, allowed in {
            "precision": ("auto", "fp32", "bf16", "int8"),
            "direction": ("", "forward", "backward"),
        }.items():
            value = getattr(self, name)
            require(value in allowed, name, value, ", ".join(filter(None, allowed)))


@dataclass(frozen=True)
class ConvertFlags:
    """Turn weights of fastai, fastai_ulmfit or MultiFiT into the folder of a language model or, of fastai, a classifier; or back."""

    source: Positional = ""
    """A .pth or .h5 file, or the folder of a model. It comes before the flags."""
    vocab: Path | None = None
    """The file of the vocabulary, if it is not the only one beside the weights."""
    out: Path | None = None
    """The folder to write."""
    direction: str = ""
    """forward or backward; by default backward if the path says so (bwd)."""
    to: str = "ulmfit"
    """ulmfit; or of a model's folder: int8 or fp16 for a folder of a quarter or half the size, or, of a language model, fastai
    to write lm_model.pth, lm_encoder.pth and lm_vocab.pkl."""
    json: Switch = False
    """Print the result as JSON on stdout."""
