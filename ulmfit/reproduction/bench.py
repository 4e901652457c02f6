"""An experiment laid out: its corpus prepared, its language model open, its runs planned, and what it cannot be run with refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ulmfit.errors import UserError
from ulmfit.files import CLASSIFIER, MANIFEST, read_json
from ulmfit.inference.pair import Source, open_lm
from ulmfit.recipe import has_learnt
from ulmfit.reproduction.documents import brought, corpus_of, require_labels
from ulmfit.reproduction.estimate import Estimate, estimate
from ulmfit.reproduction.plan import FIRST, Experiment, Planned, plan
from ulmfit.text.corpus import Corpus


@dataclass(frozen=True, eq=False)
class Bench:
    """An experiment with its corpus and its language model at hand, and the runs that they make."""

    experiment: Experiment
    out: Path
    corpus: Corpus
    lm: Source | None
    planned: tuple[Planned, ...]

    @classmethod
    def open(
        cls,
        experiment: Experiment | str | Path,
        out: str | Path,
        *,
        data_dir: str | Path | None = None,
        restart: bool = False,
    ) -> Bench:
        """Prepare the corpus, with `restart` in the place of another one, and refuse what the experiment cannot be run with."""
        asked = experiment if isinstance(experiment, Experiment) else Experiment(experiment)
        out = Path(out)
        if (out / MANIFEST).exists():
            raise UserError(f"{out} is an artefact, and an experiment is a folder of several: choose another --out")  # fmt: skip
        lm = open_lm(asked.begins_from, data_dir=data_dir) if asked.begins_from else None
        corpus = corpus_of(asked, out, lm, data_dir=data_dir, restart=restart)
        knows_texts = lm is not None and has_learnt(lm, corpus)
        planned = plan(asked, knows_texts=knows_texts, at_home=_at_home(out))
        require_labels(asked, corpus, planned)
        return cls(asked, out, brought(corpus, out), lm, planned)

    def estimate(self, *, restart: bool = False) -> Estimate:
        """Measure what is left to do, or what all of it takes."""
        split = self.experiment.answered
        return estimate(
            self.planned, self.out, corpus=self.corpus, lm=self.lm, split=split, restart=restart
        )

    def is_done(self, planned: Planned) -> bool:
        """Say whether a run's classifier is finished."""
        return (self.out / planned.classifier.folder / MANIFEST).is_file()


def _at_home(out: Path) -> int | None:
    """Tell which seed's run lies in the experiment's own folder: a finished one's, any that comes first, or none beside others."""
    made = out / CLASSIFIER / MANIFEST
    if made.is_file():
        return read_json(made).get("seed")
    return None if any(out.glob("seed*/")) else FIRST
