"""Archives and foreign weights as an enemy would build them: a folder, or one line; nothing outside, nothing run."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile import DEPTHS, JSON, damaged, examples, lawful
from hypothesis import example, given
from hypothesis import strategies as st

from tests.hostile import peak_mb
from ulmfit.errors import UserError
from ulmfit.models.foreign import read_foreign, read_tensors, read_tokens
from ulmfit.models.foreign_classifier import read_foreign_classifier, read_vocab_and_labels
from ulmfit.text import archives
from ulmfit.text.archives import unpack
from ulmfit.text.rules import CONTROL_TOKENS

TOKENS = [*CONTROL_TOKENS, "film", "fine", "dull"]
MB = 1 << 20


class Touch:
    """Create a file as soon as somebody unpickles it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return open, (str(self.marker), "w")


def tarred(path: Path, members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1) as out:
        for info, content in members:
            out.addfile(info, io.BytesIO(content))
    return path


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> Any:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), kind, "../../target"
    return info, content


def outside(folder: Path) -> list[str]:
    """List what lies beside the folder in which an archive was unpacked."""
    return sorted(path.name for path in folder.parent.iterdir() if path != folder)


def require_inside(home: Path, archive: Path) -> None:
    """Refuse whatever an archive may have left besides its folder: links, half folders, files elsewhere."""
    assert outside(home) == []
    left = {path.name for path in home.iterdir()} - {archive.name}
    assert left <= {"set"}
    assert not any(path.is_symlink() for path in home.rglob("*"))
    for path in sorted(home.rglob("*"), reverse=True):
        if path != archive:
            path.rmdir() if path.is_dir() else path.unlink()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "alone" / "home"
    folder.mkdir(parents=True)
    return folder


def build(folder: Path, suffix: str) -> bytes:
    """Make an honest archive of each kind."""
    path = folder / f"honest{suffix}"
    content = {"set/a.txt": b"a text\n" * 30, "set/deep/b.txt": b"another", "set/c.txt": b""}
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
            for name, text in content.items():
                out.writestr(name, text)
    else:
        with tarfile.open(path, "w:gz" if suffix == ".tgz" else "w") as tar:
            for name, text in content.items():
                info, _ = member(name, text)
                tar.addfile(info, io.BytesIO(text))
    whole = path.read_bytes()
    path.unlink()
    return whole


@pytest.mark.parametrize("n", DEPTHS)
@pytest.mark.parametrize("suffix", [".tgz", ".tar", ".zip"])
def test_a_damaged_archive_is_unpacked_inside_or_refused(home: Path, suffix: str, n: int) -> None:
    archive = home / f"d{suffix}"

    @examples(n)
    @given(damaged(build(home, suffix)))
    def law(content: bytes) -> None:
        archive.write_bytes(content)
        lawful(lambda: unpack(archive, "set", limit_bytes=MB))
        require_inside(home, archive)

    law()


NAMES = st.one_of(
    st.text(max_size=12),
    st.lists(st.sampled_from(["..", ".", "", "set", "a", "C:", "\\", "\0", "/"]), max_size=5).map(
        "/".join
    ),
)
KINDS = st.sampled_from([b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"S", b"x", b"g", b"L"])


@pytest.mark.parametrize("n", DEPTHS)
def test_any_members_stay_inside(home: Path, n: int) -> None:
    archive = home / "d.tgz"

    @examples(n)
    @given(st.lists(st.tuples(NAMES, KINDS, st.binary(max_size=40)), max_size=4))
    def law(members: list[tuple[str, bytes, bytes]]) -> None:
        try:
            tarred(archive, [member(name, content, kind) for name, kind, content in members])
        except (ValueError, UnicodeError):
            return  # not even a tar
        lawful(lambda: unpack(archive, "set", limit_bytes=MB))
        require_inside(home, archive)

    law()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("n", DEPTHS)
def test_any_names_in_a_zip_stay_inside(home: Path, n: int) -> None:
    archive = home / "d.zip"

    @examples(n)
    @given(st.lists(st.tuples(NAMES, st.integers(0, 15), st.integers(0, 99)), max_size=4))
    def law(members: list[tuple[str, int, int]]) -> None:
        with zipfile.ZipFile(archive, "w") as out:
            for name, kind, method in members:
                info = zipfile.ZipInfo("x")
                info.filename, info.external_attr = name.replace("\ud800", "?"), kind << 28
                out.writestr(info, b"content")
                info.compress_type = method
        lawful(lambda: unpack(archive, "set", limit_bytes=MB))
        require_inside(home, archive)

    law()


# --- archives that are larger than they look


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_would_fill_the_memory_is_refused_unread(home: Path, kind: bytes) -> None:
    size = 64 * MB
    archive = tarred(home / "d.tgz", [member("set/a", bytes(size), kind)])
    assert archive.stat().st_size < MB
    with pytest.raises(UserError, match="header of type"):
        unpack(archive, "set")
    assert peak_mb(lambda: lawful(lambda: unpack(archive, "set"))) < 8
    require_inside(home, archive)


@pytest.mark.parametrize("suffix", [".tgz", ".zip"])
def test_too_many_members_are_refused(
    home: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LIMIT_MEMBERS", 50)
    archive = home / f"d{suffix}"
    names = [f"set/{i}/" for i in range(60)]
    if suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as out:
            for name in names:
                out.writestr(name, b"")
    else:
        tarred(archive, [member(name, kind=tarfile.DIRTYPE) for name in names])
    with pytest.raises(UserError, match="more than 50 members"):
        unpack(archive, "set")
    require_inside(home, archive)


def test_headers_about_headers_about_headers_end(home: Path) -> None:
    record = b"13 path=set/a\n"
    archive = tarred(home / "d.tgz", [member("x", record, tarfile.XHDTYPE)] * 3_000)
    lawful(lambda: unpack(archive, "set"))
    require_inside(home, archive)


def test_an_encrypted_or_unknown_zip_is_one_line(home: Path) -> None:
    archive = home / "d.zip"
    whole = build(home, ".zip")
    for at, value in ((6, 1), (8, 99)):  # flags: encrypted; method: none that is known
        content = bytearray(whole)
        for start, step in ((whole.find(b"PK\x03\x04"), 0), (whole.find(b"PK\x01\x02"), 2)):
            content[start + at + step] = value
        archive.write_bytes(content)
        with pytest.raises(UserError, match="cut off or damaged"):
            unpack(archive, "set")
    require_inside(home, archive)


# --- foreign weights and vocabularies


def lm_tensors(n_vocab: int = len(TOKENS)) -> dict[str, torch.Tensor]:
    sizes = {"weight_ih": (8, 2), "weight_hh": (8, 2), "bias_ih": (8,), "bias_hh": (8,)}
    embedding = torch.rand(n_vocab, 2)
    tensors = {"0.encoder.weight": embedding, "0.encoder_dp.emb.weight": embedding}
    for name, size in sizes.items():
        tensors[f"0.rnns.0.{name}_l0" if "hh" not in name or "bias" in name else f"0.rnns.0.{name}_l0_raw"] = torch.rand(*size)  # fmt: skip
    return {**tensors, "1.decoder.weight": embedding, "1.decoder.bias": torch.zeros(n_vocab)}


@pytest.fixture
def vocab(home: Path) -> Path:
    path = home / "vocab.json"
    path.write_text(json.dumps(TOKENS))
    return path


@pytest.mark.parametrize("n", DEPTHS)
@pytest.mark.parametrize("is_zip", [True, False])
def test_damaged_weights_are_read_or_refused(home: Path, vocab: Path, is_zip: bool, n: int) -> None:
    path = home / "lm.pth"
    torch.save(lm_tensors(), path, _use_new_zipfile_serialization=is_zip)
    assert read_foreign(path, vocab).arch.emb_sz == 2  # whole, it is read

    @examples(n)
    @given(damaged(path.read_bytes()))
    def law(content: bytes) -> None:
        path.write_bytes(content)
        lawful(lambda: read_foreign(path, vocab))
        lawful(lambda: read_foreign_classifier(path, vocab))

    law()


SHAPES = st.lists(st.integers(0, 9), max_size=3)
KEYS = st.sampled_from(
    [
        *lm_tensors(),
        "0.module.encoder.weight",
        "1.layers.0.0.weight",
        "1.layers.²",
        "1.layers.0.weight",
        "1.layers.1.running_mean",
    ]
)
DTYPES = st.sampled_from([torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64])
DEVICES = st.sampled_from(["cpu", "cpu", "cpu", "meta"])


@pytest.mark.parametrize("n", DEPTHS)
def test_tensors_of_any_shape_are_read_or_refused(home: Path, vocab: Path, n: int) -> None:
    path = home / "lm.pth"

    @examples(n)
    @example(
        {
            "0.encoder.weight": ([], torch.float32, "cpu"),
            "1.layers.0.weight": ([1], torch.float32, "cpu"),
        },
        False,
    )
    @given(st.dictionaries(KEYS, st.tuples(SHAPES, DTYPES, DEVICES), max_size=4), st.booleans())
    def law(changes: dict[str, Any], is_whole: bool) -> None:
        tensors = lm_tensors() if is_whole else {}
        for name, (shape, dtype, device) in changes.items():
            tensors[name] = torch.zeros(shape, dtype=dtype, device=device)
        torch.save(tensors, path)
        lawful(lambda: read_foreign(path, vocab))
        lawful(lambda: read_foreign_classifier(path, vocab))

    law()


@pytest.mark.parametrize("name", ["lm.pth", "vocab.pkl", "vocab.json"])
def test_a_bomb_in_place_of_any_file_is_refused_unexecuted(home: Path, name: str) -> None:
    marker, path = home / "marker", home / name
    read: Any = {"lm.pth": read_tensors, "vocab.pkl": read_tokens, "vocab.json": read_tokens}[name]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        content = pickle.dumps([Touch(marker)], protocol=protocol)
        path.write_bytes(content)
        assert lawful(lambda: read(path)) is None
        lawful(lambda: read_vocab_and_labels(path))
        if name == "lm.pth":  # as torch wraps it
            with zipfile.ZipFile(path, "w") as out:
                out.writestr("archive/data.pkl", content)
                out.writestr("archive/version", b"3\n")
            assert lawful(lambda: read(path)) is None
        assert not marker.exists()
        pickle.loads(content)[0].close()
        assert marker.exists(), "the bomb is none"
        os.unlink(marker)


def test_weights_that_are_compressed_are_refused_unread(home: Path) -> None:
    path = home / "lm.pth"
    torch.save({"a": torch.zeros(64 * MB // 4)}, path)
    with zipfile.ZipFile(path) as stored:
        parts = {info.filename: stored.read(info) for info in stored.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for part, content in parts.items():
            out.writestr(part, content)
    assert path.stat().st_size < MB
    with pytest.raises(UserError, match="compressed"):
        read_tensors(path)


@pytest.mark.parametrize("n", DEPTHS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_damaged_vocabularies_are_read_or_refused(home: Path, protocol: int, n: int) -> None:
    path = home / "vocab.pkl"
    whole = pickle.dumps([TOKENS, ["neg", "pos"]], protocol=protocol)
    flat = pickle.dumps(TOKENS, protocol=protocol)

    @examples(n)
    @given(damaged(whole) | damaged(flat) | st.binary(max_size=60))
    def law(content: bytes) -> None:
        path.write_bytes(content)
        lawful(lambda: read_tokens(path))
        lawful(lambda: read_vocab_and_labels(path))

    law()


@pytest.mark.parametrize("n", DEPTHS)
def test_json_in_place_of_a_vocabulary_is_read_or_refused(home: Path, n: int) -> None:
    path = home / "vocab.json"

    @examples(n)
    @given(JSON | st.lists(JSON, max_size=3))
    def law(content: Any) -> None:
        path.write_text(json.dumps(content))
        lawful(lambda: read_tokens(path))
        lawful(lambda: read_vocab_and_labels(path))

    law()


def test_a_gzip_of_nothing_but_zeros_ends(home: Path) -> None:
    archive = home / "d.tgz"
    archive.write_bytes(gzip.compress(bytes(32 * MB), compresslevel=1))
    lawful(lambda: unpack(archive, "set", limit_bytes=MB))
    require_inside(home, archive)
