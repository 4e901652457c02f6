"""An experiment laid out: its corpus prepared, its language model open, its runs planned, and what it cannot be run with refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ulmfit.errors import UserError
from ulmfit.files import MANIFEST
from ulmfit.inference.pair import Source, open_lm
from ulmfit.recipe import has_learnt
from ulmfit.reproduction.documents import brought, corpus_of, require_labels
from ulmfit.reproduction.estimate import Estimate, estimate
from ulmfit.reproduction.plan import Experiment, Planned, plan
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
    ) -> Bench:
        """Prepare the corpus, and refuse what the experiment cannot be run with."""
        asked = experiment if isinstance(experiment, Experiment) else Experiment(experiment)
        out = Path(out)
        if (out / MANIFEST).exists():
            raise UserError(f"{out} is an artefact, and an experiment is a folder of several: choose another --out")  # fmt: skip
        lm = open_lm(asked.begins_from) if asked.begins_from else None
        corpus = corpus_of(asked, out, lm, data_dir=data_dir)
        planned = plan(asked, knows_texts=lm is not None and has_learnt(lm, corpus))
        require_labels(asked, corpus, planned)
        return cls(asked, out, brought(corpus, out), lm, planned)

    def estimate(self) -> Estimate:
        """Measure what is left to do."""
        split = self.experiment.answered
        return estimate(self.planned, self.out, corpus=self.corpus, lm=self.lm, split=split)

    def is_done(self, planned: Planned) -> bool:
        """Say whether a run's classifier is finished."""
        return (self.out / planned.classifier.folder / MANIFEST).is_file()
