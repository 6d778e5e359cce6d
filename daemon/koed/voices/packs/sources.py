"""Where a pack lies: a zip, a folder or some files, all with one face."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from koed.errors import EngineError
from koed.voices.packs import names
from koed.voices.packs.items import (
    DEEPEST,
    LEFT_OUT,
    MOST_FILES,
    Item,
    PackSource,
    bounded,
    is_weights,
    readable,
    unsafe,
    written,
)
from koed.voices.packs.zips import Zip

_PACKERS = (
    (b"7z\xbc\xaf\x27\x1c", ".7z", "sudo apt install p7zip-full; 7z x PACK -oFOLDER"),
    (b"Rar!\x1a\x07", ".rar", "sudo apt install unar; unar -d -o FOLDER PACK"),
    (b"\x1f\x8b", ".tar.gz", "mkdir FOLDER; tar xf PACK -C FOLDER"),
    (b"\xfd7zXZ", ".tar.xz", "mkdir FOLDER; tar xf PACK -C FOLDER"),
    (b"BZh", ".tar.bz2", "mkdir FOLDER; tar xf PACK -C FOLDER"),
    (b"\x28\xb5\x2f\xfd", ".tar.zst", "mkdir FOLDER; tar xf PACK -C FOLDER"),
    (b"ustar", ".tar", "mkdir FOLDER; tar xf PACK -C FOLDER"),
)


@contextlib.contextmanager
def opened(
    paths: Sequence[Path], staging: Path, told: Callable[[str], None] = lambda _: None
) -> Iterator[PackSource]:
    """The pack at ``paths``: one zip, one folder, or some files.

    ``staging``: a folder that exists, for what must be unpacked; it is left as it was. ``told``
    hears what takes long. Raises `EngineError` ``pack_missing``, ``pack_format``, ``pack_damaged``,
    ``pack_locked``, ``pack_unsafe``, ``pack_unreadable``.
    """
    for path in paths:
        if not path.exists():
            raise EngineError("pack_missing", f"{path} does not exist", "name a zip or a folder")
    with contextlib.ExitStack() as stack:
        with readable(names.shown(paths[0].name)):
            source = _source(paths, staging, told)
        if isinstance(source, Zip):
            stack.enter_context(source)
        yield source


def _source(paths: Sequence[Path], staging: Path, told: Callable[[str], None]) -> PackSource:
    if len(paths) == 1 and paths[0].is_dir():
        return Folder(paths[0])
    if len(paths) > 1 or is_weights(PurePosixPath(paths[0].name)):
        return Files(paths)
    _check_kind(paths[0])
    return Zip(paths[0], staging, told)


class Folder:
    """``root`` and below, links that leave it left out."""

    def __init__(self, root: Path) -> None:
        self.name = names.shown(root.resolve().name)
        self.notes: list[str] = []
        self.items: list[Item] = []
        self._root = root.resolve()
        self._walk()

    def _walk(self) -> None:
        for folder, folders, files in os.walk(self._root):
            here = Path(folder).relative_to(self._root)
            folders[:] = sorted(f for f in folders if f not in LEFT_OUT and f[:1] != ".")
            if len(here.parts) >= DEEPEST:
                folders.clear()
            for name in sorted(files):
                if name[:1] != "." and (item := self._item(here / name)):
                    self.items.append(item)
            if len(self.items) > MOST_FILES:
                raise unsafe(f"{self.name} has more than {MOST_FILES} files")

    def _item(self, path: Path) -> Item | None:
        full = self._root / path
        with contextlib.suppress(OSError, RuntimeError):  # links to nowhere, or in a circle
            status = full.stat()
            if stat.S_ISREG(status.st_mode) and full.resolve().is_relative_to(self._root):
                return Item(
                    written([os.fsencode(part) for part in path.parts]), status.st_size, full
                )
        self.notes.append(f"{names.shown(str(path))}: a link that leaves the folder, or no file")
        return None

    def read(self, item: Item, most: int) -> bytes:
        with readable(str(item.path)), self.file(item).open("rb") as file:
            return bounded(item, file.read(most + 1), most)

    def file(self, item: Item) -> Path:
        return Path(item.place)


class Files(Folder):
    """Some files that belong together."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.name, self.notes, self.items = names.shown(paths[0].stem), [], []
        for path in paths:
            if not path.is_file():
                what = f"{path} is no plain file"
                raise EngineError("pack_format", what, "name one folder, one zip, or files")
            shown = written([os.fsencode(path.name)])
            self.items.append(Item(shown, path.stat().st_size, path.resolve()))


def _check_kind(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"PK"):
        return
    for magic, ending, command in _PACKERS:
        if head.startswith(magic) or path.name.lower().endswith(ending):
            pack, folder = (shlex.quote(names.shown(part)) for part in (path.name, path.stem))
            typed = command.replace("PACK", pack).replace("FOLDER", folder)
            raise EngineError(
                "pack_format",
                f"koed does not unpack {ending} files itself",
                f"{typed}; then koed voices import {folder}",
            )
    raise EngineError(
        "pack_format",
        f"{names.shown(path.name)} is neither a zip nor a folder nor weights",
        "name a pack, or the .ckpt and the .pth of a voice",
    )
