"""Stage 1: a language model learns a language, from random weights, on general text (Howard & Ruder 2018, 3.1)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ulmfit.inference.language_model import LanguageModel
from ulmfit.inference.pair import LanguageModelPair
from ulmfit.stages.both import both
from ulmfit.stages.direction import train_direction
from ulmfit.stages.session import Session, shown
from ulmfit.text.corpus import Corpus
from ulmfit.training.config import PretrainConfig, require_config
from ulmfit.training.journal import Listener


def pretrain_lm(
    corpus: Corpus | str | Path,
    out: str | Path,
    *,
    config: PretrainConfig | None = None,
    progress: Listener | None = None,
    restart: bool = False,
    max_minutes: float | None = None,
) -> LanguageModel | LanguageModelPair:
    """Train a language model on a corpus, in one direction or both, and return it from its folder.

    The same call again goes on where it was interrupted, or returns what is finished. `restart`
    drops an unfinished training of other settings; `max_minutes` stops at a checkpoint.
    """
    config = config or PretrainConfig()
    require_config(config, PretrainConfig, stage="pretrain_lm")
    session = Session("pretrain_lm", shown(progress), restart=restart, max_minutes=max_minutes)
    corpus = corpus if isinstance(corpus, Corpus) else Corpus.load(corpus)

    def train(direction: str, folder: Path, session: Session) -> LanguageModel:
        own = replace(config, direction=direction)
        return train_direction(corpus, None, folder, config=own, session=session)

    if config.direction == "both":
        return both(train, out, corpus=corpus, lm=None, config=config, session=session)
    return train(config.direction, Path(out), session)
