"""Stage 2: the language model goes on learning, on the text of the task (Howard & Ruder 2018, 3.2).

Its weights enter the corpus's vocabulary first: known tokens keep their rows, new ones get the mean.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ulmfit.inference.language_model import LanguageModel
from ulmfit.inference.pair import LanguageModelPair, Source, open_lm
from ulmfit.stages.both import both
from ulmfit.stages.direction import resolve_direction, train_direction
from ulmfit.stages.session import Session, shown
from ulmfit.text.corpus import Corpus
from ulmfit.training.config import FinetuneConfig, require_config
from ulmfit.training.journal import Listener


def finetune_lm(
    lm: Source | str | Path,
    corpus: Corpus | str | Path,
    out: str | Path,
    *,
    config: FinetuneConfig | None = None,
    progress: Listener | None = None,
    restart: bool = False,
    max_minutes: float | None = None,
) -> LanguageModel | LanguageModelPair:
    """Fine-tune a language model, given as such, as its folder or by a published name, on a corpus.

    The same call again goes on where it was interrupted, or returns what is finished.
    """
    config = config or FinetuneConfig()
    require_config(config, FinetuneConfig, stage="finetune_lm")
    session = Session("finetune_lm", shown(progress), restart=restart, max_minutes=max_minutes)
    lm = open_lm(lm)
    corpus = corpus if isinstance(corpus, Corpus) else Corpus.load(corpus)
    direction = resolve_direction(lm, config.direction)

    def train(direction: str, folder: Path, session: Session) -> LanguageModel:
        source = getattr(lm, direction) if isinstance(lm, LanguageModelPair) else lm
        own = replace(config, direction=direction)
        return train_direction(corpus, source.parts, folder, config=own, session=session)

    if direction == "both" and isinstance(lm, LanguageModelPair):
        return both(train, out, corpus=corpus, lm=lm, config=config, session=session)
    return train(direction, Path(out), session)
