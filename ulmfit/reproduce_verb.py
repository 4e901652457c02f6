"""The verb `reproduce`: an experiment from raw text to results, beside baselines and what is published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ulmfit.config import require
from ulmfit.errors import UserError
from ulmfit.files import CORPUS, MANIFEST, without_nan
from ulmfit.flags import Positional, Repeated, Switch, parse
from ulmfit.output import print_result, say
from ulmfit.progress import StageProgress
from ulmfit.text.datasets import DATASETS

if TYPE_CHECKING:
    from ulmfit.reproduction.plan import Experiment

_USAGE = "`ulmfit reproduce imdb --preset laptop --out runs/imdb`"
_ALL = "all"


@dataclass(frozen=True)
class ReproduceFlags:
    """Run a data set from raw text to results, in one folder: corpus, all stages, answers, and ours beside published
    figures and baselines. The same command again skips what is finished, and goes on where it was interrupted."""

    data_set: Positional = ""
    """A data set with labels (see `ulmfit data`), or the folder of a corpus (see `ulmfit prepare`). It comes before the flags."""
    preset: str = "laptop"
    """Where the configs of all stages come from (see `ulmfit recipe show laptop`)."""
    out: Path | None = None
    """The folder of the experiment."""
    data_dir: Path | None = None
    """Where the data sets lie or are downloaded to; by default the user's cache folder."""
    lm: str = ""
    """Folder of a language model, or the name of a pretrained one: en, wt103-fwd or wt103-bwd; the folder of a corpus of
    general text, to let stage 1 learn from that first; none to let one learn from the texts. By default presets laptop and
    tiny begin from en, and the others have one learn from the texts."""
    direction: str = ""
    """forward, backward, or both to train two and average them; by default the preset's, or that of the language model."""
    seeds: tuple[int, ...] = ()
    """Seeds, one training each; by default the preset's, with --labels ten."""
    labels: tuple[str, ...] = ()
    """Label budgets, such as 100 500 all: stage 3 for each and for each seed, which draws its own documents; one language model."""
    unlabelled: Switch = True
    """With --labels, let one language model read all texts; --no-unlabelled lets one for each budget and seed read only the
    documents whose labels it has."""
    table: int | None = None
    """Train the rows of this table of the paper, 4 to 7, and set them beside it."""
    rows: tuple[str, ...] = ()
    """Of the table only these, such as full "freez + discr"."""
    set: Repeated = ()
    """A setting, such as stage3.schedule=chain_thaw, stage2.lr=0.01 or text.max_vocab=8000; may be given several times."""
    split: str = ""
    """test, or valid to leave the test split alone; by default test, for a --table valid, as in the paper."""
    estimate: Switch = False
    """Say what would be run and how long it would take, from a few measured steps, and stop."""
    restart: Switch = False
    """Begin anew: forget interrupted trainings, replace finished ones."""
    max_minutes: float | None = None
    """Stop after so many minutes, with exit code 3; the same command again goes on."""
    threads: int = 0
    """Threads for the large matrix products; 0 leaves the choice to torch."""
    stock: Switch = False
    """Say, too, what stock fastai would need for the same tokens, from a few steps of its own model (half a minute more)."""
    json: Switch = False
    """Print the results as JSON on stdout."""

    def __post_init__(self) -> None:
        minutes = self.max_minutes
        require(minutes is None or minutes > 0, "max_minutes", minutes, "above 0")
        require(self.threads >= 0, "threads", self.threads, "0 or more")
        for word in self.labels:
            require(word == _ALL or word.isdecimal(), "labels", word, "whole numbers, or all")

    def experiment(self) -> Experiment:
        """Say what is asked for."""
        from ulmfit.reproduction.plan import ALL, Experiment

        return Experiment(
            self.data_set,
            preset=self.preset,
            lm=self.lm,
            direction=self.direction or None,
            seeds=self.seeds,
            labels=tuple(ALL if word == _ALL else int(word) for word in self.labels),
            unlabelled=self.unlabelled,
            table=self.table,
            rows=self.rows,
            settings=self.set,
            split=self.split or None,
        )


def reproduce(argv: Sequence[str]) -> None:
    """Run an experiment, or say what it would take."""
    flags = parse(ReproduceFlags, "reproduce", argv)
    if not flags.data_set:
        raise UserError(f"no DATA_SET: write it before the flags, as in {_USAGE}")
    if flags.out is None:
        raise UserError(f"reproduce: no --out: name the folder of the experiment, as in {_USAGE}")
    own, given = flags.out / CORPUS, flags.data_set
    if given not in DATASETS and not Path(given).exists() and (own / MANIFEST).is_file():
        raise UserError(f"{given} is not there; {flags.out} is a run, and its corpus is {own}: give that")  # fmt: skip
    asked = flags.experiment()
    from ulmfit.reproduction.estimate import Estimate
    from ulmfit.reproduction.reproduce import estimate_of
    from ulmfit.reproduction.reproduce import reproduce as run
    from ulmfit.stage_verbs import threads

    progress = StageProgress()
    try:
        with threads(flags.threads):
            if flags.estimate:
                found = estimate_of(
                    asked, flags.out, data_dir=flags.data_dir, restart=flags.restart
                )
                content = {**asdict(found), "seconds": found.seconds}
                rest = (
                    ""
                    if isinstance(found, Estimate)
                    else "\nthe rest can be estimated when that is done: it depends on the language model"
                )
                return print_result(without_nan(content) if flags.json else f"{found}{rest}")
            results = run(
                asked,
                flags.out,
                data_dir=flags.data_dir,
                progress=progress,
                restart=flags.restart,
                max_minutes=flags.max_minutes,
                stock=flags.stock,
            )
    finally:
        progress.close()
    say(f"wrote {flags.out / 'results.md'}")
    print_result(without_nan(asdict(results)) if flags.json else str(results))
