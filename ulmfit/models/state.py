"""What a recurrent stack carries from one piece of text to the next: a value, never kept in a module.

A tuple over layers of tuples of tensors whose first dimension is the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

LayerState = tuple[Tensor, ...]
State = tuple[LayerState, ...]


def detach(state: State) -> State:
    """Cut the graph, so that no gradient flows into the piece before."""
    return tuple(tuple(part.detach() for part in layer) for layer in state)


def select(state: State, rows: Tensor | slice) -> State:
    """Keep some rows of the batch, or bring them into another order."""
    return tuple(tuple(part[rows] for part in layer) for layer in state)


def with_first(state: State, first: State) -> State:
    """Put other rows in the place of the first ones."""
    return tuple(
        tuple(torch.cat([new, part[len(new) :]]) for part, new in zip(layer, others))
        for layer, others in zip(state, first)
    )


def resize(state: State, bs: int) -> State:
    """Keep the first `bs` rows; rows that are not there yet begin with zeros."""
    return tuple(tuple(_resized(part, bs) for part in layer) for layer in state)


def _resized(part: Tensor, bs: int) -> Tensor:
    missing = bs - part.shape[0]
    if missing <= 0:
        return part[:bs]
    return torch.cat([part, part.new_zeros(missing, *part.shape[1:])])
