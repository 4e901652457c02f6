"""A checkpoint: bit for bit what was saved, or one line that says which file to remove; the old one or the new."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ulmfit.errors import UserError
from ulmfit.training import checkpoint as module
from ulmfit.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

ROOT = Path(__file__).resolve().parents[1]
DTYPES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32,
    torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64,
    torch.float8_e4m3fn, torch.float8_e5m2,
)  # fmt: skip
FACTS = {"epoch": 3, "lr": 0.1 + 0.2, "loss": float("inf"), "rows": [{"ß": None}, [1, 2]]}


def bits(tensor: Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    """All there is to a tensor; == of tensors would miss the sign of a zero, and what kind of NaN it is."""
    flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return tensor.dtype, tensor.shape, flat.numpy().tobytes()


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Any dtype, shape and bits, whether they mean a number or not."""
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(st.lists(st.integers(0, 3), max_size=3))
    n_bytes = torch.Size(shape).numel() * dtype.itemsize
    byte = st.integers(0, 1) if dtype == torch.bool else st.integers(0, 255)
    content = draw(st.lists(byte, min_size=n_bytes, max_size=n_bytes))
    return torch.tensor(content, dtype=torch.uint8).view(dtype).reshape(shape)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(names, tensors(), max_size=4), st.dictionaries(st.text(), values, max_size=3)
)
def test_what_was_saved_comes_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, saved: dict[str, Tensor], facts: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.safetensors"
    save_checkpoint(path, Checkpoint(saved, facts))
    loaded = load_checkpoint(path)
    assert loaded is not None
    assert {n: bits(t) for n, t in loaded.tensors.items()} == {n: bits(t) for n, t in saved.items()}
    assert repr(loaded.facts) == repr(facts)  # -0.0, and 1.0 beside 1


def small() -> Checkpoint:
    generator = torch.Generator().manual_seed(0)
    weights = {"w": torch.randn(3, 4, generator=generator), "random": generator.get_state()[:16]}
    return Checkpoint(weights, dict(FACTS))


def same(one: Checkpoint | None, other: Checkpoint) -> bool:
    return (
        one is not None
        and {n: bits(t) for n, t in one.tensors.items()}
        == {n: bits(t) for n, t in other.tensors.items()}
        and one.facts == other.facts
    )


def test_views_and_shared_memory(tmp_path: Path) -> None:
    base = torch.nn.Parameter(torch.arange(12.0).reshape(3, 4))
    saved = {
        "encoder": base, "decoder": base, "part": base[1:], "row": base[2], "scalar": base[1, 1],
        "turned": base.t(), "spread": torch.ones(1).expand(3), "empty": base[:0], "none": torch.empty(0),
    }  # fmt: skip
    save_checkpoint(tmp_path / "c", Checkpoint(saved, {"pair": (1, 2)}))
    stock = load_file(tmp_path / "c")  # the library's own reader finds an ordinary file
    assert {n: bits(t) for n, t in stock.items()} == {n: bits(t) for n, t in saved.items()}
    loaded = load_checkpoint(tmp_path / "c")
    assert loaded is not None
    assert loaded.facts == {"pair": [1, 2]}
    loaded.tensors["encoder"].zero_()
    assert torch.equal(loaded.tensors["decoder"], base)


def test_saving_leaves_the_tensors_alone(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(2, 3).t())
    save_checkpoint(tmp_path / "c", Checkpoint({"w": weight, "again": weight}, {}))
    assert weight.requires_grad and not weight.is_contiguous()


def test_no_file_is_no_checkpoint(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "c") is None


# --- files that are not what was written


def refused(path: Path) -> str:
    """Read a file that has to be refused, in one line with the way out."""
    with pytest.raises(UserError) as caught:
        load_checkpoint(path)
    said = str(caught.value)
    assert said.startswith(f"{path} is ") and said.endswith("remove it to start the stage over")
    assert "\n" not in said
    return said


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c"
    save_checkpoint(path, small())
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refused(path)
    path.write_bytes(content + b"\0")
    refused(path)


def test_no_flipped_bit_changes_a_checkpoint_unseen(tmp_path: Path) -> None:
    path = tmp_path / "c"
    save_checkpoint(path, small())
    content = bytearray(path.read_bytes())
    n_refused = 0
    for at in range(len(content)):
        for bit in (0, 5):
            content[at] ^= 1 << bit
            path.write_bytes(content)
            content[at] ^= 1 << bit
            try:
                assert same(load_checkpoint(path), small()), f"byte {at}, bit {bit}"  # in a blank
            except UserError as error:
                assert str(path) in str(error)
                n_refused += 1
    assert n_refused > 1.9 * len(content)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(bytes(1000)),
        lambda path: path.write_text("a text, perhaps notes of somebody\n" * 100),
        lambda path: torch.save({"w": torch.ones(3)}, path),
        lambda path: save_file({"w": torch.ones(3)}, path),
        lambda path: save_file({"w": torch.ones(3)}, path, {"format": "pt"}),
        lambda path: save_file({"w": torch.ones(3)}, path, {"format": module.FORMAT}),
    ],
    ids=["empty", "zeros", "text", "torch", "safetensors", "model", "no hash"],
)
def test_foreign_files_are_refused(tmp_path: Path, write: Callable[[Path], object]) -> None:
    write(tmp_path / "c")
    refused(tmp_path / "c")


@pytest.mark.parametrize("change", ["facts", "rename", "swap", "retype"])
def test_a_file_written_anew_by_hand_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "c"
    save_checkpoint(path, Checkpoint({"a": torch.zeros(2), "b": torch.ones(2)}, {"epoch": 3}))
    with safe_open(path, "pt") as file:
        metadata, found = file.metadata(), {name: file.get_tensor(name) for name in ("a", "b")}
    if change == "facts":
        metadata["facts"] = json.dumps({"epoch": 4})
    elif change == "retype":
        found = {name: tensor.view(torch.int32) for name, tensor in found.items()}
    else:
        found = dict(zip(("b", "c") if change == "rename" else ("b", "a"), found.values()))
    save_file({name: t.clone() for name, t in found.items()}, tmp_path / "new", metadata)
    refused(tmp_path / "new")


# --- disks that fail


def disk_full(*args: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["save_file", "flush_to_disk"])
def test_a_full_disk_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    path = tmp_path / "c"
    save_checkpoint(path, small())
    monkeypatch.setattr(module, where, disk_full)
    with pytest.raises(UserError, match=r"cannot write .*c: No space left on device; make room"):
        save_checkpoint(path, Checkpoint({"w": torch.ones(3)}, {}))
    assert os.listdir(tmp_path) == ["c"]
    assert same(load_checkpoint(path), small())


LIMITED = """
import resource, sys, torch
from ulmfit.errors import UserError
from ulmfit.training.checkpoint import Checkpoint, save_checkpoint
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    save_checkpoint(sys.argv[1], Checkpoint({"w": torch.ones(1 << 20)}, {}))
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_file_that_may_not_grow_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c"
    save_checkpoint(path, small())
    command = [sys.executable, "-c", LIMITED, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write {path}: ")
    assert done.stdout.count("\n") == 1
    assert os.listdir(tmp_path) == ["c"]
    assert same(load_checkpoint(path), small())


def test_the_content_is_on_the_disk_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, happened = tmp_path / "c", []
    fsync, rename = os.fsync, os.replace

    def watched_fsync(handle: int) -> None:
        fsync(handle)
        happened.append(("fsync", os.fstat(handle).st_ino))

    def watched_rename(old: Any, new: Any) -> None:
        happened.append((Path(new).name, os.stat(old).st_ino))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_rename)
    save_checkpoint(path, small())
    number = path.stat().st_ino
    assert happened == [("fsync", number), ("c", number)]


def test_an_interrupt_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "c", small())

    def interrupted(tensors: dict[str, Tensor], part: Path, metadata: object) -> None:
        save_file(tensors, part)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path / "c", Checkpoint({"w": torch.ones(3)}, {}))
    assert os.listdir(tmp_path) == ["c"]
    assert same(load_checkpoint(tmp_path / "c"), small())


def test_a_checkpoint_can_be_replaced_while_it_is_in_use(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", small())
    loaded = load_checkpoint(tmp_path / "c")
    save_checkpoint(tmp_path / "c", Checkpoint({"w": torch.ones(3)}, {}))
    assert same(loaded, small())
