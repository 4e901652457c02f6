"""The tensors of a classifier as data: the architecture they imply, and whether they fit one.

In: a dict of tensors by our names. Out: a `ClassifierArch`, or one line that says what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ulmfit.errors import UserError
from ulmfit.models.classifier import Classifier
from ulmfit.models.classifier_arch import ClassifierArch
from ulmfit.models.weights import EMBEDDING, differences, infer_arch, size_of


def head_name(depth: int, part: str) -> str:
    """Name a tensor of a head's block, such as `linear.weight`."""
    return f"head.blocks.{depth}.{part}"


def expected_shapes(arch: ClassifierArch, n_vocab: int) -> dict[str, tuple[int, ...]]:
    """List the tensors that a classifier consists of, without making them."""
    with torch.device("meta"):
        model = Classifier(arch, n_vocab)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def infer_classifier_arch(weights: Mapping[str, Tensor]) -> ClassifierArch:
    """Read the architecture off the tensors; what leaves no trace, dropouts and pooling, is fastai's."""
    widths = []
    while (linear := weights.get(head_name(len(widths), "linear.weight"))) is not None:
        widths.append(linear.shape[0] if linear.ndim else 0)
    if not widths:
        raise UserError("these weights have no classifier's head: give those of a classifier")
    arch = ClassifierArch.of(infer_arch(weights), widths[-1])
    has_bias = head_name(0, "linear.bias") in weights
    return replace(arch, hidden_sizes=tuple(widths[:-1]), head_bias=has_bias)


def require_classifier_fit(
    weights: Mapping[str, Tensor], arch: ClassifierArch, *, n_vocab: int, where: str
) -> None:
    """Refuse weights that are not those of this classifier and vocabulary size."""
    table = differences(weights, expected_shapes(arch, n_vocab))
    if not table:
        return
    rows = size_of(weights, EMBEDDING, 0)
    reason = (
        f"the weights know {rows:,} tokens and the vocabulary has {n_vocab:,}: "
        "give the vocabulary that was saved with the weights"
        if rows not in (0, n_vocab)
        else "these are not the weights of this classifier: give those that belong to its settings"
    )
    raise UserError(f"{where}: {table}; {reason}")
