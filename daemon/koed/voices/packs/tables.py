"""Tables of the natural voice become profiles: what files hold, and what is written of it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from koed.config.profile import check_name
from koed.engine.kokoro.shipped import SHIPPED
from koed.engine.kokoro.table_files import MAX_FILE_BYTES, read_tables
from koed.engine.kokoro.tables import Table, table
from koed.errors import EngineError, did_you_mean
from koed.text import language
from koed.voices import enroll
from koed.voices.packs import names
from koed.voices.packs.items import readable

ENGINE = "kokoro"
ALWAYS = (".bin", ".npy", ".npz")
"""Files that can be nothing else that koed imports."""
MAYBE = (".safetensors", ".pt", ".pth")
SMALL_BYTES = 2 << 20
"""A single file of these that is smaller is no model of anything: it is told why it is no table."""
_LANGUAGES = {
    "a": "en",
    "b": "en-gb",
    "e": "es",
    "f": "fr",
    "h": "hi",
    "i": "it",
    "j": "ja",
    "p": "pt",
    "z": "zh",
}
"""By the first letter of the author's names, such as ``af_heart``; the second is f or m."""


@dataclass(frozen=True, slots=True)
class PlannedTable:
    """A voice that can be made."""

    name: str
    title: str
    """As its file calls it."""
    lang: str
    guessed: bool
    """Nothing tells the language."""
    rows: Table
    same_as: str
    """The shipped voice that it is, or empty."""

    def rights(self, told: str) -> str:
        """What the user said, or what is known of the shipped voice that it is."""
        return told or (SHIPPED[self.same_as].rights if self.same_as else "")


def found(paths: Sequence[Path]) -> dict[str, Table]:
    """The voices in files, by name; none where they hold something else that koed may import.

    Raises `EngineError` ``bad_table``, ``checkpoint_unsafe`` or ``pack_unreadable``.
    """
    held: dict[str, Table] = {}
    for path in paths:
        ending = path.suffix.lower()
        if ending not in ALWAYS + MAYBE or not path.is_file():
            return {}
        if ending in MAYBE and path.stat().st_size > MAX_FILE_BYTES:
            return {}
        with readable(names.shown(path.name)), path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        try:
            read = read_tables(data, names.shown(path.name))
        except EngineError as error:
            alone = len(paths) == 1 and len(data) < SMALL_BYTES
            if error.code == "bad_table" and ending in MAYBE and not alone:
                return {}
            raise
        if twice := held.keys() & read.keys():
            what = f"{min(twice)[:40]!r} is in two of these files"
            raise EngineError("bad_table", what, "import them one by one, with --name")
        held |= read
    return held


def planned(
    held: dict[str, Table], name: str = "", only: str = "", lang: str = ""
) -> list[PlannedTable]:
    """``name``, ``only`` and ``lang`` as the user says them, or empty.

    Raises `KoedError` ``pack_unknown_voice``, ``pack_several``, ``unknown_language``.
    """
    language.check(lang or None)
    if only and only not in held:
        hint = did_you_mean(only, list(held)[:100])
        raise EngineError("pack_unknown_voice", f"there is no voice {only[:40]!r} in it", hint)
    wanted = {only: held[only]} if only else held
    if name and len(wanted) > 1:
        what = f"these are {len(wanted)} voices, and --name can name one"
        raise EngineError("pack_several", what, "say which with --only")
    return list(_each(wanted, name, lang))


def _each(wanted: dict[str, Table], name: str, lang: str) -> Iterator[PlannedTable]:
    taken: set[str] = set()
    for title, rows in wanted.items():
        mine = name or names.safe_id(title, taken)
        taken.add(mine)
        told = lang or _language(title)
        yield PlannedTable(
            mine, names.shown(title), told or "en", not told, rows, _shipped_as(rows)
        )


def _language(title: str) -> str:
    letters = re.match(r"([a-z])[fm]_", title)
    return _LANGUAGES.get(letters[1], "") if letters else ""


def _shipped_as(rows: Table) -> str:
    """Within what half precision costs."""
    return next((name for name in SHIPPED if np.allclose(table(name), rows, atol=2e-3)), "")


def carry_out(voice: PlannedTable, folder: Path, rights: str, force: bool) -> Path:
    """Write the table and its profile into ``folder``; the profile's path.

    Raises `ConfigError` ``profile_exists``, ``bad_profile_name``, ``profiles_unwritable``.
    """
    target = folder / f"{voice.name}.yaml"
    check_name(target)
    if not force:
        enroll.refuse_existing(target, target.with_suffix(".npy"))
    with enroll.staged_beside(folder) as stage:
        draft = stage / target.name
        draft.with_suffix(".npy").write_bytes(_npy(voice.rows))
        draft.write_text(_profile(voice, rights), encoding="utf-8")
        enroll.publish(draft, target, [f"{voice.name}.npy"], force)
    return target


def _npy(rows: Table) -> bytes:
    file = io.BytesIO()
    np.save(file, rows)
    return file.getvalue()


def _profile(voice: PlannedTable, rights: str) -> str:
    values = {
        "engine": ENGINE,
        "lang": voice.lang,
        "reference": {"table": f"{voice.name}.npy"},
        "description": voice.title,
        "rights": voice.rights(rights),
    }
    head = "# Written by koed voices import.\n"
    return head + yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=100)
