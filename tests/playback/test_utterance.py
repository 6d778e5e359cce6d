"""A line's text, segments and parts as values: what is left to say, and taking back."""

from __future__ import annotations

import pytest

from koed.audio.arrangement import Joint
from koed.config.daemon import TextConfig
from koed.engine.base import Word
from koed.playback.queue import Line
from koed.playback.script import Planned, Script
from koed.playback.utterance import CHARS_PER_S, Part, Utterance, rest_of
from koed.playback.voice_choice import VoiceState
from koed.text.segment import Segment
from tests.playback.rig_player import FIRST, SECOND, THIRD, THREE, words_of

TEXT = "One two three, four."
VOICE = VoiceState("low", engine="a", key="k", gain_db=2.0)


def segment(text: str = TEXT, start: int = 100) -> Segment:
    return Segment(text, "en", start, start + len(text), 0.28, 3)


def part(received_s: float = 1.0, words: bool = True, start_s: float = 0.0) -> Part:
    """A letter lasts 0.1 s."""
    made = Part(7, Planned(segment(), start_s=start_s), VOICE, received_s=received_s)
    if words:
        made.words = list(words_of(TEXT, start_s, start_s + received_s))
    return made


# --- what is left to say ----------------------------------------------------------------------


def test_a_rest_has_no_white_space_before_it() -> None:
    rest = rest_of(segment(), 3)
    assert rest is not None
    assert (rest.text, rest.start, rest.end, rest.index) == ("two three, four.", 104, 120, 3)
    assert rest_of(segment(), 0) == segment()
    assert rest_of(segment(), 99) is None


@pytest.mark.parametrize(
    ("at_s", "text", "from_s"),
    [
        (0.0, TEXT, 0.0), (0.01, "two three, four.", 0.4), (0.4, "two three, four.", 0.4),
        (0.41, "three, four.", 0.8), (0.81, "three, four.", 0.81),
    ],
)  # fmt: skip
def test_the_rest_begins_with_the_next_word(at_s: float, text: str, from_s: float) -> None:
    found = part().unheard(at_s)
    assert found is not None
    assert found[0].text == text
    assert found[1] == pytest.approx(from_s)


def test_the_last_word_received_is_not_said_again_if_it_came_whole() -> None:
    found = part().unheard(0.81, whole=True)
    assert found is not None
    assert found[0].text == ", four."


def test_nothing_is_left_when_the_last_word_of_all_has_begun() -> None:
    made = part(2.0)
    made.complete = True
    assert made.unheard(1.51) is None
    assert made.unheard(1.49) is not None


def test_the_time_of_a_restyled_part_is_its_own() -> None:
    made = part(1.0, start_s=0.5)
    assert [made.track_s(word) for word in made.words] == [pytest.approx(0.3)]
    found = made.unheard(0.2)
    assert found is not None
    assert found[0].text == "three, four."
    assert found[1] == pytest.approx(0.3)


def test_without_word_times_the_place_is_estimated() -> None:
    made = part(words=False)
    assert made.unheard(0.0) == (segment(), 0.0)
    found = made.unheard(5 / CHARS_PER_S)
    assert found is not None
    assert (found[0].text, found[1]) == ("three, four.", 5 / CHARS_PER_S)
    made.complete = True  # now it is known how long all of it lasts
    found = made.unheard(0.6)
    assert found is not None
    assert found[0].text == "four."
    assert made.unheard(0.9) is None


def test_the_last_word_may_be_torn() -> None:
    assert part().last_word_s == pytest.approx(0.8)
    assert part(words=False).last_word_s == 1.0
    assert part(1.0, start_s=0.5).last_word_s == pytest.approx(0.3)


def test_marks_alone_are_nothing_that_is_left_to_say() -> None:
    made = Part(7, Planned(segment("One two.")), VOICE, received_s=0.7)
    made.words = [Word(0, 3, 0.0), Word(4, 7, 0.4)]
    rest = made.unheard(0.7, whole=True)
    assert rest is None or not rest[0].text


def test_a_text_without_spaces_and_word_times_is_not_lost() -> None:
    text = "今日はとても良い天気ですね散歩に行きましょう"
    made = Part(7, Planned(segment(text)), VOICE, received_s=0.3)
    assert made.unheard(0.3) is not None


def test_the_states_of_a_part() -> None:
    made = part()
    assert made.generating
    made.replaced = True
    assert not made.generating
    made = part()
    made.complete = True
    assert not made.generating
    made.joint, made.until_s = Joint(4, 0.5), 0.7
    entry = made.entry() if callable(made.entry) else made.entry
    assert (entry.serial, entry.gain_db, entry.joint, entry.until_s) == (7, 2.0, Joint(4, 0.5), 0.7)


def test_what_is_said_again_of_a_part() -> None:
    assert part().again(110) == Planned(segment())
    restyled = Part(7, Planned(segment(), 4, Joint(4, 0.5), 0.5), VOICE)
    assert restyled.planned.restyle_of == 4
    rest = rest_of(segment(), 7)
    assert rest is not None
    assert restyled.again(107) == Planned(rest)
    assert restyled.again(0) == Planned(segment())
    assert restyled.again(120) is None


# --- the script -------------------------------------------------------------------------------


def script(text: str, is_open: bool = False) -> Script:
    return Script(Line(1, text, "low", "main"), TextConfig(), "en", is_open)


def all_of(script: Script) -> list[str]:
    found = []
    while (planned := script.take()) is not None:
        found.append(planned.segment.text)
    return found


def test_a_script_gives_the_segments_in_order_and_knows_its_end() -> None:
    whole = script(THREE)
    assert whole.upcoming is not None
    assert whole.upcoming.segment.text == FIRST
    assert not whole.exhausted
    assert all_of(whole) == [FIRST, SECOND, THIRD]
    assert whole.exhausted
    assert whole.upcoming is None
    assert script("...").exhausted


def test_what_is_given_back_comes_first() -> None:
    whole = script(THREE)
    first = whole.take()
    assert first is not None
    whole.give_back(first)
    assert whole.upcoming is first
    assert all_of(whole) == [FIRST, SECOND, THIRD]
    whole.give_back(first)
    assert not whole.exhausted


def test_an_open_script_is_not_at_its_end() -> None:
    text = script("", is_open=True)
    assert not text.exhausted
    for letter in THREE:
        text.append(letter)
    assert not text.exhausted
    text.close()
    assert text.received == THREE
    assert all_of(text) == [FIRST, SECOND, THIRD]
    assert text.exhausted
    text.close()
    assert text.exhausted


# --- taking back ------------------------------------------------------------------------------


def utterance(*plans: Planned) -> Utterance:
    made = Utterance(Line(1, THREE, "low", "main"))
    made.script = script(THREE)
    all_of(made.script)
    made.parts = [Part(serial, planned, VOICE) for serial, planned in enumerate(plans, 1)]
    return made


def planned(text: str, continues: int = 0, joint: Joint | None = None) -> Planned:
    start = THREE.index(text)
    return Planned(segment(text, start), continues, joint)


def test_taken_back_parts_become_text_in_their_order() -> None:
    line = utterance(planned(FIRST), planned(SECOND), planned(THIRD))
    gone = line.take_back(line.parts[0])
    assert [part.serial for part in gone] == [2, 3]
    assert [part.serial for part in line.parts] == [1]
    assert line.script is not None
    assert all_of(line.script) == [SECOND, THIRD]


def test_what_goes_on_from_a_part_that_is_taken_back_is_not_said_twice() -> None:
    line = utterance(planned(FIRST), planned(SECOND), planned("seven eight nine.", 2))
    line.take_back(None)
    assert line.script is not None
    assert all_of(line.script) == [FIRST, SECOND]


def test_what_goes_on_from_the_last_kept_part_is_the_callers_or_is_said() -> None:
    for rest_follows, expected in ((True, [THIRD]), (False, ["seven eight nine.", THIRD])):
        line = utterance(planned(SECOND), planned("seven eight nine.", 1), planned(THIRD))
        line.take_back(line.parts[0], rest_follows=rest_follows)
        assert line.script is not None
        assert all_of(line.script) == expected


def test_of_a_restyled_part_what_was_heard_is_not_said_again() -> None:
    line = utterance(planned(FIRST, 99, Joint(99, 0.5)))
    line.heard_to = 8
    line.take_back(None)
    assert line.script is not None
    assert all_of(line.script) == ["three."]


def test_a_rewound_line_is_as_if_it_had_never_been_prepared() -> None:
    line = utterance(planned(FIRST))
    line.waiting_since = 3.0
    assert len(line.rewind()) == 1
    assert not any((line.script, line.waiting_since, line.take))
    assert line.parts == []
    assert not line.exhausted
    line = utterance(planned(FIRST))
    line.in_pieces = True
    line.rewind()
    assert line.script is not None
    assert all_of(line.script) == [FIRST]


def test_what_is_left_to_be_heard() -> None:
    line = utterance(planned(FIRST), planned(SECOND))
    line.parts[0].received_s, line.parts[1].received_s = 1.0, 2.0
    line.parts[0].pause_s, line.parts[1].pause_s = 0.28, 0.25
    assert line.left_s(1, 0.25) == pytest.approx(3.0 + 0.28 - 0.25)
    assert line.left_s(99, 0.25) == pytest.approx(3.28)
    assert line.generating == 2
    assert not line.generated
    for made in line.parts:
        made.complete = True
    assert line.generated
    line.heard_to = 7
    assert line.heard == "One two"
