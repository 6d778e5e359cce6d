"""What a request chooses among the styles of a voice."""

from __future__ import annotations

from pathlib import Path

import pytest

from koed.config.delivery import PLAIN, Delivery
from koed.errors import KoedError
from koed.voices.catalog import VoiceBook
from koed.voices.styles import StyleChoice, chosen
from tests.voices.test_voices import book, write

PROFILE = """engine: tone
lang: en
settings: {hz: 400}
styles:
  happy: {reference: {audio: happy.wav}, speed: 1.25, settings: {hz: 500}}
  quick: {speed: 1.5}
"""


@pytest.fixture
def voices(tmp_path: Path) -> VoiceBook:
    (tmp_path / "happy.wav").write_bytes(b"x")
    (tmp_path / "hana.yaml").write_text(PROFILE)
    write(tmp_path, 1000)
    return book(tmp_path)[0]


def test_styles_are_voices_that_are_listed_with_theirs(voices: VoiceBook) -> None:
    assert voices.names() == ["hana", "low"]
    assert voices.all_names() == [
        "hana", "hana/happy", "hana/happy/clip", "hana/quick", "low",
    ]  # fmt: skip
    assert [(v["name"], v["styles"]) for v in voices.describe()] == [
        ("hana", ["happy", "quick"]), ("low", []),
    ]  # fmt: skip
    voices.check("hana/happy")
    with pytest.raises(KoedError, match="no voice 'hana/happpy'"):
        voices.check("hana/happpy")


def test_what_is_wrong_with_a_style_is_told_of_its_voice(voices: VoiceBook, tmp_path: Path) -> None:
    voices.voice_failed("tone", voices._entries["hana/happy"].wanted[2], KoedError("x", "no words"))  # type: ignore[index]
    assert voices.describe()[0]["error"] == "hana/happy: no words"
    assert voices.describe()[1]["error"] is None


@pytest.mark.parametrize("voice", ["hana", "hana/quick"])
def test_a_style_and_a_clip_are_chosen_by_name(voices: VoiceBook, voice: str) -> None:
    assert chosen(voices, voice, None, None) == StyleChoice()
    assert chosen(voices, voice, "happy", None) == StyleChoice("happy")
    assert chosen(voices, voice, None, "happy") == StyleChoice("happy/clip", PLAIN)
    quick = Delivery(speed=1.5)
    assert chosen(voices, voice, "quick", "happy") == StyleChoice("happy/clip", quick)


@pytest.mark.parametrize(
    ("voice", "style", "reference", "code", "hint"),
    [
        ("hana", "sad", None, "unknown_style", "hana has: happy, quick"),
        ("hana", "hapy", None, "unknown_style", "did you mean 'happy'?"),
        ("hana", "happy/clip", None, "unknown_style", "did you mean 'happy'?"),
        ("hana", "", None, "unknown_style", "hana has: happy, quick"),
        ("low", "happy", None, "unknown_style", "low has none; styles: in its profile makes them"),
        ("none", "happy", None, "unknown_style", "none has none"),
        ("hana", None, "quick", "unknown_reference", "hana has: happy"),
        ("hana", "happy", "../../x.wav", "unknown_reference", "hana has: happy"),
        ("hana", "x" * 10**6, None, "unknown_style", "hana has: happy, quick"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(
    voices: VoiceBook, voice: str, style: str | None, reference: str | None, code: str, hint: str
) -> None:
    with pytest.raises(KoedError) as caught:
        chosen(voices, voice, style, reference)
    assert caught.value.code == code
    assert caught.value.hint.startswith(hint)
    assert len(caught.value.message) < 200
