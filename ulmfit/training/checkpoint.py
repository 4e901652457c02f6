"""A checkpoint: tensors and facts in one safetensors file, replaced whole, and proved whole when it is read.

What comes back is what went in, bit for bit: the file carries a hash of its tensors, their names, types and shapes,
and the facts. Nothing in it is code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ulmfit.errors import UserError
from ulmfit.files import atomic_file, flush_to_disk

FORMAT = "ulmfit checkpoint 1"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A moment of a training."""

    tensors: dict[str, Tensor]
    """Of any dtype and shape; they come back on the CPU."""
    facts: dict[str, Any]
    """JSON; floats come back exactly, tuples as lists."""


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint at `path`, which stays as it was if this one cannot be written."""
    path, tensors = Path(path), _plain(checkpoint.tensors)
    facts = json.dumps(checkpoint.facts)
    metadata = {"format": FORMAT, "facts": facts, "sha256": _digest(tensors, facts)}
    with atomic_file(path) as part:
        try:
            save_file(tensors, part, metadata)
            flush_to_disk(part)
        except (OSError, SafetensorError) as error:  # the library has its own for a full disk
            raise UserError(
                f"cannot write {path}: {_reason(error)}; make room and give the same command again: "
                "it goes on from the checkpoint before this one, if there is one"
            ) from error


def load_checkpoint(path: str | Path) -> Checkpoint | None:
    """Read the checkpoint at `path`, or return None if there is no file."""
    path = Path(path)
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            # Copies, because a file that is mapped into memory cannot be replaced on Windows.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise UserError(f"cannot read {path}: {_reason(error)}") from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise _unusable(path, f"damaged or no checkpoint ({error})") from error
    if metadata.get("format") != FORMAT:
        raise _unusable(path, "no checkpoint of this version of ulmfit")
    facts = metadata.get("facts", "")
    if metadata.get("sha256") != _digest(tensors, facts):
        raise _unusable(path, "damaged: its content is not what was written")
    return Checkpoint(tensors, json.loads(facts))


def load_facts(path: str | Path) -> Any:
    """Read a checkpoint's facts alone, without proof that they are whole; None if there are none to read."""
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {})["facts"])
    except (OSError, SafetensorError, ValueError, KeyError):
        return None


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Lay the tensors out as safetensors wants them: contiguous, and no two in the same memory."""
    plain: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        if own.untyped_storage().data_ptr() in taken:
            own = own.clone()
        taken.add(own.untyped_storage().data_ptr())
        plain[name] = own
    return plain


def _digest(tensors: Mapping[str, Tensor], facts: str) -> str:
    """Hash all that a checkpoint says."""
    digest = hashlib.sha256(facts.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _unusable(path: Path, what: str) -> UserError:
    return UserError(f"{path} is {what}: remove it to start the stage over")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
