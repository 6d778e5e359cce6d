"""Faults in the middle of a line: the real thing is killed, stopped, filled or broken, and the
sink tells what was heard."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from koe.transport.connection import Refused
from koed.testing.rig import Rig, Sound, Watch, rig
from tests.rigs import hearing, witness
from tests.rigs.daemon import tone
from tests.rigs.sound import Recorder, SoundServer, sound_server
from tests.rigs.waiting import Stalls, wait_for
from tests.rigs.witness import outcome, say

LONG = "the unmistakable responsibilities of everybody are heard whatever happens"
LONGER = f"{LONG} {LONG} {LONG}"
ENDLESS = " ".join([LONG] * 60)
"""Sounds until it is cut, however slow the machine is."""
CHAR_S = 0.0125
LEAK_S = 0.5
HZ = {"low": 400.0, "high": 1000.0}
HANGS = {"hang_on": "responsibilities of", "trouble_at_chunk": 16}
"""In the middle of "everybody", of the second segment; what is left of that then does not hang."""
PROFILES: dict[str, dict[str, Any]] = {
    "low": tone(400, char_ms=12.5),
    "high": tone(1000, char_ms=12.5),
    # Their worker has not made the whole line when it is killed, however late that is.
    "slow": tone(400, char_ms=12.5, **HANGS),
    "safe": tone(400, char_ms=12.5, **HANGS) | {"fallback": "human"},
    "quick": tone(1000, char_ms=1),
    "human": {"engine": "embedded", "lang": "en", "settings": {"voice": "slt"}},
}
HARMFUL: dict[str, dict[str, Any]] = {
    "low": PROFILES["low"],
    "high": PROFILES["high"],
    # Words that are over when the trouble comes, and one that is still to be said.
    "once": tone(400, char_ms=12.5, fail_on="the un", trouble_at_chunk=6),
    "twice": tone(400, char_ms=12.5, fail_on="whatever", trouble_at_chunk=6) | {"fallback": "high"},
    "deadly": tone(400, crash_on="boom", crash_how="exit"),
    "hog": tone(400, char_ms=12.5, allocate_mb_per_chunk=16),
}
CONFIG: dict[str, Any] = {
    "voice": "low",
    "engine": {"lookahead_s": 0.3, "stall_s": 60.0, "memory_mb": 250, "failover_wait_s": 60.0},
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """With a transcript on a full disk, and two broken profiles besides the good ones."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "transcript.jsonl").symlink_to("/dev/full")
    config = CONFIG | {"transcript": {"path": str(folder / "transcript.jsonl")}}
    broken = {"lost": tone(500) | {"reference": {"audio": "gone.wav", "transcript": "hello"}}}
    with rig(config, PROFILES | broken, environ={"XDG_CACHE_HOME": str(folder)}) as running:
        running.wait_ready()
        yield running


@pytest.fixture
def watch(daemon: Rig) -> Iterator[Watch]:
    yield from watched(daemon, "tone", "embedded")


def watched(daemon: Rig, *engines: str) -> Iterator[Watch]:
    watching = witness.watch(daemon)
    for engine in engines:
        witness.worker(daemon, engine)
    yield watching
    daemon.client.stop()
    watching.close()
    hearing.played_on(daemon, hearing.FADED_S)


def heard(daemon: Rig, mark: int) -> list[str]:
    return hearing.order(hearing.voices(daemon.sound_from(mark), HZ))


def normal_line(daemon: Rig, watch: Watch) -> None:
    """After a fault everything is as before."""
    began = daemon.mark()
    assert outcome(watch, say(daemon, "all is well again", voice="high")) == "finished"
    assert heard(daemon, began) == ["high"]


# --- the worker ----------------------------------------------------------------------------------


def kill_in_mid_word(daemon: Rig, watch: Watch, said: int) -> None:
    """Of "everybody": what the worker was told to hang on is over then."""
    pid = witness.worker(daemon)
    wait_for(
        lambda: witness.told(watch, "utterance.progress", utterance=said, text="everybody"),
        40.0,
        "the word begins",
    )
    witness.kill(pid)


def test_killed_in_mid_word_the_fallback_goes_on(daemon: Rig, watch: Watch) -> None:
    began = daemon.mark()
    said = say(daemon, LONG, voice="safe")
    after = say(daemon, "the next one", voice="high")
    kill_in_mid_word(daemon, watch, said)
    fallback: Any = watch.wait("engine.fallback", said)
    assert (fallback.voice, fallback.fallback) == ("safe", "human")
    down: Any = watch.wait("engine.down")
    assert (down.engine, down.code) == ("tone", "worker_killed")
    assert "SIGKILL" in down.message
    assert outcome(watch, said) == "finished"
    ended = daemon.mark()
    assert witness.words(watch, said) == LONG.split()
    windows = hearing.kinds(daemon.sound_from(began), HZ["low"])
    windows = windows[: int((ended - began) / 48000 / hearing.WINDOW_S)]
    tone_s, speech_s = (hearing.seconds(windows, kind) for kind in ("tone", "speech"))
    assert 0.0 < tone_s < 0.7 * CHAR_S * len(LONG)
    assert speech_s > 1.0
    last_tone = len(windows) - windows[::-1].index("tone")
    assert hearing.seconds(windows[:last_tone], "speech") < 0.1  # at most the edges
    assert outcome(watch, after) == "finished"
    assert heard(daemon, began)[-1] == "high"


def test_killed_in_mid_word_without_a_fallback_it_goes_on_itself(daemon: Rig, watch: Watch) -> None:
    began = daemon.mark()
    said, after = say(daemon, LONG, voice="slow"), say(daemon, "the next one", voice="high")
    kill_in_mid_word(daemon, watch, said)
    watch.wait("engine.up")
    assert outcome(watch, said) == "finished"
    assert outcome(watch, after) == "finished"
    assert witness.words(watch, said) == LONG.split()
    windows = hearing.voices(daemon.sound_from(began), HZ)
    assert hearing.order(windows) in (["low", "high"], ["low", "low", "high"])
    # what was torn is said again, and nothing is missing
    again_s = hearing.seconds(windows, "low") - CHAR_S * len(LONG)
    assert -0.03 < again_s < CHAR_S * len("responsibilities") + 0.1


OPEN = "The first of two sentences is not a short one. The second comes later."


def test_killed_before_an_open_line_sounds_none_of_its_text_is_lost(
    daemon: Rig, watch: Watch
) -> None:
    watch.wait("utterance.started", say(daemon, "it sounds meanwhile", voice="high"))
    with daemon.client.open_line() as line:
        line.append(OPEN[:51])
        witness.kill(witness.worker(daemon))
        watch.wait("engine.up")
        line.append(OPEN[51:])
    assert outcome(watch, line.utterance) == "finished"
    assert witness.words(watch, line.utterance) == OPEN.split()


def test_overtaken_before_an_open_line_sounds_none_of_its_text_is_lost(
    daemon: Rig, watch: Watch
) -> None:
    watch.wait("utterance.started", say(daemon, ENDLESS, voice="high"))
    with daemon.client.open_line() as line:
        line.append(OPEN[:51])  # made ahead from here on
        urgent = say(daemon, "fire", voice="high", priority="urgent")
        assert outcome(watch, urgent) == "finished"
        line.append(OPEN[51:])
    assert outcome(watch, line.utterance) == "finished"
    assert witness.words(watch, line.utterance) == OPEN.split()


def test_words_shorter_than_a_turn_of_the_loop_are_told(daemon: Rig, watch: Watch) -> None:
    text = "we go to it as he is in or up on it"
    said = say(daemon, text, voice="quick")
    assert outcome(watch, said) == "finished"
    assert witness.words(watch, said) == text.split()


# --- the disk and the profiles -------------------------------------------------------------------


def test_a_full_disk_for_the_transcript_is_told_and_disturbs_nobody(daemon: Rig) -> None:
    """The trouble came with the first line that ended; before or in this test."""
    watching = witness.watch(daemon)
    normal_line(daemon, watching)
    wait_for(lambda: not daemon.client.status()["transcript"]["ok"], 40.0, "it is noticed")
    status = daemon.client.status()
    assert status["transcript"]["lost"] > 0
    assert status["counts"]["trouble"] == 1
    watching.close()
    assert "disk_full" in daemon.log() or "No space left" in daemon.log()


def voice(daemon: Rig, name: str) -> Any:
    return next((each for each in daemon.client.voices() if each.name == name), None)


def test_a_profile_with_a_missing_file_is_shown_and_the_others_work(
    daemon: Rig, watch: Watch
) -> None:
    lost = voice(daemon, "lost")
    assert not lost.ready
    assert "gone.wav" in lost.error
    with pytest.raises(Refused) as refusal:
        say(daemon, "in vain", voice="lost")
    assert refusal.value.code == "voice_broken"
    assert "gone.wav" in str(refusal.value)
    normal_line(daemon, watch)


def test_edits_are_taken_over_while_it_speaks(daemon: Rig, watch: Watch) -> None:
    """New, broken, mended and removed, while a line sounds that does not care."""
    began = daemon.mark()
    file = daemon.folder / "profiles" / "fresh.yaml"
    text = LONG + " and then it goes on for a while"
    said = say(daemon, text)
    watch.wait("utterance.started", said)
    file.write_text("engine: tone\nlang: en\nsettings: {hz: 1000, char_ms: 12.5}\n")
    daemon.client.reload()
    wait_for(lambda: witness.told(watch, "voice.ready", voice="fresh"), what="the new voice")
    first = say(daemon, "fresh one", voice="fresh")
    file.write_text("engine: tone\nlang: [en\n")
    assert daemon.client.reload().errors
    wait_for(lambda: witness.told(watch, "voice.broken", voice="fresh"), what="what is broken")
    assert witness.told(watch, "voice.broken", voice="fresh")[-1].kept_old
    assert voice(daemon, "fresh").error
    file.write_text("engine: tone\nlang: en\nsettings: {hz: 2000, char_ms: 12.5, wavee: sine}\n")
    daemon.client.reload()
    wait_for(
        lambda: [
            e for e in witness.told(watch, "voice.broken", voice="fresh") if "wavee" in e.message
        ],
        what="what the engine says",
    )
    assert outcome(watch, first) == "finished"
    file.write_text("engine: tone\nlang: en\nsettings: {hz: 2000, char_ms: 12.5}\n")
    daemon.client.reload()
    wait_for(lambda: len(witness.told(watch, "voice.ready", voice="fresh")) > 1, what="mended")
    assert not voice(daemon, "fresh").error
    assert outcome(watch, say(daemon, "fresh two", voice="fresh")) == "finished"
    windows = hearing.voices(daemon.sound_from(began), HZ | {"fresh": 2000.0})
    assert hearing.order(windows) == ["low", "high", "fresh"]
    assert hearing.seconds(windows, "low") == pytest.approx(CHAR_S * len(text), abs=0.06)
    file.unlink()
    daemon.client.reload()
    with pytest.raises(Refused) as refusal:
        say(daemon, "in vain", voice="fresh")
    assert refusal.value.code == "unknown_voice"


# --- the worker of voices that do harm ------------------------------------------------------------


@pytest.fixture(scope="module")
def harmed() -> Iterator[Rig]:
    """Another daemon: a worker is started again the later the more often it was lost."""
    engine = CONFIG["engine"] | {"stall_s": 3.0}
    with rig(CONFIG | {"engine": engine}, HARMFUL) as running:
        running.wait_ready()
        yield running


@pytest.fixture
def harmed_watch(harmed: Rig) -> Iterator[Watch]:
    yield from watched(harmed, "tone")


def test_a_line_that_kills_its_engine_twice_is_given_up(harmed: Rig, harmed_watch: Watch) -> None:
    said = say(harmed, "boom", voice="deadly")
    after = say(harmed, "the next one")
    failed = witness.end(harmed_watch, said)
    assert (failed.event, failed.code) == ("utterance.failed", "worker_exited")
    assert len(witness.told(harmed_watch, "engine.down", engine="tone")) == 2
    assert outcome(harmed_watch, after) == "finished"
    normal_line(harmed, harmed_watch)


def test_a_fault_in_mid_line_is_mended_by_the_same_voice(harmed: Rig, harmed_watch: Watch) -> None:
    began, pid = harmed.mark(), witness.worker(harmed)
    said = say(harmed, LONG, voice="once")
    retry: Any = harmed_watch.wait("engine.retry", said)
    assert (retry.engine, retry.voice, retry.code) == ("tone", "once", "tone_failed")
    assert outcome(harmed_watch, said) == "finished"
    assert witness.words(harmed_watch, said) == LONG.split()
    assert not witness.told(harmed_watch, "engine.fallback", utterance=said)
    assert heard(harmed, began) in (["low"], ["low", "low"])  # a word of it may come late
    assert harmed.client.status()["counts"]["engine.retry"] == 1
    assert witness.worker(harmed) == pid


def test_a_fault_that_comes_again_in_mid_line_calls_the_fallback(
    harmed: Rig, harmed_watch: Watch
) -> None:
    began = harmed.mark()
    said = say(harmed, LONG, voice="twice")
    fallback: Any = harmed_watch.wait("engine.fallback", said)
    assert (fallback.voice, fallback.fallback) == ("twice", "high")
    assert len(witness.told(harmed_watch, "engine.retry", utterance=said)) == 1
    assert outcome(harmed_watch, said) == "finished"
    assert witness.words(harmed_watch, said) == LONG.split()
    assert heard(harmed, began)[-1] == "high"


def test_a_stopped_worker_is_replaced(harmed: Rig, harmed_watch: Watch) -> None:
    pid = witness.worker(harmed)
    said = say(harmed, LONGER)
    harmed_watch.wait("utterance.progress", said)
    witness.kill(pid, signal.SIGSTOP)
    down: Any = harmed_watch.wait("engine.down")
    assert down.code == "worker_stalled"
    assert outcome(harmed_watch, said) == "finished"
    assert witness.words(harmed_watch, said) == LONGER.split()
    wait_for(lambda: not witness.runs(pid), 40.0, "it is gone")
    normal_line(harmed, harmed_watch)


def test_a_worker_that_allocates_without_end_is_ended(harmed: Rig, harmed_watch: Watch) -> None:
    said = say(harmed, LONG * 2, voice="hog")
    after = say(harmed, "the next one", voice="high")
    down: Any = harmed_watch.wait("engine.down")
    assert down.code == "worker_memory"
    ended = witness.end(harmed_watch, said)
    if ended.event != "utterance.finished":
        assert (ended.event, ended.code) == ("utterance.failed", "worker_memory")
    assert outcome(harmed_watch, after) == "finished"
    assert harmed.client.status()["engines"]["tone"]["rss_mb"] < 250
    normal_line(harmed, harmed_watch)


# --- the sound server ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[SoundServer]:
    with sound_server() as running:
        yield running  # type: ignore[misc]


@pytest.fixture(scope="module")
def live(server: SoundServer) -> Iterator[Rig]:
    """A daemon with two microphones of its own: each voice has its output."""
    outputs = {
        "main": {},
        "side": {"sink": "koed_side", "microphone": "koed_side_mic", "description": "side"},
    }
    profiles = {"low": PROFILES["low"], "high": PROFILES["high"] | {"output": "side"}}
    config = CONFIG | {"audio": {"device": "pulse"}, "outputs": outputs}
    with rig(config, profiles, environ=server.env) as running:
        running.wait_ready()
        yield running


@pytest.fixture
def live_watch(live: Rig) -> Iterator[Watch]:
    watching = witness.watch(live)
    wait_for(
        lambda: all(o["state"] == "playing" for o in live.client.status()["outputs"].values()),
        what="both outputs play",
    )
    yield watching
    live.client.stop()
    watching.close()


def underruns(daemon: Rig) -> int:
    outputs = daemon.client.status()["outputs"].values()
    return sum(int(output["underruns"]) for output in outputs)


def recorded(recorder: Recorder) -> Sound:
    samples = recorder.samples()
    return Sound((samples * 32767).astype("int16"), 0, 48000, 0.0)


def test_two_outputs_sound_at_once_each_in_its_microphone(
    live: Rig, live_watch: Watch, server: SoundServer
) -> None:
    main, side = server.record("koed_mic"), server.record("koed_side_mic")
    late = underruns(live)
    live.client.pause()  # until both are there
    lines = [say(live, LONG, voice="low"), say(live, LONG, voice="high")]
    live.client.resume()
    assert [outcome(live_watch, line) for line in lines] == ["finished", "finished"]
    starts = [live_watch.wait("utterance.started", line) for line in lines]
    assert [start.output for start in starts] == ["main", "side"]  # type: ignore[attr-defined]
    assert abs(starts[0].heard_t - starts[1].heard_t) < CHAR_S * len(LONG) / 2  # type: ignore[attr-defined]
    for recorder, voice_name in ((main, "low"), (side, "high")):
        # what the sound server got too late is lost: some blocks each time
        length_s = CHAR_S * len(LONG) - 0.05 * (underruns(live) - late)
        wait_for(
            lambda r=recorder, v=voice_name, s=length_s: (
                hearing.seconds(hearing.voices(recorded(r), HZ), v) > s - 0.1
            ),
            what=f"{voice_name} in its microphone",
        )
        assert hearing.order(hearing.voices(recorded(recorder), HZ)) == [voice_name]


def test_the_sound_server_dies_and_nothing_of_the_queue_is_lost(
    live: Rig, live_watch: Watch, server: SoundServer
) -> None:
    lines = [say(live, LONGER), say(live, "the second"), say(live, "the third")]
    live_watch.wait("utterance.progress", lines[0])
    server.kill()
    lost: Any = live_watch.wait("device.lost")
    assert lost.output in ("main", "side")
    live.client.pause()  # until somebody listens
    server.start()
    for output in ("main", "side"):
        wait_for(lambda o=output: witness.told(live_watch, "device.back", output=o), what="back")
    recorder = server.record("koed_mic")
    live.client.resume()
    assert [outcome(live_watch, line) for line in lines] == ["finished"] * 3
    assert [witness.words(live_watch, line) for line in lines] == [
        LONGER.split(), ["the", "second"], ["the", "third"],
    ]  # fmt: skip
    wait_for(
        lambda: hearing.seconds(hearing.voices(recorded(recorder), HZ), "low") > CHAR_S * 19,
        what="the rest of the queue in the new microphone",
    )


def test_our_sink_is_unloaded_and_made_again_and_no_other_sounds(
    live: Rig, live_watch: Watch, server: SoundServer
) -> None:
    speakers = server.record("speakers.monitor")
    module = server.module_of("koed")
    said = say(live, LONGER)
    live_watch.wait("utterance.progress", said)
    with Stalls() as stalls:
        server.pactl("unload-module", module)
        lost: Any = live_watch.wait("device.lost")
    assert lost.code in ("sink_unloaded", "stream_moved")
    live.client.pause()  # until somebody listens
    live_watch.wait("device.back")
    recorder = server.record("koed_mic")
    live.client.resume()
    assert outcome(live_watch, said) == "finished"
    assert witness.words(live_watch, said) == LONGER.split()
    wait_for(lambda: recorder.loud_s() > 0.3, what="sound in the new microphone")
    # PulseAudio moves our stream to the default sink with the moment that it holds of it: some
    # hundredths of a second, unless the machine is busy. Without us it would be all the rest.
    assert speakers.loud_s() < LEAK_S + stalls.worst_s
