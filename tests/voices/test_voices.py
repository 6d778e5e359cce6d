"""Voices by name: compiled in the background, kept while a line may need them, then forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from koe.protocol import Event, VoiceBroken, VoiceReady
from koed.config.profile import Profile
from koed.config.profile_folder import ProfileFolder
from koed.engine.base import ProfileSpec
from koed.errors import KoedError
from koed.events import Bus
from koed.voices.catalog import FORGET_AFTER, RETRY_AFTER, VoiceBook


class Notes:
    """An engine host that only writes down what it is asked for."""

    def __init__(self) -> None:
        self.prepared: list[str] = []
        self.forgotten: list[str] = []

    def prepare(self, spec: ProfileSpec) -> str:
        self.prepared.append(spec.key("tone"))
        return self.prepared[-1]

    def forget(self, key: str) -> None:
        self.forgotten.append(key)

    def host_of(self, profile: Profile) -> tuple[str, Notes]:
        return "tone", self


def write(folder: Path, hz: int, name: str = "low") -> None:
    (folder / f"{name}.yaml").write_text(f"engine: tone\nlang: en\nsettings: {{hz: {hz}}}\n")


def book(folder: Path) -> tuple[VoiceBook, Notes, list[Event]]:
    notes, bus, events = Notes(), Bus(), list[Event]()
    bus.listen(events.append)
    made = VoiceBook(ProfileFolder(folder), notes.host_of, bus)
    made.refresh()
    return made, notes, events


def test_the_old_voice_speaks_until_the_new_one_is_ready(tmp_path: Path) -> None:
    write(tmp_path, 400)
    voices, notes, _ = book(tmp_path)
    voices.voice_ready("tone", notes.prepared[0], -20.0, False, 0.1)
    write(tmp_path, 1000)
    voices.refresh(at_once=True)
    assert voices.pending() == {"tone"}
    ready = voices.ready("low")
    assert ready is not None
    assert ready.key == notes.prepared[0]
    voices.voice_ready("tone", notes.prepared[1], -20.0, False, 0.1)
    ready = voices.ready("low")
    assert ready is not None
    assert ready.key == notes.prepared[1]


def test_a_replaced_voice_is_forgotten_after_a_while_and_only_once(tmp_path: Path) -> None:
    write(tmp_path, 400)
    voices, notes, _ = book(tmp_path)
    voices.voice_ready("tone", notes.prepared[0], -20.0, False, 0.1)
    write(tmp_path, 1000)
    voices.refresh(at_once=True)
    voices.voice_ready("tone", notes.prepared[1], -20.0, False, 0.1)
    for _ in range(FORGET_AFTER):
        voices.refresh()
    assert notes.forgotten == []
    for _ in range(FORGET_AFTER):
        voices.refresh()
    assert notes.forgotten == notes.prepared[:1]


def test_one_key_of_two_profiles_makes_both_ready(tmp_path: Path) -> None:
    write(tmp_path, 400, "one")
    write(tmp_path, 400, "two")
    voices, notes, events = book(tmp_path)
    assert notes.prepared[0] == notes.prepared[1]
    voices.voice_ready("tone", notes.prepared[0], -20.0, True, 0.0)
    assert {e.voice for e in events if isinstance(e, VoiceReady)} == {"one", "two"}
    assert voices.pending() == set()


def test_what_cannot_be_compiled_is_told_and_can_be_mended(tmp_path: Path) -> None:
    write(tmp_path, 400)
    voices, notes, events = book(tmp_path)
    voices.voice_failed("tone", notes.prepared[0], KoedError("bad_setting", "hz is odd"))
    (broken,) = (e for e in events if isinstance(e, VoiceBroken))
    assert (broken.voice, broken.code, broken.kept_old) == ("low", "bad_setting", False)
    write(tmp_path, 1500)  # another size: the times of files may tick in hundredths
    voices.refresh(at_once=True)
    voices.voice_ready("tone", notes.prepared[1], -20.0, False, 0.1)
    voices.check("low")
    assert voices.error("low") is None


def test_one_voice_alone_is_compiled_with_its_fallbacks(tmp_path: Path) -> None:
    for hz, name, more in ((400, "a", "fallback: b\n"), (500, "b", ""), (600, "c", "")):
        write(tmp_path, hz, name)
        with (tmp_path / f"{name}.yaml").open("a") as file:
            file.write(more)
    notes = Notes()
    voices = VoiceBook(ProfileFolder(tmp_path), notes.host_of, Bus())
    voices.refresh(only="a")
    assert len(notes.prepared) == 2
    assert voices.names() == ["a", "b", "c"]
    assert voices.profile("c") is None
    with pytest.raises(KoedError, match="no voice 'd'"):
        voices.check("d")


def test_a_voice_that_cannot_be_compiled_still_names_its_fallback(tmp_path: Path) -> None:
    """Or whoever speaks lines for it is not known just when he is needed."""
    write(tmp_path, 400)
    write(tmp_path, 500, "other")
    with (tmp_path / "low.yaml").open("a") as file:
        file.write("fallback: other\n")
    voices, notes, _ = book(tmp_path)
    voices.voice_failed("tone", notes.prepared[0], KoedError("bad_setting", "hz is odd"))
    profile = voices.profile("low")
    assert profile is not None
    assert profile.fallback == "other"


def test_what_lacked_a_file_is_tried_again_and_told_once(tmp_path: Path) -> None:
    write(tmp_path, 400)
    voices, notes, events = book(tmp_path)
    for _ in range(3):
        voices.voice_failed("tone", notes.prepared[-1], KoedError("model_missing", "no HuBERT"))
        assert voices.pending() == set()
        for _ in range(RETRY_AFTER):
            voices.refresh()
        assert voices.pending() == {"tone"}
    assert [type(event) for event in events] == [VoiceBroken]
    voices.voice_ready("tone", notes.prepared[-1], -20.0, False, 0.1)
    assert voices.error("low") is None
    assert voices.ready("low") is not None
    made = len(notes.prepared)
    for _ in range(2 * RETRY_AFTER):
        voices.refresh()
    assert len(notes.prepared) == made


def test_what_is_wrong_in_itself_is_not_tried_again(tmp_path: Path) -> None:
    write(tmp_path, 400)
    voices, notes, _ = book(tmp_path)
    voices.voice_failed("tone", notes.prepared[0], KoedError("bad_setting", "hz is odd"))
    for _ in range(2 * RETRY_AFTER):
        voices.refresh()
    assert len(notes.prepared) == 1


def write_falling_back(folder: Path, name: str, fallback: str) -> None:
    settings = f"engine: tone\nlang: en\nsettings: {{hz: {400 + len(name)}}}\n"
    (folder / f"{name}.yaml").write_text(f"{settings}fallback: {fallback}\n")


def test_who_can_be_spoken_for_is_not_awaited(tmp_path: Path) -> None:
    write(tmp_path, 400)
    write_falling_back(tmp_path, "high", "middle")
    write_falling_back(tmp_path, "middle", "low")
    voices, notes, _ = book(tmp_path)
    high, low, middle = notes.prepared
    up = {"tone"}
    assert voices.awaited(up) == {"tone"}
    voices.voice_ready("tone", low, -20.0, False, 0.1)
    assert voices.awaited(up) == set()
    assert voices.pending() == {"tone"}
    assert voices.is_coming("high")
    voices.voice_ready("tone", high, -20.0, False, 0.1)
    voices.voice_failed("tone", middle, KoedError("bad_setting", "hz is odd"))
    assert not voices.is_coming("high")
    assert not voices.is_coming("middle")
    assert voices.awaited(up) == set()
    assert voices.awaited(()) == {"tone"}  # all of them compiled, by a worker that is not up yet


def test_edits_that_meet_in_a_circle_are_no_endless_one(tmp_path: Path) -> None:
    write_falling_back(tmp_path, "low", "high")
    write(tmp_path, 900, "high")
    voices, notes, _ = book(tmp_path)
    voices.voice_ready("tone", notes.prepared[1], -20.0, False, 0.1)
    write(tmp_path, 1000, "low")
    write_falling_back(tmp_path, "high", "low")
    voices.refresh(at_once=True)
    assert voices.awaited({"tone"}) == set()


def test_the_first_voice_is_compiled_before_the_others(tmp_path: Path) -> None:
    for hz, name in enumerate(("alto", "bass", "low"), 400):
        write(tmp_path, hz, name)
    notes = Notes()
    made = VoiceBook(ProfileFolder(tmp_path), notes.host_of, Bus())
    made.refresh(first="bass")
    order = list(notes.prepared)
    for name in ("bass", "alto", "low"):
        made.voice_ready("tone", order.pop(0), -20.0, False, 0.1)
        assert made.ready(name) is not None
