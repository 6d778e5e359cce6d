"""Lines, voices and silence, end to end: what is asked over the socket is heard at the sink."""

from __future__ import annotations

import statistics
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koe.client import Client
from koe.transport.connection import Refused
from koed.testing.rig import Rig, Sound, Watch
from tests.rigs import hearing
from tests.rigs.waiting import wait_for

LONG = "this line is long enough to be cut or changed in the middle of it"
ENDLESS = " ".join([LONG] * 40)
"""Sounds until it is cut, however slow the machine is."""
CHAR_S = 0.025
HZ = {"low": 400.0, "high": 1000.0}


def say(daemon: Rig, text: str, **rest: Any) -> int:
    return daemon.client.say(text, **rest).utterance


def heard(daemon: Rig, mark: int) -> list[str]:
    return hearing.voices(daemon.sound_from(mark), HZ)


def stays_silent(daemon: Rig) -> bool:
    """From now on, but for the end of a fade."""
    mark = hearing.played_on(daemon, 0.3)
    return not hearing.order(heard(daemon, mark + int(hearing.FADED_S * 48000)))


def progress(watch: Watch, said: int) -> list[Any]:
    return [e for e in watch.events if e.event == "utterance.progress" and e.utterance == said]  # type: ignore[attr-defined]


def wait_for_words(watch: Watch, said: int, count: int) -> None:
    wait_for(lambda: len(progress(watch, said)) >= count, 40.0, f"{count} words are heard")


def test_a_line_is_heard_for_as_long_as_it_is(daemon: Rig, watch: Watch) -> None:
    began = daemon.mark()
    text = "twenty characters ok"
    watch.wait("utterance.finished", say(daemon, text))
    assert hearing.order(heard(daemon, began)) == ["low"]
    assert hearing.seconds(heard(daemon, began), "low") == pytest.approx(
        CHAR_S * len(text), abs=0.03
    )


def test_wait_answers_when_it_is_over(daemon: Rig, watch: Watch) -> None:
    result = daemon.client.say("wait for me", wait=True)
    assert (result.outcome, result.reason) == ("finished", "")
    watch.wait("utterance.finished", result.utterance)


def test_lines_follow_in_order_each_in_its_own_voice(daemon: Rig, watch: Watch) -> None:
    began = daemon.mark()
    for voice in ("low", "high", "low"):
        last = say(daemon, "one after another", voice=voice)
    watch.wait("utterance.finished", last)
    assert hearing.order(heard(daemon, began)) == ["low", "high", "low"]


def test_words_are_told_in_order_at_the_time_they_sound(daemon: Rig, watch: Watch) -> None:
    text = "an alpha of a beta or a gamma"
    said = say(daemon, text)
    watch.wait("utterance.finished", said)
    words = progress(watch, said)
    started: Any = watch.wait("utterance.started", said)
    assert [word.text for word in words] == text.split()
    # a clock that stands still for a moment puts some off, but not most
    begins = [word.heard_t - CHAR_S * word.start for word in words]
    begin = statistics.median(begins)
    assert statistics.median(abs(each - begin) for each in begins) < 0.01
    assert min(abs(started.heard_t - each) for each in (begin, begins[0])) < 0.03


def test_voice_next_leaves_the_queue_alone(daemon: Rig, watch: Watch) -> None:
    began = daemon.mark()
    say(daemon, "the first line")
    say(daemon, "the second")
    daemon.client.set_voice("high")
    watch.wait("utterance.finished", say(daemon, "the third"))
    assert hearing.order(heard(daemon, began)) == ["low", "high"]
    assert hearing.seconds(heard(daemon, began), "low") == pytest.approx(CHAR_S * 24, abs=0.06)


def test_voice_line_changes_what_waits_but_not_what_sounds(daemon: Rig, watch: Watch) -> None:
    began = daemon.mark()
    first = say(daemon, ENDLESS)
    watch.wait("utterance.started", first)
    last = say(daemon, "the second")
    named = say(daemon, "the third", voice="low")
    daemon.client.set_voice("high", "line")
    wait_for_words(watch, first, len(progress(watch, first)) + 2)
    daemon.client.skip()
    watch.wait("utterance.finished", named)
    assert last < named
    assert hearing.order(heard(daemon, began)) == ["low", "high", "low"]
    assert hearing.seconds(heard(daemon, began), "high") == pytest.approx(CHAR_S * 10, abs=0.04)


def test_voice_now_changes_in_mid_line_and_loses_nothing(daemon: Rig, watch: Watch) -> None:
    began = daemon.mark()
    text = f"{LONG} {LONG}"
    said = say(daemon, text)
    wait_for_words(watch, said, 3)
    daemon.client.set_voice("high", "now")
    watch.wait("utterance.finished", said)
    windows = heard(daemon, began)
    assert hearing.order(windows) == ["low", "high"]
    assert hearing.seconds(windows, "low") > 0.2
    total = hearing.seconds(windows, "low") + hearing.seconds(windows, "high")
    assert total == pytest.approx(CHAR_S * len(text), abs=0.12)


def test_stop_silences_and_forgets(daemon: Rig, watch: Watch) -> None:
    sounding = say(daemon, ENDLESS)
    waiting = say(daemon, "never heard")
    watch.wait("utterance.started", sounding)
    daemon.client.stop()
    skipped: Any = watch.wait("utterance.skipped", sounding)
    dropped: Any = watch.wait("utterance.dropped", waiting)
    assert (skipped.reason, dropped.reason) == ("stop", "stop")
    assert stays_silent(daemon)


def test_skip_goes_to_the_next_line(daemon: Rig, watch: Watch) -> None:
    began = daemon.mark()
    first, second = say(daemon, ENDLESS), say(daemon, "the next one", voice="high")
    watch.wait("utterance.started", first)
    daemon.client.skip()
    watch.wait("utterance.finished", second)
    windows = heard(daemon, began)
    assert hearing.order(windows) == ["low", "high"]
    assert hearing.seconds(windows, "low") < CHAR_S * len(ENDLESS) / 2


def test_pause_holds_and_resume_goes_on_with_nothing_lost(daemon: Rig, watch: Watch) -> None:
    began = daemon.mark()
    said = say(daemon, "this will be held for a while")
    watch.wait("utterance.started", said)
    daemon.client.pause()
    assert stays_silent(daemon)
    daemon.client.resume()
    watch.wait("utterance.finished", said)
    spoken = hearing.seconds(heard(daemon, began), "low")
    assert spoken == pytest.approx(CHAR_S * len("this will be held for a while"), abs=0.05)


def test_mute_is_latched_and_holds_what_waits(daemon: Rig, watch: Watch) -> None:
    said = say(daemon, ENDLESS)
    watch.wait("utterance.started", said)
    daemon.client.mute()
    skipped: Any = watch.wait("utterance.skipped", said)
    assert skipped.reason == "mute"
    later = say(daemon, "heard after all", voice="high")
    assert stays_silent(daemon)
    began = daemon.mark()
    daemon.client.unmute()
    watch.wait("utterance.finished", later)
    assert hearing.order(heard(daemon, began)) == ["high"]


def test_urgent_interrupts_and_the_queue_goes_on(daemon: Rig, watch: Watch) -> None:
    began = daemon.mark()
    first = say(daemon, ENDLESS)
    second = say(daemon, "next line")
    watch.wait("utterance.started", first)
    urgent = say(daemon, "fire", voice="high", priority="urgent")
    skipped: Any = watch.wait("utterance.skipped", first)
    assert skipped.reason == "urgent"
    watch.wait("utterance.finished", second)
    watch.wait("utterance.finished", urgent, timeout_s=0.1)  # it came before
    assert hearing.order(heard(daemon, began)) == ["low", "high", "low"]


def test_cancel_by_author_silences_what_sounds(daemon: Rig, watch: Watch) -> None:
    first = say(daemon, ENDLESS, author="eve")
    second = say(daemon, "and more", author="eve")
    kept = say(daemon, "kind words", author="bob")
    watch.wait("utterance.started", first)
    assert set(daemon.client.cancel(author="eve")) == {first, second}
    skipped: Any = watch.wait("utterance.skipped", first)
    assert skipped.reason == "cancel"
    assert ENDLESS.startswith(skipped.heard)
    assert len(skipped.heard) < len(ENDLESS)
    watch.wait("utterance.finished", kept)
    assert not [e for e in watch.events if e.event == "utterance.started" and e.utterance == second]  # type: ignore[attr-defined]


def test_cancel_by_utterance_and_key(daemon: Rig, watch: Watch) -> None:
    watch.wait("utterance.started", say(daemon, ENDLESS))
    keyed, numbered = say(daemon, "by key", key="k"), say(daemon, "by number")
    assert daemon.client.cancel(key="k") == (keyed,)
    assert daemon.client.cancel(numbered) == (numbered,)
    with pytest.raises(Refused) as refusal:
        daemon.client.cancel(numbered)
    assert refusal.value.code == "unknown_utterance"


def test_a_key_replaces_the_waiting_line(daemon: Rig, watch: Watch) -> None:
    watch.wait("utterance.started", say(daemon, ENDLESS))
    old = say(daemon, "song one", key="song")
    new = say(daemon, "song two", key="song")
    dropped: Any = watch.wait("utterance.dropped", old)
    assert dropped.reason == "replaced"
    assert [line.utterance for line in daemon.client.queue().waiting] == [new]


def test_time_to_live_ends_a_line_that_waits(daemon: Rig, watch: Watch) -> None:
    watch.wait("utterance.started", say(daemon, ENDLESS))
    late = say(daemon, "too late", ttl_s=0.2)
    dropped: Any = watch.wait("utterance.dropped", late)
    assert dropped.reason == "expired"


def test_open_line_is_spoken_while_it_still_comes(daemon: Rig, watch: Watch) -> None:
    began = daemon.mark()
    with daemon.client.open_line() as line:
        for piece in ("The first sen", "tence is whole. ", "And the sec"):
            line.append(piece)
        watch.wait("utterance.started", line.utterance)
        line.append("ond one comes later.")
    watch.wait("utterance.finished", line.utterance)
    text = "The first sentence is whole. And the second one comes later."
    words: list[Any] = [e for e in watch.events if e.event == "utterance.progress"]
    assert " ".join(word.text for word in words) == text
    assert hearing.seconds(heard(daemon, began), "low") == pytest.approx(
        CHAR_S * (len(text) - 1), abs=0.06
    )


def test_text_socket_speaks_and_tells_what_it_cannot(daemon: Rig, watch: Watch) -> None:
    with Client(str(daemon.folder / "run")) as client:
        client.push("pushed text")
        queued: Any = watch.wait("utterance.queued")
        assert queued.text == "pushed text"
        watch.wait("utterance.finished", queued.utterance)
        client.push("\u200b \u202e")
        dropped: Any = watch.wait("utterance.dropped")
        assert dropped.reason == "nothing_to_say"


def test_a_gap_between_lines_is_the_pause_asked_for(daemon: Rig, watch: Watch) -> None:
    began = daemon.mark()
    daemon.client.pause()  # until all are there
    lines = [say(daemon, "short line") for _ in range(3)]
    daemon.client.resume()
    ends: list[Any] = [watch.wait("utterance.finished", line) for line in lines]
    windows = heard(daemon, began)
    first, end = windows.index("low"), len(windows) - windows[::-1].index("low")
    silent = windows[first:end].count("") * hearing.WINDOW_S
    late = sum(end.starved_s for end in ends)
    assert silent == pytest.approx(2 * 0.1 + late, abs=0.04)


def test_refusals_name_their_reason(daemon: Rig, watch: Watch) -> None:
    def refusal(**request: Any) -> tuple[str, str]:
        with pytest.raises(Refused) as error:
            daemon.client.say(**request)
        return error.value.code, error.value.hint

    assert refusal(text="x", voice="lov") == ("unknown_voice", "did you mean 'low'?")
    assert refusal(text="x", output="side")[0] == "unknown_output"
    assert refusal(text="\u200b")[0] == "nothing_to_say"
    assert refusal(text="x" * 6000)[0] == "text_too_long"
    assert refusal(text="x", ttl_s=-1.0)[0] == "bad_field"


def test_save_gives_back_what_was_played(daemon: Rig, watch: Watch, tmp_path: Path) -> None:
    began = daemon.mark()
    watch.wait("utterance.finished", say(daemon, "keep this", voice="high"))
    file = tmp_path / "last.wav"
    daemon.client.save(file, seconds=(daemon.mark() - began) / 48000)
    with wave.open(str(file)) as saved:
        assert (saved.getframerate(), saved.getnchannels(), saved.getsampwidth()) == (48000, 1, 2)
        pcm = np.frombuffer(saved.readframes(saved.getnframes()), dtype="<i2")
    windows = hearing.voices(Sound(pcm, 0, 48000, 0.0), HZ)
    assert hearing.order(windows) == ["high"]
    assert hearing.seconds(windows, "high") == pytest.approx(CHAR_S * 9, abs=0.03)
