"""Zips and folders of strangers: what is listed, what is refused and why, and nothing is left."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from koed.errors import EngineError
from koed.voices.packs import items, zips
from koed.voices.packs.sources import opened


class Named(zipfile.ZipInfo):
    """A file whose name is in another encoding, without a word about it."""

    encoding = "gbk"

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode(self.encoding), 0


def packed(path: Path, files: Mapping[str, bytes], encoding: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in files.items():
            info = Named(name) if encoding else zipfile.ZipInfo(name)
            if encoding:
                Named.encoding = encoding
            file.writestr(info, data, zipfile.ZIP_DEFLATED)
    return path


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    made = tmp_path / "staging"
    made.mkdir()
    return made


def listed(staging: Path, *paths: Path) -> list[str]:
    with opened(paths, staging) as source:
        return [str(item.path) for item in source.items]


def read_all(staging: Path, *paths: Path) -> None:
    with opened(paths, staging) as source:
        for item in source.items:
            source.file(item)
            source.read(item, items.TEXT_BYTES * 4)


def refusal(staging: Path, *paths: Path) -> tuple[str, str]:
    """Code and hint of reading all of a pack; the staging folder is empty afterwards."""
    with pytest.raises(EngineError) as caught:
        read_all(staging, *paths)
    assert list(staging.iterdir()) == []
    assert caught.value.hint
    return caught.value.code, caught.value.hint


@pytest.mark.parametrize("encoding", ["", "gbk", "cp932"])
def test_a_zip_is_listed_in_the_letters_of_its_author(
    tmp_path: Path, staging: Path, encoding: str
) -> None:
    name = "桃/こんにちは、元気ですか.wav" if encoding == "cp932" else "胡桃/今天天气真好。.wav"
    files = {name: b"sound", "__MACOSX/._x.wav": b"", "a/.DS_Store": b"", "a/": b""}
    assert listed(staging, packed(tmp_path / "p.zip", files, encoding)) == [name]


def test_a_name_may_be_told_by_info_zip(tmp_path: Path, staging: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as file:
        info = zipfile.ZipInfo("_.wav")
        name = "桃.wav".encode()
        body = struct.pack("<BL", 1, zlib.crc32(b"_.wav")) + name
        info.extra = struct.pack("<HH", 0x7075, len(body)) + body
        file.writestr(info, b"")
    assert listed(staging, tmp_path / "p.zip") == ["桃.wav"]


def test_a_folder_and_what_leaves_it(tmp_path: Path, staging: Path) -> None:
    folder = tmp_path / "胡桃"
    (folder / "参考").mkdir(parents=True)
    (folder / "参考" / "a.wav").write_bytes(b"x")
    (folder / "runtime").mkdir()
    (folder / "runtime" / "big.pth").write_bytes(b"")
    (folder / ".hidden.wav").write_bytes(b"")
    os.mkfifo(folder / "pipe.wav")
    (tmp_path / "secret").write_bytes(b"")
    (folder / "link.ckpt").symlink_to(tmp_path / "secret")
    (folder / "loop").symlink_to(folder)
    (Path(os.fsencode(folder).decode()) / "x").with_name("b.wav").write_bytes(b"")
    os.close(os.open(os.fsencode(folder) + b"/" + "开心".encode("gbk") + b".wav", os.O_CREAT))
    with opened([folder], staging) as source:
        found = [str(item.path) for item in source.items]
        assert sorted(found) == ["b.wav", "参考/a.wav", "开心.wav"]
        assert source.name == "胡桃"
        assert {note.partition(":")[0] for note in source.notes} == {"link.ckpt", "pipe.wav"}
        by_name = {item.path.name: item for item in source.items}
        assert source.read(by_name["a.wav"], 10) == b"x"


def test_only_what_is_asked_for_is_unpacked_and_it_goes_away(tmp_path: Path, staging: Path) -> None:
    pack = packed(tmp_path / "p.zip", {"x.wav": b"one", "b.wav": b"two"})
    with opened([pack], staging) as source:
        path = source.file(source.items[0])
        assert path.read_bytes() == b"two"
        assert list(staging.iterdir()) == [path]
        assert source.file(source.items[0]) == path
    assert list(staging.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../a.wav", "/etc/a.wav", "a/../../b.wav", "C:\\a.wav", "a" * 1001, "a/" * 40 + "b"]
)
def test_names_that_no_honest_pack_has(tmp_path: Path, staging: Path, name: str) -> None:
    assert refusal(staging, packed(tmp_path / "p.zip", {name: b""}))[0] == "pack_unsafe"


def test_a_link_in_a_zip(tmp_path: Path, staging: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as file:
        info = zipfile.ZipInfo("a.wav")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    assert refusal(staging, tmp_path / "p.zip")[0] == "pack_unsafe"


def test_bombs(tmp_path: Path, staging: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = packed(tmp_path / "zeros.zip", {"a.wav": bytes(3 << 20)})
    assert refusal(staging, zeros)[0] == "pack_unsafe"
    large = packed(tmp_path / "large.zip", {"a.wav": os.urandom(1000)})
    monkeypatch.setattr(zips, "CLIP_BYTES", 999)
    assert refusal(staging, large)[0] == "pack_unsafe"
    monkeypatch.setattr(zips, "CLIP_BYTES", 2000)
    monkeypatch.setattr(zips, "UNPACKED_BYTES", 999)
    assert refusal(staging, large)[0] == "pack_unsafe"
    monkeypatch.setattr(zips, "UNPACKED_BYTES", 2000)
    monkeypatch.setattr(zips, "SPARE_BYTES", 1 << 60)
    assert refusal(staging, large)[0] == "pack_no_room"
    monkeypatch.setattr(zips, "MOST_FILES", 0)
    assert refusal(staging, large)[0] == "pack_unsafe"
    monkeypatch.setattr(zips, "DIRECTORY_BYTES", 10)
    assert refusal(staging, large)[0] == "pack_damaged"


def test_a_size_that_is_a_lie(tmp_path: Path, staging: Path) -> None:
    pack = packed(tmp_path / "p.zip", {"a.wav": os.urandom(5000)})
    data = bytearray(pack.read_bytes())
    at = data.rfind(b"PK\1\2") + 24
    data[at : at + 4] = struct.pack("<L", 100)
    pack.write_bytes(data)
    assert refusal(staging, pack)[0] == "pack_damaged"


def test_cut_off_and_changed_zips(tmp_path: Path, staging: Path) -> None:
    pack = packed(tmp_path / "p.zip", {"a.wav": os.urandom(5000), "b.wav": os.urandom(5000)})
    whole = pack.read_bytes()
    for length in range(4, len(whole) - 1, 997):
        pack.write_bytes(whole[:length])
        assert refusal(staging, pack)[0] == "pack_damaged"
    changed = bytearray(whole)
    changed[1000] ^= 1
    pack.write_bytes(changed)
    assert refusal(staging, pack)[0] == "pack_damaged"


def test_a_password(tmp_path: Path, staging: Path) -> None:
    pack = packed(tmp_path / "p.zip", {"a.wav": b"x" * 100})
    data = bytearray(pack.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.find(mark) + offset] |= 1
    pack.write_bytes(data)
    code, hint = refusal(staging, pack)
    assert (code, "7z x" in hint) == ("pack_locked", True)


def test_another_method(tmp_path: Path, staging: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w", zipfile.ZIP_LZMA) as file:
        file.writestr("a.wav", b"x" * 100)
    assert refusal(staging, tmp_path / "p.zip")[0] == "pack_format"


@pytest.mark.parametrize(
    ("name", "head", "command"),
    [
        (
            "花 p.7z",
            b"7z\xbc\xaf\x27\x1c\0\4",
            "7z x '花 p.7z' -o'花 p'; then koed voices import '花 p'",
        ),
        ("p.rar", b"Rar!\x1a\x07\x01\0", "unar"),
        ("p.tar", b"hana/", "tar xf"),
        ("p.tar.gz", b"\x1f\x8b\x08", "tar xf"),
        ("p.doc", b"what", "name a pack"),
    ],
)
def test_what_another_program_unpacks(
    tmp_path: Path, staging: Path, name: str, head: bytes, command: str
) -> None:
    (tmp_path / name).write_bytes(head)
    code, hint = refusal(staging, tmp_path / name)
    assert (code, command in hint) == ("pack_format", True)


def test_what_is_not_there(tmp_path: Path, staging: Path) -> None:
    assert refusal(staging, tmp_path / "no.zip")[0] == "pack_missing"
    (tmp_path / "a.pth").write_bytes(b"")
    assert refusal(staging, tmp_path / "a.pth", tmp_path)[0] == "pack_format"
    assert listed(staging, tmp_path / "a.pth") == ["a.pth"]
