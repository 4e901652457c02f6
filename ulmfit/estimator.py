"""The scikit-learn face: texts and labels in arrays -> a classifier that crosses over into its tools.

The constructor only stores; `fit` runs all stages in a temporary folder. What is pickled, by joblib too, are the
files of the classifier's folder, as bytes.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from ulmfit.config import require
from ulmfit.errors import INTERRUPTED, Stopped, UserError
from ulmfit.text.cells import UNSUP, is_missing, to_text, whole_characters
from ulmfit.text.labels import same_numbers

if TYPE_CHECKING:
    from sklearn.utils import Tags

    from ulmfit.config import TextConfig
    from ulmfit.inference.classifier import Classifier
    from ulmfit.models.precision import Precision
    from ulmfit.training.classifier_config import ClassifierConfig
    from ulmfit.training.config import FinetuneConfig, PretrainConfig

    Texts = Iterable[str | None]


class ULMFiTClassifier(ClassifierMixin, BaseEstimator):
    """A classifier of texts for `cross_val_score`, `GridSearchCV` and pipelines.

    The parameters are those of `ulmfit.fit`. Texts are strings; a missing one counts as empty. Labels may be
    anything hashable, and come back as they were. Without `random_state` the seed is the preset's.
    """

    def __init__(
        self,
        preset: str = "laptop",
        *,
        lm: str | Path | None = None,
        direction: str | None = None,
        config: TextConfig | None = None,
        pretrain: PretrainConfig | None = None,
        finetune: FinetuneConfig | None = None,
        classifier: ClassifierConfig | None = None,
        precision: Precision = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.preset = preset
        self.lm = lm
        self.direction = direction
        self.config = config
        self.pretrain = pretrain
        self.finetune = finetune
        self.classifier = classifier
        self.precision = precision
        self.random_state = random_state

    def fit(
        self, texts: Texts, labels: Iterable[Hashable], unlabelled: Texts | None = None
    ) -> ULMFiTClassifier:
        """Learn from texts with labels, and from the language of `unlabelled` ones."""
        import pandas as pd

        from ulmfit.models.precision import Precision
        from ulmfit.recipe import fit

        formats = get_args(Precision)
        require(self.precision in formats, "precision", self.precision, ", ".join(formats))
        _require_one_label(self.config)
        named, known = _texts(texts), _labels(labels)
        _require_alike(named, known)
        _require_text(named, known)
        classes = _classes(known)
        names = dict(zip(classes.tolist(), _names(classes.tolist())))
        more = [] if unlabelled is None else _texts(unlabelled)
        frame = pd.DataFrame(
            {
                "text": [*named, *more],
                "label": [*(names[label] for label in known), *[""] * len(more)],
                "split": ["train"] * len(named) + [UNSUP] * len(more),
            },
            dtype=object,
        )
        with tempfile.TemporaryDirectory(prefix="ulmfit-") as run, _interrupts(), _unnamed(run):
            made = fit(
                frame,
                run,
                preset=self.preset,
                split="split",
                lm=self.lm,
                direction=self.direction,
                seed=self._seed(),
                config=self.config,
                pretrain=self.pretrain,
                finetune=self.finetune,
                classifier=self.classifier,
                progress=_silent,
            )
            self._restore(_files(made.folder))
        self.classes_ = classes
        self._order = [made.labels.index(name) for name in names.values()]
        return self

    def predict_proba(self, texts: Texts) -> np.ndarray:
        """Give (n, n_classes) probabilities, columns as in `classes_`."""
        check_is_fitted(self)
        found = self.model_.predict_proba(_texts(texts), precision=self.precision)
        return found[:, self._order]

    def predict(self, texts: Texts) -> np.ndarray:
        """Give the label of each text, as it was given to `fit`."""
        found = self.predict_proba(texts)
        return self.classes_[found.argmax(1)]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.input_tags.allow_nan = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if "model_" in state:
            state = {
                name: value for name, value in state.items() if name not in ("model_", "_home")
            }
            state["_files"] = _files(self.model_.folder)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        files = state.pop("_files", None)
        super().__setstate__(state)
        if files is not None:
            self._restore(files)

    def _restore(self, files: dict[str, bytes]) -> None:
        """Write a classifier's folder to a place that lives as long as this estimator, and load it."""
        from ulmfit.inference.classifier import Classifier

        home = tempfile.TemporaryDirectory(prefix="ulmfit-")
        for name, content in files.items():
            path = Path(home.name, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.model_: Classifier = Classifier.load(home.name)
        self._home = home

    def _seed(self) -> int | None:
        """Turn scikit-learn's ways to say a seed into ours."""
        if self.random_state is None or isinstance(self.random_state, (int, np.integer)):
            return None if self.random_state is None else int(self.random_state)
        if not hasattr(self.random_state, "randint"):
            kind = type(self.random_state).__name__
            raise ValueError(
                f"random_state is a {kind}: give a whole number, numpy's RandomState or None"
            )
        return int(self.random_state.randint(2**31 - 1))


def _silent(_: object) -> None:
    """Listen to the stages without a word."""


@contextlib.contextmanager
def _interrupts() -> Generator[None]:
    """Let Ctrl-C and SIGTERM end the process: nothing goes on from here, and a search must not count a failed fit."""
    try:
        yield
    except Stopped as stop:
        raise (
            KeyboardInterrupt if stop.exit_code == INTERRUPTED else SystemExit(stop.exit_code)
        ) from None


@contextlib.contextmanager
def _unnamed(run: str) -> Generator[None]:
    """Name X where an error names the temporary folder of a run, which is gone when it is read."""
    try:
        yield
    except UserError as error:
        said = error.message.replace(str(Path(run, "corpus")), "X").replace(run, "the run")
        raise type(error)(said) from error


def _require_one_label(config: TextConfig | None) -> None:
    """Refuse labels that are numbers or several: classes_ could not hold them."""
    if config is not None and (config.label_kind != "category" or config.label_delim):
        raise ValueError(
            "config has label_kind='number' or a label_delim: this estimator takes one label in words, see `ulmfit.fit`"
        )


def _texts(texts: Texts) -> list[str]:
    """List texts; scikit-learn's own tests of input know numbers only."""
    if isinstance(texts, str):
        raise ValueError("one text where several are needed: put it in a list, [text]")
    if getattr(texts, "ndim", 1) != 1 or isinstance(texts, Mapping):
        raise ValueError("texts in a table: give one column of it, such as frame['text']")
    found = []
    for row, text in enumerate(_plain(texts)):
        if not (isinstance(text, str) or is_missing(text)):
            raise ValueError(f"text {row} is a {type(text).__name__}, not a string")
        found.append(to_text(text))
    return found


def _require_text(texts: list[str], labels: list[Hashable]) -> None:
    """Refuse a label that could not be learnt: empty texts are left out of a training."""
    told = {label for text, label in zip(texts, labels) if text and not text.isspace()}
    for label in labels:
        if label not in told:
            raise ValueError(
                f"all texts of label {label!r} are empty: leave them out, with the label"
            )


def _labels(labels: Iterable[Hashable]) -> list[Hashable]:
    """List labels."""
    if labels is None:
        raise ValueError("y is None: this estimator requires y to be passed, a label for each text")
    if getattr(labels, "ndim", 1) != 1:
        raise ValueError("several labels for a text: this estimator takes one, see `ulmfit.fit`")
    found = list(_plain(labels))
    for row, label in enumerate(found):
        if is_missing(label):
            raise ValueError(f"label {row} is missing: pass texts without label as `unlabelled`")
        if not isinstance(label, Hashable):
            raise ValueError(f"label {row} is a {type(label).__name__}, which is not hashable")
    return found


def _plain(values: Iterable[Any]) -> Iterator[Any]:
    """Yield numpy's values, in an array or Series or one by one, as Python's own, and others as they are."""
    to_list = getattr(values, "tolist", None)
    for value in to_list() if to_list else values:
        yield value.item() if isinstance(value, np.generic) else value


def _require_alike(texts: list[str], labels: list[Hashable]) -> None:
    if len(texts) != len(labels):
        raise ValueError(f"{len(texts)} texts and {len(labels)} labels: give one label for each")


def _classes(labels: Sequence[Hashable]) -> np.ndarray:
    """Give the distinct labels in their order; an array of objects where they are of mixed or other types."""
    distinct = set(labels)
    try:
        ordered = sorted(distinct)  # ty: ignore[invalid-argument-type]
    except TypeError:
        ordered = sorted(distinct, key=lambda label: (type(label).__name__, repr(label)))
    if len(kinds := set(map(type, ordered))) == 1 and kinds <= {bool, int, float, str}:
        array = np.array(ordered)
        if array.tolist() == ordered:  # numpy's strings lose a NUL at their end
            return array
    return np.fromiter(ordered, dtype=object, count=len(ordered))


def _names(classes: Sequence[Hashable]) -> list[str]:
    """Name each label for the classifier: by itself in words, or by its place where words would not come back as they are."""
    names = [str(label) for label in classes]
    is_kept = all(n and n == whole_characters(n).strip() and n != UNSUP for n in names)
    if len(set(names)) < len(names) or not is_kept or same_numbers(names):
        return [str(place) for place in range(len(names))]
    return names


def _files(folder: Path) -> dict[str, bytes]:
    """Read all files below a folder, by their names in it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
