"""What a report says beside its figures: the facts of the data and the run, and what a reader has to know first."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from ulmfit.evaluation.documents import Trial, n_learnt_from, n_repeated
from ulmfit.inference.classifier import Classifier
from ulmfit.models.parts import versions
from ulmfit.text.corpus import Corpus
from ulmfit.training.classifier_config import ClassifierConfig

_HASH = 16  # characters of a fingerprint that are shown


def notes_of(trial: Trial, corpus: Corpus) -> tuple[str, ...]:
    """Say in sentences what the figures must not be read without."""
    notes = []
    if trial.split == "valid":
        notes.append(
            "These are validation documents: the temperature, and with early stopping the best epoch, were "
            "chosen on them, which flatters the model. A result is of the test split."
        )
    if n_learnt := n_learnt_from(corpus, trial):
        notes.append(
            f"{n_learnt:,} of the {len(trial.rows):,} documents also stand, token for token, where the model learnt from: "
            "what is said of these flatters it."
        )
    if corpus.label_kind != "category":
        kind = "several labels a document" if corpus.label_kind == "multi" else "numbers"
        notes.append(f"There are no baselines: they need one label a document, and this corpus has {kind}.")  # fmt: skip
    if trial.taught is None:
        notes.append(
            "The model was not trained on this corpus, so baselines may have had other labels than it had."
        )
    return tuple(notes)


def facts_of(
    classifiers: Sequence[Classifier], corpus: Corpus, trial: Trial
) -> tuple[tuple[str, str], ...]:
    """List where the figures come from."""
    first = classifiers[0]
    made, encoder = first.manifest.provenance, first.arch.encoder
    left_out = f"; {trial.n_unlabelled:,} without a label are left out" * bool(trial.n_unlabelled)
    n_repeats = n_repeated(corpus, trial.rows)
    facts = {
        "data set": corpus.manifest.name,
        "corpus": f"{corpus.folder}, key {corpus.fingerprint[:_HASH]}",
        "answered": f"{len(trial.rows):,} documents of the {trial.split} split{left_out}",
        "repeated": f"{n_repeats:,} of them also stand elsewhere in the corpus, token for token",
        "learnt from": _taught(classifiers, trial),
        "vocabulary": f"{len(corpus.vocab):,} tokens",
        "encoder": f"{encoder.backbone}, {encoder.n_layers} layers of {encoder.n_hid}, "
        f"embedding {encoder.emb_sz}",
        "linear part": _linear(first),
        "unlike the paper's preset": _settings(first),
        "origin": made.origin,
        **{
            f"classifier, seed {_seed(each)}": f"{each.folder}, fingerprint {each.parts.fingerprint[:_HASH]}"
            for each in classifiers
        },
        "trained with": _versions(first.manifest.versions),
        "evaluated with": _versions({**versions(), "python": platform.python_version()}),
    }
    return tuple((name, fact) for name, fact in facts.items() if fact)


def _taught(classifiers: Sequence[Classifier], trial: Trial) -> str:
    if trial.taught is None:
        return ""
    made = classifiers[0].manifest.provenance
    rows = f"{len(trial.taught.train):,} labelled documents; {trial.taught.notice}"
    words = next(iter(made.notes), rows)  # its training knows what a teacher labelled, too
    drawn = made.config["config"]["n_labels"]
    if drawn is not None and len(classifiers) > 1:
        words += f"; each seed drew its own {drawn:,}, the baselines have those of seed {_seed(classifiers[0])}"
    return words


def _linear(classifier: Classifier) -> str:
    linear = classifier.parts.linear
    return "" if linear is None else f"NB-SVM of {len(linear.grams):,} n-grams, its logits added to the encoder's"  # fmt: skip


def _settings(classifier: Classifier) -> str:
    """Name the settings of stage 3 that are not the paper's, as flags would."""
    settings = classifier.manifest.provenance.config.get("config", {})
    paper = json.loads(json.dumps(asdict(ClassifierConfig())))  # as a manifest would say it
    unlike = ((name, value) for name, value in settings.items() if value != paper.get(name))
    return ", ".join(f"{name} {_shown(value)}" for name, value in unlike if name != "seed")


def _shown(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(_shown, value)) or "none"
    return "none" if value is None else str(value)


def _seed(classifier: Classifier) -> str:
    seed = classifier.manifest.provenance.seed
    return "unknown" if seed is None else str(seed)


def _versions(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in found.items())
