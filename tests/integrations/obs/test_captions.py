"""What is read when: events in, texts with their time out."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koe.protocol import (
    Event,
    Progress,
    StateChanged,
    UtteranceFinished,
    UtteranceSkipped,
    UtteranceStarted,
    VoiceChanged,
)
from koed.config.obs_looks import CaptionConfig, LookConfig
from koed.integrations.obs import wrap
from koed.integrations.obs.captions import MAX_KNOWN, MAX_MARKS, Caption, Captions, colour_of

AHEAD_S = 0.03
"""How far events come before the ear gets the sound."""


def started(
    utterance: int, text: str, t: float, voice: str = "hana", output: str = "main"
) -> Event:
    return UtteranceStarted(
        t=t - AHEAD_S, utterance=utterance, text=text, voice=voice, output=output, heard_t=t
    )


def word(utterance: int, text: str, start: int, t: float, output: str = "main") -> Event:
    return Progress(
        t=t - AHEAD_S, utterance=utterance, output=output, kind="word", text=text,
        start=start, end=start + len(text), heard_t=t,
    )  # fmt: skip


def finished(utterance: int, t: float, output: str = "main") -> Event:
    return UtteranceFinished(t=t - AHEAD_S, utterance=utterance, output=output)


def captions(looks: dict[str, LookConfig] | None = None, **config: object) -> Captions:
    return Captions("main", CaptionConfig(**config), looks or {})  # type: ignore[arg-type]


def hear(shown: Captions, *events: Event) -> None:
    for event in events:
        shown.hear(event)


def words(utterance: int, text: str, t: float, each_s: float = 0.1) -> list[Event]:
    """A line whose n-th word is heard at ``t + n * each_s``."""
    events, at = [started(utterance, text, t)], 0
    for number, part in enumerate(text.split()):
        at = text.index(part, at)
        events.append(word(utterance, part.strip(",."), at, t + number * each_s))
    return events


def test_each_word_is_shown_when_it_is_heard_and_not_before() -> None:
    shown = captions(linger_s=1.0)
    hear(shown, *words(1, "Hello, dear world.", 10.0), finished(1, 10.3))
    assert shown.at(9.99) == Caption()
    assert shown.due_t() == 10.0
    assert shown.at(10.0) == Caption("Hello,", "hana")
    assert shown.at(10.09).text == "Hello,"
    assert shown.at(10.1).text == "Hello, dear"
    assert shown.at(10.2).text == "Hello, dear world."
    assert shown.at(11.29).text == "Hello, dear world.", "it lingers"
    assert shown.due_t() == pytest.approx(11.3)
    assert shown.at(11.31) == Caption()
    assert shown.due_t() is None


def test_the_first_word_is_not_lost_if_it_seems_to_come_before_its_line() -> None:
    shown = captions()
    hear(shown, started(1, "one two", 10.0), word(1, "one", 0, 9.999))
    assert shown.at(10.0).text == "one"


def test_a_stopped_line_goes_at_once_with_what_was_still_to_come() -> None:
    shown = captions()
    hear(shown, *words(1, "one two three", 10.0))
    assert shown.at(10.05).text == "one"
    hear(shown, UtteranceSkipped(t=10.06, utterance=1, output="main", reason="stop"))
    assert shown.due_t() == 10.06
    assert shown.at(10.06) == Caption()
    assert shown.at(10.5) == Caption(), "its later words are not shown any more"


def test_a_line_that_is_stopped_before_the_ear_gets_it_never_shows() -> None:
    shown = captions()
    hear(shown, *words(1, "one two", 10.0))
    hear(shown, UtteranceSkipped(t=9.98, utterance=1, output="main", reason="stop"))
    assert shown.at(10.5) == Caption()


@pytest.mark.parametrize("state", ["muted", "panic"])
@pytest.mark.parametrize("output", ["main", None])
def test_mute_clears(output: str | None, state: str) -> None:
    shown = captions()
    hear(shown, *words(1, "one two", 10.0))
    assert shown.at(10.0).text == "one"
    hear(shown, finished(1, 10.01), StateChanged(t=10.02, state=state, output=output))
    assert shown.at(10.5) == Caption()


def test_two_outputs_do_not_mix() -> None:
    main, second = captions(), Captions("second", CaptionConfig(), {})
    for shown in (main, second):
        hear(
            shown,
            started(1, "one", 10.0),
            started(2, "zwei", 10.0, "ken", output="second"),
            word(1, "one", 0, 10.0),
            word(2, "zwei", 0, 10.0, output="second"),
            UtteranceSkipped(t=10.5, utterance=1, output="main", reason="skip"),
        )
    assert (main.at(10.1).text, second.at(10.1)) == ("one", Caption("zwei", "ken"))
    assert (main.at(10.6).text, second.at(10.6).text) == ("", "zwei")


def test_the_next_line_takes_the_place_of_one_that_lingers() -> None:
    shown = captions(linger_s=5.0)
    hear(shown, *words(1, "first", 10.0), finished(1, 10.5), *words(2, "second line", 11.0))
    assert shown.at(10.99).text == "first"
    assert shown.at(11.0).text == "second"
    hear(shown, UtteranceSkipped(t=11.05, utterance=2, output="main", reason="skip"))
    assert shown.at(11.05) == Caption(), "the one before does not come back"


def test_an_urgent_line_over_another_gives_the_place_back() -> None:
    shown = captions(linger_s=0.0)
    hear(shown, started(1, "a long story", 10.0), word(1, "a", 0, 10.0))
    hear(shown, started(2, "Fire!", 10.5, "ken"), word(2, "Fire", 0, 10.5), finished(2, 11.0))
    hear(shown, word(1, "long", 2, 10.8))
    assert shown.at(10.6) == Caption("Fire!", "ken")
    assert shown.at(11.1) == Caption("a long", "hana")


def test_a_segment_where_the_engine_tells_no_words_and_a_whole_line_on_request() -> None:
    text = "First part, second part."
    for show, first in (("words", "First part,"), ("line", text)):
        shown = captions(show=show)
        hear(shown, started(1, text, 10.0))
        for at, start, end in ((10.0, 0, 11), (11.0, 12, 24)):
            part = Progress(
                t=at, utterance=1, output="main", kind="segment", text=text[start:end],
                start=start, end=end, heard_t=at,
            )  # fmt: skip
            hear(shown, part)
        assert shown.at(10.5).text == first
        assert shown.at(11.0).text == text


def test_an_open_line_grows_and_stays_bounded() -> None:
    shown = captions(lines=1, width=20)
    hear(shown, started(1, "", 0.0))
    at, t = 0, 0.0
    for number in range(MAX_KNOWN // 3):
        t += 0.1
        hear(shown, word(1, f"{number:04d}", at, t))
        at += 5
        assert shown.at(t).text.endswith(f"{number:04d}")
    assert len(shown.at(t).text) <= 20
    line = shown._lines[1]
    assert len(line.text) <= MAX_KNOWN


def test_what_is_due_is_bounded() -> None:
    shown = captions()
    hear(shown, started(1, "x", 10.0), *(word(1, "x", 0, 1e6) for _ in range(5 * MAX_MARKS)))
    assert len(shown._marks) <= MAX_MARKS


def test_delay_moves_everything() -> None:
    shown = captions(delay_ms=200.0)
    hear(shown, *words(1, "one", 10.0))
    assert shown.due_t() == 10.2
    assert shown.at(10.19) == Caption()
    assert shown.at(10.21).text == "one"
    hear(shown, UtteranceSkipped(t=10.5, utterance=1, output="main", reason="stop"))
    assert shown.at(10.69).text == "one", "the viewer still hears it"
    assert shown.at(10.71).text == ""


def test_speaker_colour_and_a_voice_that_changes_in_mid_line() -> None:
    looks = {"hana": LookConfig(name="Hana ♪", colour="#ff88aa"), "ken": LookConfig()}
    config = CaptionConfig(speaker=True)
    shown = Captions("main", config, looks)
    hear(shown, *words(1, "hi there", 10.0))
    seen = shown.at(10.0)
    assert seen.text == "Hana ♪: hi"
    assert colour_of(seen, config, looks) == "#ff88aa"
    hear(shown, VoiceChanged(t=10.02, voice="ken", previous="hana", when="now", output=None))
    seen = shown.at(10.1)
    assert seen.voice == "ken"
    assert seen.text == "ken: hi there", "whoever speaks now is named"
    assert colour_of(seen, config, looks) == "#ffffff", "white, since another one has a colour"
    assert colour_of(seen, config, {}) is None


def test_two_lines_are_kept_and_nothing_moves() -> None:
    text = "one two three four five six seven eight"
    shown = captions(width=10, lines=2)
    hear(shown, *words(1, text, 10.0))
    seen = [shown.at(10.0 + n / 10 + 0.01).text for n in range(8)]
    assert seen[0] == "one"
    assert seen[2] == "one two\nthree"
    assert seen[4] == "three four\nfive six"[: len("three four\nfive")]
    assert seen[-1] == "seven\neight" or seen[-1].endswith("eight")
    assert all(len(line) <= 10 for text in seen for line in text.split("\n"))


# --- wrapping --------------------------------------------------------------------------------


def lines(text: str, width: int) -> list[str]:
    return [text[start:end] for start, end in wrap.spans(text, width)]


def test_wrapping_counts_cells_and_keeps_to_the_rules_of_print() -> None:
    assert lines("Good evening everyone", 12) == ["Good evening", "everyone"]
    assert lines("こんばんは皆さん", 10) == ["こんばんは", "皆さん"]
    assert lines("こんばんは。皆さん", 10) == ["こんばん", "は。皆さん"], "no line begins with 。"
    assert lines("彼は「はい」と", 6) == ["彼は", "「は", "い」と"], "none ends with 「"
    assert lines("Donaudampfschiff", 6) == ["Donaud", "ampfsc", "hiff"]
    assert lines("ab e\u0301e\u0301e\u0301", 4) == ["ab", "e\u0301e\u0301e\u0301"]
    family = "👩\u200d👩\u200d👧"
    assert lines(family * 3, 4) == [family * 2, family]
    assert lines("   ", 4) == []


def test_a_name_with_evil_marks_shows_harmless() -> None:
    assert wrap.clean("a\u202eb\x07c\ud800\u2066d\te") == "abcd e"


texts = st.text(st.sampled_from("ab ,.声。「」ー👩\u200d\u0301"), max_size=60)


@given(texts, st.integers(4, 20), st.integers(0, 60))
def test_wrapping_loses_nothing_and_fits(text: str, width: int, upto: int) -> None:
    spans = wrap.spans(text, width)
    told = "".join(text[a:b] for a, b in spans)
    assert "".join(told.split()) == "".join(text.split())
    for start, end in spans:
        assert sum(map(wrap.cells, wrap._clusters(text[start:end]))) <= width
        assert not unicodedata.category(text[start]).startswith("Z")
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    shown = wrap.revealed(text, spans, upto, 100)
    whole = wrap.revealed(text, spans, len(text), 100)
    assert all(w.startswith(s) for s, w in zip(shown, whole, strict=False)), "it only grows"
