"""The tensors of a language model as data: their names, the architecture they imply, and whether they fit one.

In: a dict of tensors by our names. Out: an `ArchConfig`, or one line that says what differs and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ulmfit.errors import UserError
from ulmfit.models.arch import SIZES, ArchConfig
from ulmfit.models.backbones import BACKBONES
from ulmfit.models.language_model import LanguageModel

EMBEDDING, DECODER_WEIGHT, DECODER_BIAS = (
    "encoder.embedding.weight",
    "decoder.weight",
    "decoder.bias",
)
_SHOWN = 3
ARCH_FACTS = ("backbone", *SIZES, "tie_weights", "out_bias")  # what tensors tell of an architecture


def expected_shapes(arch: ArchConfig, n_vocab: int) -> dict[str, tuple[int, ...]]:
    """List the tensors that a language model consists of, without making them."""
    with torch.device("meta"):
        model = LanguageModel(arch, n_vocab)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def infer_arch(weights: Mapping[str, Tensor]) -> ArchConfig:
    """Read the architecture off the tensors; dropouts, which leave no trace, are the backbone's published ones."""
    depths = {name.split(".")[2] for name in weights if name.startswith("encoder.rnns.")}
    is_lstm = "encoder.rnns.0.weight_hh" in weights
    emb_sz = size_of(weights, EMBEDDING, -1)
    n_hid = (
        size_of(weights, "encoder.rnns.0.weight_hh", -1)
        if is_lstm
        else size_of(weights, "encoder.rnns.0.bias", 0) // 3
    )
    backbone = "awd_lstm" if is_lstm else "qrnn"
    return replace(
        BACKBONES[backbone].arch,
        emb_sz=max(1, emb_sz),
        n_hid=max(1, n_hid),
        n_layers=max(1, len(depths)),
        tie_weights=DECODER_WEIGHT not in weights,
        out_bias=DECODER_BIAS in weights,
    )


def require_fit(
    weights: Mapping[str, Tensor], arch: ArchConfig, *, n_vocab: int, where: str
) -> None:
    """Refuse weights that are not those of this architecture and vocabulary size, with the likely reason."""
    if table := differences(weights, expected_shapes(arch, n_vocab)):
        raise UserError(f"{where}: {table}; {_reason(weights, arch, n_vocab)}")


def differences(weights: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> str:
    """List the first tensors whose shapes are not the expected ones; empty if there are none."""
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    wrong = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
    table = ", ".join(
        f"{name} expected {_shape(expected.get(name))} found {_shape(found.get(name))}"
        for name in wrong[:_SHOWN]
    )
    return table + (f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else "")


def _reason(weights: Mapping[str, Tensor], arch: ArchConfig, n_vocab: int) -> str:
    """Name the fact in which weights and architecture differ, the most telling first."""
    has_layers = any(name.startswith("encoder.rnns.0.weight") for name in weights)
    if EMBEDDING not in weights or not has_layers:
        return "these are not the weights of a whole language model"
    actual = infer_arch(weights)
    for fact in ARCH_FACTS:
        own, asked = getattr(actual, fact), getattr(arch, fact)
        if own != asked:
            flag = "--" + fact.replace("_", "-")
            return f"the file's {fact} is {own} and {asked} is asked for: set {flag} {own}, or take other weights"
    rows = size_of(weights, EMBEDDING, 0)
    if rows != n_vocab:
        return (
            f"the weights know {rows:,} tokens and the vocabulary has {n_vocab:,}: "
            "give the vocabulary that was saved with the weights"
        )
    return "the tensors contradict each other: fetch or save the file again"


def size_of(weights: Mapping[str, Tensor], name: str, dimension: int) -> int:
    """Return one size of a tensor, 0 where there is none."""
    shape = weights[name].shape if name in weights else ()
    return shape[dimension] if shape else 0


def _shape(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else "x".join(map(str, shape)) or "a number"
