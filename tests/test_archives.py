"""Archives unpack whole or not at all, and never outside their folder."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile

import pytest

from ulmfit.errors import UserError
from ulmfit.text.archives import unpack


def tar(path, members):
    with tarfile.open(path, "w:gz") as out:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                out.addfile(info, io.BytesIO(content))
            else:
                (info.type,), info.linkname = content, "/etc/passwd"
                out.addfile(info)
    return path


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as out:
        for name, content in members:
            out.writestr(name, content)
    return path


def left_behind(folder, archive):
    return sorted(p.name for p in folder.iterdir() if p != archive)


@pytest.mark.parametrize(("make", "name"), [(tar, "d.tgz"), (zipped, "d.zip")])
def test_unpack(tmp_path, make, name):
    archive = make(tmp_path / name, [("set/a.txt", b"a"), ("set/deep/b.txt", b"b" * 3_000_000)])
    folder = unpack(archive, "set")
    assert (folder / "a.txt").read_bytes() == b"a"
    assert (folder / "deep/b.txt").stat().st_size == 3_000_000
    assert left_behind(tmp_path, archive) == ["set"]


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/tmp/evil.txt", "set/../../evil.txt", "set\\..\\evil.txt", "C:evil"]
)
@pytest.mark.parametrize(("make", "suffix"), [(tar, ".tar.gz"), (zipped, ".zip")])
def test_a_member_that_leads_outside_is_refused(tmp_path, make, suffix, name):
    home = tmp_path / "home"
    home.mkdir()
    archive = make(home / f"d{suffix}", [("set/a.txt", b"a"), (name, b"evil")])
    with pytest.raises(UserError, match="leads outside its folder"):
        unpack(archive, "set")
    assert left_behind(home, archive) == []
    assert left_behind(tmp_path, home) == []


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_refused(tmp_path, kind):
    archive = tar(tmp_path / "d.tgz", [("set/a.txt", b"a"), ("set/link", (kind,))])
    with pytest.raises(UserError, match="link or a device"):
        unpack(archive, "set")
    assert left_behind(tmp_path, archive) == []


def test_a_link_in_a_zip_is_refused(tmp_path):
    info = zipfile.ZipInfo("set/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = zipped(tmp_path / "d.zip", [(info, b"/etc/passwd")])
    with pytest.raises(UserError, match="link or a device"):
        unpack(archive, "set")


@pytest.mark.parametrize(("make", "name"), [(tar, "d.tgz"), (zipped, "d.zip")])
def test_a_bomb_is_refused(tmp_path, make, name):
    archive = make(tmp_path / name, [("set/a", b"\0" * 600_000), ("set/b", b"\0" * 600_000)])
    with pytest.raises(UserError, match="more than 1 MB"):
        unpack(archive, "set", limit_bytes=1_000_000)
    assert left_behind(tmp_path, archive) == []


@pytest.mark.parametrize(("make", "name"), [(tar, "d.tgz"), (zipped, "d.zip")])
def test_a_cut_off_archive_is_one_line(tmp_path, make, name):
    archive = make(tmp_path / name, [("set/a", bytes(range(256)) * 400), ("set/b", b"b" * 10_000)])
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(UserError, match="cut off or damaged"):
        unpack(archive, "set")
    assert left_behind(tmp_path, archive) == []


def test_another_archive_and_an_unfinished_folder(tmp_path):
    archive = tar(tmp_path / "d.tgz", [("other/a.txt", b"a")])
    with pytest.raises(UserError, match="holds no folder 'set'"):
        unpack(archive, "set")
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="not complete"):
        unpack(archive, "other")
