"""Prepared voices on disk: what is kept, what is not believed, what is thrown away."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path

import msgpack
import pytest

from koed.engine.base import Voice
from koed.engine.worker.voice_cache import VoiceCache


def a_voice(key: str = "abc", **state: object) -> Voice:
    return Voice("hana", key, "ja", -20.5, {"hz": 440.0, "prompt": b"\x00\xff", **state})


def test_what_is_put_is_got_back_by_another_cache(tmp_path: Path) -> None:
    assert VoiceCache(tmp_path / "new" / "voices", "tone", "1").put(a_voice())
    assert VoiceCache(tmp_path / "new" / "voices", "tone", "1").get("abc") == a_voice()


def test_files_are_private_and_no_temporary_file_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "voices"
    VoiceCache(folder, "tone", "1").put(a_voice())
    assert [path.name for path in folder.iterdir()] == ["abc.msgpack"]
    assert stat.S_IMODE((folder / "abc.msgpack").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "damage", ["empty", "half", "garbage", "other_key", "no_state", "schema", "silent", "nan"]
)
def test_a_damaged_file_is_as_good_as_none_and_is_replaced(tmp_path: Path, damage: str) -> None:
    cache = VoiceCache(tmp_path, "tone", "1")
    cache.put(a_voice())
    path = tmp_path / "abc.msgpack"
    data = path.read_bytes()
    head, body = msgpack.unpackb(data)[:-1], msgpack.unpackb(data)[-1]
    path.write_bytes(
        {
            "empty": b"",
            "half": data[: len(data) // 2],
            "garbage": os.urandom(200),
            "other_key": msgpack.packb([*head, body | {"key": "xyz"}]),
            "no_state": msgpack.packb([*head, body | {"state": 3}]),
            "silent": msgpack.packb([*head, body | {"loudness_lufs": -math.inf}]),
            "nan": msgpack.packb([*head, body | {"loudness_lufs": math.nan}]),
            "schema": msgpack.packb([99, *head[1:], body]),
        }[damage]
    )
    assert cache.get("abc") is None
    assert cache.put(a_voice())
    assert cache.get("abc") == a_voice()


def test_another_engine_or_version_does_not_believe_it(tmp_path: Path) -> None:
    VoiceCache(tmp_path, "tone", "1").put(a_voice())
    assert VoiceCache(tmp_path, "tone", "2").get("abc") is None
    assert VoiceCache(tmp_path, "embedded", "1").get("abc") is None


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    cache = VoiceCache(tmp_path, "tone", "1", keep=2)
    for age, key in ((30, "old"), (20, "older_but_used")):
        cache.put(a_voice(key))
        os.utime(tmp_path / f"{key}.msgpack", (1000 - age, 1000 - age))
    assert cache.get("older_but_used") is not None
    os.utime(tmp_path / "old.msgpack", (1000, 1000))
    cache.put(a_voice("new"))
    assert {path.stem for path in tmp_path.iterdir()} == {"older_but_used", "new"}


def test_a_key_from_the_network_names_no_file_elsewhere(tmp_path: Path) -> None:
    cache = VoiceCache(tmp_path / "voices", "tone", "1")
    assert not cache.put(a_voice("../evil"))
    assert cache.get("../../etc/passwd") is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = VoiceCache(tmp_path / "file" / "voices", "tone", "1")
    assert not cache.put(a_voice())
    assert cache.get("abc") is None


def test_a_state_that_is_no_plain_value_is_not_kept(tmp_path: Path) -> None:
    cache = VoiceCache(tmp_path, "tone", "1")
    assert not cache.put(a_voice(prompt=object()))
    assert list(tmp_path.iterdir()) == []
