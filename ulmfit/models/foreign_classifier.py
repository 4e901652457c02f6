"""A classifier of fastai v1 or v2 -> our names and our order.

In: the file of `text_classifier_learner(...).save`, its vocabulary and labels. Out: a `ForeignClassifier`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ulmfit.errors import UserError
from ulmfit.files import read_json
from ulmfit.models.classifier_arch import ClassifierArch, PoolingConfig
from ulmfit.models.classifier_weights import (
    head_name,
    infer_classifier_arch,
    require_classifier_fit,
)
from ulmfit.models.foreign import order_tokens, own_names, read_tensors, require_numbers
from ulmfit.models.label_set import NUMBER, LabelSet
from ulmfit.models.string_lists import read_string_lists
from ulmfit.models.transplant import take_rows
from ulmfit.models.weights import EMBEDDING
from ulmfit.text.vocab import Vocab

_HEAD = "1.layers."
# Neither stands in a file: the defaults of the library that gave its linear layers a bias, or did not.
_POOLING_V1, _POOLING_V2 = PoolingConfig(bptt=70, max_len=1400), PoolingConfig()


@dataclass(frozen=True, eq=False)
class ForeignClassifier:
    """A classifier of others in our terms."""

    weights: dict[str, Tensor]
    vocab: Vocab
    arch: ClassifierArch
    labels: LabelSet
    notes: tuple[str, ...]
    """What was renamed, filled in or left out."""


def is_classifier(weights: Mapping[str, Tensor]) -> bool:
    """Tell the tensors of a classifier from those of a language model."""
    return any(_plain(name).startswith(_HEAD) for name in weights)


def read_foreign_classifier(
    weights: str | Path,
    vocab: str | Path,
    *,
    labels: Sequence[str] | None = None,
    label_kind: str | None = None,
) -> ForeignClassifier:
    """Read a .pth file and what belongs to it; `labels` stand in `vocab` unless they are given.

    Without a kind, a single output without labels is a number, and everything else one label a document.
    """
    own = _own_classifier(read_tensors(weights), where=str(weights))
    tokens, found = read_vocab_and_labels(vocab)
    arch = infer_classifier_arch(own)
    arch = replace(arch, pooling=_POOLING_V1 if arch.head_bias else _POOLING_V2)
    require_classifier_fit(own, arch, n_vocab=len(tokens), where=f"{weights} with {vocab}")
    require_numbers(own, where=str(weights))
    ordered = order_tokens(tokens)
    own[EMBEDDING] = take_rows(own[EMBEDDING], torch.tensor(ordered.rows), n_vocab=len(tokens))
    names = _labels(labels or found, label_kind, n_outputs=arch.n_outputs, where=str(vocab))
    return ForeignClassifier(own, Vocab(ordered.tokens), arch, names, ordered.notes)


def read_vocab_and_labels(path: str | Path) -> tuple[list[str], list[str]]:
    """Read `learn.dls.vocab`, as a pickle or as JSON: the tokens, and the labels if they are there."""
    content = read_json(Path(path)) if Path(path).suffix == ".json" else read_string_lists(path)
    parts: list[Any] = content if isinstance(content, list) else []
    if all(isinstance(part, str) for part in parts):
        parts = [parts]
    are_lists = all(isinstance(part, list) for part in parts)
    if not are_lists or not parts[0] or not all(isinstance(i, str) for part in parts for i in part):
        raise UserError(f"{path} holds no list of tokens: give what learn.dls.vocab is, in a file")
    return list(parts[0]), list(parts[1]) if len(parts) > 1 else []


def _own_classifier(named: Mapping[str, Tensor], *, where: str) -> dict[str, Tensor]:
    """Give the tensors of encoder and head our names."""
    if not is_classifier(named):
        raise UserError(
            f"{where} holds no classifier's head: give the weights that "
            "text_classifier_learner(...).save(NAME) wrote, or convert them as a language model"
        )
    plain = {_plain(name): tensor for name, tensor in named.items()}
    encoder = {
        f"0.{name.removeprefix('0.').removeprefix('module.')}": tensor
        for name, tensor in plain.items()
        if not name.startswith(_HEAD)
    }
    head = {name: tensor for name, tensor in plain.items() if name.startswith(_HEAD)}
    own = {**own_names(encoder, where=where), **_own_head(head)}
    return {
        name: (tensor.float() if tensor.is_floating_point() else tensor).detach().contiguous()
        for name, tensor in own.items()
    }


def _own_head(head: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name a head's tensors: from the bottom up, norms and linear layers take turns in every fastai."""
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in sorted(head.items(), key=lambda item: _places(item[0])):
        module, _, part = name.rpartition(".")
        modules.setdefault(module, {})[part] = tensor
    kinds = {"norm": 0, "linear": 0}
    own = {}
    for tensors in modules.values():
        kind = "norm" if "running_mean" in tensors else "linear"
        for part, tensor in tensors.items():
            own[head_name(kinds[kind], f"{kind}.{part}")] = tensor
        kinds[kind] += 1
    return own


def _labels(names: Sequence[str], kind: str | None, *, n_outputs: int, where: str) -> LabelSet:
    """Say what the outputs mean."""
    if kind == NUMBER or (kind is None and n_outputs == 1 and not names):
        return LabelSet(NUMBER, (NUMBER,))
    if len(names) != n_outputs:
        raise UserError(
            f"the classifier has {n_outputs} outputs, and {where} has {len(names)} labels: "
            "give the labels in the order of fastai's dls.vocab[1]"
        )
    return LabelSet(kind or "category", tuple(names))


def _plain(name: str) -> str:
    """Drop what data-parallel training puts before a name."""
    return name.removeprefix("module.")


def _places(name: str) -> tuple[int, ...]:
    """Read the position of a module off a tensor's name."""
    return tuple(int(part) for part in name.split(".") if part.isdecimal())
