"""Who records koed hears koed or nothing, whatever becomes of koed, its devices and the user's; and
what is hers stays as she left it. Each test has a recorder that judges."""

from __future__ import annotations

import contextlib
import subprocess
import time

import numpy as np
import pytest

from koed.audio.defaults import PIPEWIRE_SETTLE_S, SETTLE_S
from koed.audio.recorders import Recorders
from koed.audio.sound_server import SoundServer as SoundServerConnection
from koed.audio.virtual_mic import Devices
from tests.audio.conftest import MUSIC_HZ, OURS_HZ, STREET_HZ, Stage
from tests.rigs.sound import RATE_HZ, Recorder, SoundServer
from tests.rigs.waiting import wait_for

LOUD = 0.02
WINDOW = 960


def foreign_s(recorder: Recorder, *pitches_hz: float, since_s: float = 0.0) -> float:
    """Seconds in which a tone is heard that is not ours."""
    samples = recorder.samples(since_s)
    count = len(samples) // WINDOW
    windows = samples[: count * WINDOW].reshape(count, WINDOW) * np.hanning(WINDOW)
    seconds = 0.0
    for pitch_hz in pitches_hz:
        phase = np.exp(-2j * np.pi * pitch_hz * np.arange(WINDOW) / RATE_HZ)
        level = np.abs(windows @ phase) * 4 / WINDOW
        seconds += float(np.count_nonzero(level > LOUD)) * WINDOW / RATE_HZ
    return seconds


def hears_us(recorder: Recorder) -> bool:
    return abs(recorder.pitch_hz() - OURS_HZ) < 2.0


def taken_back(sound: SoundServer, stage: Stage) -> None:
    """Who recorded a device that went has the new one. PipeWire may have given it to them itself,
    by its name, before koed could."""
    if sound.kind == "pulseaudio":
        wait_for(lambda: "recorder_moved" in stage.codes(), what="it is told")
    else:
        time.sleep(1.0)
    wait_for(lambda: stage.outputs[-1].status()["recorders"], what="they record ours")


# --- her microphone ---------------------------------------------------------------------------


def test_koed_ends_and_starts_while_somebody_records_it(sound: SoundServer, stage: Stage) -> None:
    sound.real_microphone(STREET_HZ)
    first = stage.start()
    recorder = sound.record("koed_mic")
    wait_for(lambda: hears_us(recorder), what="our sound")
    assert first.stop(20.0)
    assert "parec" in first.left
    recorder.wait_for_silence()
    music = sound.play(MUSIC_HZ, "koed")
    wait_for(lambda: "paplay" in sound.pactl("list", "sink-inputs"), what="music in our sink")
    time.sleep(0.3)
    music.close()
    again = stage.start()
    wait_for(lambda: hears_us(recorder), what="our sound, again")
    assert foreign_s(recorder, STREET_HZ, MUSIC_HZ) == 0.0
    recorder.close()
    wait_for(lambda: not again.status()["recorders"], what="nobody records")
    assert again.stop(20.0)
    assert again.left == ""
    assert "koed" not in sound.names("sinks")
    assert "koed_mic" not in sound.names("sources")


@pytest.mark.parametrize("device", ["koed", "koed_mic"])
def test_somebody_unloads_what_is_recorded(sound: SoundServer, stage: Stage, device: str) -> None:
    sound.real_microphone(STREET_HZ)
    stage.start()
    recorder = sound.record("koed_mic")
    wait_for(lambda: hears_us(recorder), what="our sound")
    sound.unload(device)
    taken_back(sound, stage)
    wait_for(lambda: not any(sound.streams("source-outputs", "parec").values()), what="its ears")
    wait_for(lambda: hears_us(recorder), what="our sound, again")
    assert foreign_s(recorder, STREET_HZ) <= stage.leak_s()


def test_another_description_keeps_who_records(sound: SoundServer, stage: Stage) -> None:
    sound.real_microphone(STREET_HZ)
    first = stage.start()
    recorder = sound.record("koed_mic")
    wait_for(lambda: hears_us(recorder), what="our sound")
    first.stop(20.0)
    stage.start("another name")
    taken_back(sound, stage)
    wait_for(lambda: hears_us(recorder), what="our sound, again")
    assert foreign_s(recorder, STREET_HZ) <= stage.leak_s()


# --- her desktop ------------------------------------------------------------------------------


def test_the_speakers_vanish_under_music(sound: SoundServer, stage: Stage) -> None:
    stage.start()
    recorder = sound.record("koed_mic")
    sound.play(MUSIC_HZ)
    speakers = sound.record("speakers.monitor")
    wait_for(lambda: foreign_s(speakers, MUSIC_HZ) > 0.2, what="music in the speakers")
    sound.unload("speakers")
    wait_for(lambda: "foreign_sound" in stage.codes(), what="it is told")
    wait_for(lambda: hears_us(recorder), what="our sound")
    sound.pactl("load-module", "module-null-sink", "sink_name=other")
    wait_for(lambda: "other" in sound.names("sinks"))
    other = sound.record("other.monitor")
    wait_for(lambda: foreign_s(other, MUSIC_HZ) > 0.2, what="music in the new speakers")
    assert foreign_s(recorder, MUSIC_HZ) <= stage.leak_s()
    wait_for(lambda: hears_us(recorder), what="our sound, alone")


def test_a_program_is_sent_away_from_our_sink(sound: SoundServer, stage: Stage) -> None:
    stage.start()
    recorder = sound.record("koed_mic")
    speakers = sound.record("speakers.monitor")
    sound.play(MUSIC_HZ, "koed")
    wait_for(lambda: "foreign_sound" in stage.codes(), what="it is told")
    wait_for(lambda: foreign_s(speakers, MUSIC_HZ) > 0.2, what="music in the speakers")
    assert "paplay" in stage.told[0].message
    assert foreign_s(recorder, MUSIC_HZ) <= stage.leak_s()


# --- volumes ----------------------------------------------------------------------------------


def test_a_volume_that_is_remembered_of_every_python_is_not_ours(
    pulse: SoundServer, stage: Stage
) -> None:
    pulse.pactl("load-module", "module-stream-restore", "restore_device=false")
    first = stage.start()

    def turned_down() -> bool:  # a busy machine may make ALSA open another stream
        for line in pulse.pactl("list", "short", "sink-inputs").splitlines():
            with contextlib.suppress(subprocess.CalledProcessError):
                pulse.pactl("set-sink-input-volume", line.split("\t")[0], "5%")
        stream = first.status()["volumes"].get("stream")
        return stream is not None and stream["percent"] == 5

    wait_for(turned_down, what="it is seen")
    assert [error.code for error in first.obstacles()] == ["turned_down", "not_recorded"]
    first.stop(20.0)
    again = stage.start()
    wait_for(lambda: "stream" in again.status()["volumes"], what="volumes")
    assert again.status()["volumes"]["stream"] == {"percent": 100, "muted": False}


@pytest.mark.parametrize(
    ("order", "part", "code"),
    [
        (("set-source-mute", "koed_mic", "1"), "microphone", "muted_there"),
        (("set-source-volume", "koed_mic", "10%"), "microphone", "turned_down"),
        (("set-sink-mute", "koed", "1"), "sink", "muted_there"),
        (("set-sink-volume", "koed", "10%"), "sink", "turned_down"),
    ],
)
def test_what_is_turned_down_in_the_server_is_seen(
    sound: SoundServer, stage: Stage, order: tuple[str, ...], part: str, code: str
) -> None:
    output = stage.start()
    sound.record("koed_mic")
    wait_for(lambda: output.status()["recorders"] == ["parec"], what="who records")
    assert output.obstacles() == []
    sound.pactl(*order)
    wait_for(lambda: output.obstacles(), what="it is seen")
    (error,) = output.obstacles()
    assert error.code == code
    assert part in error.message


# --- her defaults -----------------------------------------------------------------------------


def test_her_choice_of_our_microphone_outlives_every_start(
    sound: SoundServer, stage: Stage
) -> None:
    first = stage.start()
    time.sleep(SETTLE_S if sound.kind == "pulseaudio" else PIPEWIRE_SETTLE_S)
    sound.choose("source", "koed_mic")
    wait_for(lambda: stage.chosen.exists(), what="it is remembered")
    first.stop(20.0)
    assert "default" in first.left
    assert sound.default("source") == "koed_mic"
    sound.unload("koed_mic")
    sound.unload("koed")
    wait_for(lambda: "koed_mic" not in sound.names("sources"))
    stage.start()
    wait_for(lambda: sound.default("source") == "koed_mic", what="hers again")
    sound.choose("source", "headset")
    wait_for(lambda: not stage.chosen.exists(), what="it is forgotten")
    assert sound.default("sink") == "speakers"


# --- a sink that was put to sleep -------------------------------------------------------------


def test_a_suspended_sink_is_woken_and_told_once(
    pulse: SoundServer, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("koed.audio.device.STALL_S", 1.0)
    output = stage.start()
    recorder = pulse.record("koed_mic")
    wait_for(lambda: hears_us(recorder), what="our sound")
    pulse.pactl("suspend-sink", "koed", "1")
    wait_for(lambda: "sink_suspended" in stage.codes(), what="it is told")
    wait_for(lambda: hears_us(recorder), what="our sound, again")
    wait_for(lambda: output.playing, what="it plays")
    assert stage.codes() == ["sink_suspended"]


def test_the_desktop_is_not_on_air_while_its_speakers_are_still_to_come(
    sound: SoundServer, stage: Stage
) -> None:
    """As after a restart of the server: ours is the first sink that there is."""
    sound.unload("speakers")
    wait_for(lambda: "speakers" not in sound.names("sinks"))
    stage.start()
    recorder = sound.record("koed_mic")
    sound.play(MUSIC_HZ)
    time.sleep(0.5)
    sound.pactl("load-module", "module-null-sink", "sink_name=speakers")
    wait_for(lambda: sound.default("sink") == "speakers", what="hers is the default again")
    speakers = sound.record("speakers.monitor")
    wait_for(lambda: foreign_s(speakers, MUSIC_HZ) > 0.2, what="music in the speakers")
    assert foreign_s(recorder, MUSIC_HZ) <= stage.leak_s()
    wait_for(lambda: hears_us(recorder), what="our sound, alone")


def test_her_microphone_vanishes_and_comes_back(sound: SoundServer, stage: Stage) -> None:
    stage.start()
    recorder = sound.record("koed_mic")
    sound.unload("headset")
    wait_for(lambda: hears_us(recorder), what="our sound")
    module = "module-null-source" if sound.kind == "pulseaudio" else "module-null-sink"
    name = "source_name=headset" if sound.kind == "pulseaudio" else "sink_name=headset"
    virtual = () if sound.kind == "pulseaudio" else ("media.class=Audio/Source/Virtual",)
    sound.pactl("load-module", module, name, *virtual)
    wait_for(lambda: sound.default("source") == "headset", what="hers is the default again")
    # a server that lists it before it makes it the default shows a choice in between
    wait_for(lambda: not stage.chosen.exists(), what="ours is not taken for her choice")


# --- what is done again and again, or in the wrong moment ---------------------------------------


def test_it_is_unloaded_again_and_again(sound: SoundServer, stage: Stage) -> None:
    sound.real_microphone(STREET_HZ)
    stage.start()
    recorders = [sound.record(name) for name in ("koed_mic", "koed.monitor")]
    for device in ("koed", "koed_mic", "koed", "koed"):
        wait_for(lambda name=device: _unloaded(sound, name), what="it is there to be unloaded")
    wait_for(lambda: not any(sound.streams("source-outputs", "parec").values()), what="their ears")
    for recorder in recorders:
        wait_for(lambda r=recorder: hears_us(r), what="our sound, again")
    for recorder in recorders:
        assert foreign_s(recorder, STREET_HZ) <= stage.leak_s(4)


def _unloaded(sound: SoundServer, device: str) -> bool:
    with contextlib.suppress(AssertionError, subprocess.CalledProcessError):
        sound.unload(device)
        return True
    return False


def test_who_is_muted_by_her_stays_so(sound: SoundServer, stage: Stage) -> None:
    output = stage.start()
    recorder = sound.record("koed_mic")
    wait_for(lambda: hears_us(recorder), what="our sound")
    number = sound.stream("source-outputs", "parec")
    sound.pactl("set-source-output-mute", number, "1")
    sound.play(MUSIC_HZ)
    music = sound.stream("sink-inputs", "paplay")
    sound.pactl("set-sink-input-mute", music, "1")

    def told() -> bool:
        if "foreign_sound" in stage.codes():
            return True
        sound.pactl("move-sink-input", music, "koed")  # PipeWire may forget it
        time.sleep(0.5)
        return False

    wait_for(told, what="it is told")
    sound.unload("koed_mic")
    wait_for(lambda: "koed_mic" in sound.names("sources"), what="it is made anew")
    wait_for(lambda: output.playing and output.status()["recorders"] == ["parec"], what="ours")
    assert sound.streams("source-outputs", "parec") == {number: True}
    assert sound.streams("sink-inputs", "paplay") == {music: True}


def test_music_without_speakers_is_kept_mute_on_both_outputs(
    sound: SoundServer, stage: Stage
) -> None:
    stage.start()
    stage.start(sink="other")
    recorders = [sound.record(name) for name in ("koed_mic", "other_mic")]
    sound.play(MUSIC_HZ)
    music = sound.stream("sink-inputs", "paplay")
    sound.unload("speakers")
    wait_for(lambda: "foreign_sound" in stage.codes(), what="it is told")
    sound.pactl("set-sink-input-mute", music, "0")  # as a mixer may do
    wait_for(lambda: sound.streams("sink-inputs", "paplay").get(music), what="it is mute again")
    time.sleep(1.0)
    sound.pactl("load-module", "module-null-sink", "sink_name=speakers")
    wait_for(lambda: sound.default("sink") == "speakers", what="hers is the default again")
    wait_for(lambda: sound.streams("sink-inputs", "paplay") == {music: False}, what="it is heard")
    for recorder in recorders:
        wait_for(lambda r=recorder: hears_us(r), what="our sound, alone")
        assert foreign_s(recorder, MUSIC_HZ) <= stage.leak_s(2)


def test_a_program_that_comes_back_again_and_again_stays_mute(
    sound: SoundServer, stage: Stage
) -> None:
    stage.start()
    recorder = sound.record("koed_mic")
    sound.play(MUSIC_HZ)
    music = sound.stream("sink-inputs", "paplay")

    def stubborn() -> bool:
        sound.pactl("move-sink-input", music, "koed")
        time.sleep(0.1)
        return any("again and again" in event.message for event in stage.told)

    wait_for(lambda: stage.codes() is not None and stubborn(), what="it is told")
    recorded = len(recorder.samples())  # what was heard until now may still be on its way
    wait_for(lambda: len(recorder.samples()) > recorded + RATE_HZ, what="a second later")
    since = time.monotonic()
    for _ in range(5):
        stubborn()
    assert foreign_s(recorder, MUSIC_HZ, since_s=since) == 0.0
    assert sound.streams("sink-inputs", "paplay") == {music: True}


def test_who_asked_for_it_by_name_before_it_was_there_gets_it(
    sound: SoundServer, stage: Stage
) -> None:
    if sound.kind == "pulseaudio":  # it refuses to record what is not there
        parec = ["parec", "-d", "koed_mic", "--raw"]
        assert subprocess.run(parec, env=sound.environment(), capture_output=True).returncode
        return
    sound.real_microphone(STREET_HZ)
    early = sound.record("koed_mic")
    wait_for(lambda: foreign_s(early, STREET_HZ) > 0.1, what="what PipeWire gives instead")
    stage.start()
    wait_for(lambda: hears_us(early), what="our sound")


def test_a_program_that_ended_while_we_had_muted_it_is_heard_again(
    sound: SoundServer, stage: Stage
) -> None:
    """Servers remember that of a program."""
    if sound.kind == "pulseaudio":
        sound.pactl("load-module", "module-stream-restore", "restore_device=false")
    output = stage.start()
    first = sound.record("koed_mic")
    wait_for(lambda: output.status()["recorders"] == ["parec"], what="who records")
    server = SoundServerConnection()
    server.connect()
    sink, microphone = (
        next(item for item in server.call(listed) if item.name == name)
        for listed, name in (
            (lambda p: p.sink_list(), "koed"),
            (lambda p: p.source_list(), "koed_mic"),
        )
    )
    recorders = Recorders()
    recorders.hush(server, sink, microphone)
    ears = lambda: list(sound.streams("source-outputs", "parec").values())  # noqa: E731
    wait_for(lambda: ears() == [True], what="it is mute")
    first.close()
    wait_for(lambda: not ears(), what="it has ended")
    again = sound.record("koed_mic")
    wait_for(lambda: ears() == [True], what="that is kept")
    recorders.open_ears(server, Devices(sink, microphone))
    wait_for(lambda: hears_us(again), what="our sound")
    server.close()
