"""A zip of a pack, of which only what is asked for is unpacked. Zips are what strangers send: sizes
are bounded, and no name of theirs becomes a path."""

from __future__ import annotations

import contextlib
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from koed.errors import EngineError
from koed.voices.packs import names
from koed.voices.packs.items import (
    CLIP_BYTES,
    DEEPEST,
    MOST_FILES,
    WEIGHTS_BYTES,
    Item,
    bounded,
    damaged,
    is_weights,
    readable,
    unsafe,
    wanted,
)

DIRECTORY_BYTES = 32 << 20
"""It is read whole."""
UNPACKED_BYTES = 24 << 30
RATIO = 200
"""Weights and sound hardly shrink, silence may."""
SPARE_BYTES = 1 << 30
"""Left free on the disk."""
_BLOCK = 1 << 20


class Zip:
    """A zip, of which only what is asked for is unpacked."""

    def __init__(self, path: Path, staging: Path, told: Callable[[str], None]) -> None:
        self.name = names.shown(path.stem)
        self.notes: list[str] = []
        self._shown, self._staging, self._told = names.shown(path.name), staging, told
        self._made: dict[int, Path] = {}
        self._unpacked = 0
        self._file = path.open("rb")
        try:
            self._zip = zipfile.ZipFile(_Sparing(self._file))
            self.items = self._listed()
        except (zipfile.BadZipFile, ValueError, EOFError, OverflowError) as error:
            self._file.close()
            raise damaged(self._shown, "it is cut off, or no zip") from error
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Zip:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._file.close()
        for path in self._made.values():
            path.unlink(missing_ok=True)

    def _listed(self) -> list[Item]:
        infos = self._zip.infolist()
        if len(infos) > MOST_FILES:
            raise unsafe(f"{self._shown} has more than {MOST_FILES} files")
        raw = [_raw_name(info) for info in infos]
        encoding = names.encoding_of([name for name, known in raw if not known])
        items = []
        for info, (name, known) in zip(infos, raw, strict=True):
            parts = name.decode("utf-8" if known else encoding, "replace").replace("\\", "/")
            path = self._checked(parts, info)
            if not info.is_dir() and not parts.endswith("/") and wanted(path):
                items.append(Item(path, info.file_size, info))
        return sorted(items, key=lambda item: item.path)

    def _checked(self, name: str, info: zipfile.ZipInfo) -> PurePosixPath:
        """The path for people. Raises for what no honest pack has."""
        path = PurePosixPath(*(names.shown(part) for part in name.split("/") if part))
        parts = name.split("/")
        if name.startswith("/") or ".." in parts or name[1:3] == ":/" or "\0" in name:
            raise unsafe(f"{self._shown} has a file that would leave its folder: {path}"[:200])
        if len(name) > 1000 or len(parts) > DEEPEST:
            raise unsafe(f"{self._shown} has a file with a name without end: {path}"[:200])
        if stat.S_ISLNK(info.external_attr >> 16):
            raise unsafe(f"{self._shown} has a link among its files: {path}"[:200])
        return path

    def read(self, item: Item, most: int) -> bytes:
        with self._open(item, most) as file:
            return bounded(item, file.read(most + 1), most)

    def file(self, item: Item) -> Path:
        info: zipfile.ZipInfo = item.place
        if info.header_offset not in self._made:
            most = WEIGHTS_BYTES if is_weights(item.path) else CLIP_BYTES
            self._make_room(item, most)
            target = self._staging / f"{info.header_offset}{_ending(item.path)}"
            self._made[info.header_offset] = target
            if info.file_size > 8 << 20:
                self._told(f"unpacking {item.path} ({info.file_size / 1e6:.0f} MB) ...")
            with readable(self._shown), self._open(item, most) as source, target.open("xb") as file:
                shutil.copyfileobj(source, file, _BLOCK)
        return self._made[info.header_offset]

    def _make_room(self, item: Item, most: int) -> None:
        bounded(item, b"", most, item.size)
        self._unpacked += item.size
        if self._unpacked > UNPACKED_BYTES:
            raise unsafe(f"{self._shown} would unpack to more than {UNPACKED_BYTES >> 30} GB")
        if shutil.disk_usage(self._staging).free < item.size + SPARE_BYTES:
            raise EngineError(
                "pack_no_room",
                f"no room for {item.path} ({item.size / 1e9:.1f} GB) in {self._staging.parent}",
                "make room there, or unpack it elsewhere and import the folder",
            )

    @contextlib.contextmanager
    def _open(self, item: Item, most: int) -> Iterator[IO[bytes]]:
        info: zipfile.ZipInfo = item.place
        bounded(item, b"", most, item.size)
        if info.flag_bits & 0x41:
            hint = "unpack it with its password (7z x PACK -oFOLDER), and import the folder"
            raise EngineError("pack_locked", f"{self._shown} needs a password", hint)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            hint = "unpack it (7z x PACK -oFOLDER), and import the folder"
            what = f"{self._shown} is packed in a way that koed does not read"
            raise EngineError("pack_format", what, hint)
        if item.size > max(_BLOCK, RATIO * info.compress_size):
            what = f"{item.path} would unpack from {info.compress_size} bytes to {item.size}"
            raise unsafe(what)
        try:
            with self._zip.open(info) as file:
                yield file
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
            raise damaged(self._shown, f"{item.path} cannot be unpacked: {error}") from error


class _Sparing:
    """A file that refuses to be read in one huge piece, as a lying directory would have it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size if 0 <= size <= DIRECTORY_BYTES else DIRECTORY_BYTES + 1)
        if len(data) > DIRECTORY_BYTES:
            raise zipfile.BadZipFile("its directory is larger than that of any pack")
        return data


def _raw_name(info: zipfile.ZipInfo) -> tuple[bytes, bool]:
    """The name's bytes, and whether they are known to be UTF-8: by its flag, or by the extra field
    0x7075 of Info-ZIP (APPNOTE 4.6.9: version, CRC of the other name, this name)."""
    if info.flag_bits & 0x800:
        return info.orig_filename.encode("utf-8", "surrogatepass"), True
    name = info.orig_filename.encode("cp437", "replace")
    extra, at = info.extra, 0
    while at + 4 <= len(extra):
        tag, size = (int.from_bytes(extra[at + i : at + i + 2], "little") for i in (0, 2))
        field = extra[at + 4 : at + 4 + size]
        if tag == 0x7075 and int.from_bytes(field[1:5], "little") == zlib.crc32(name):
            return field[5:], True
        at += 4 + size
    return name, False


def _ending(path: PurePosixPath) -> str:
    return path.suffix.lower() if path.suffix[1:].isalnum() and path.suffix.isascii() else ""
