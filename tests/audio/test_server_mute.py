"""Silence at a real sound server, while a device plays on."""

from __future__ import annotations

import time

import numpy as np
import pytest

from koed.audio.device import PulseDevice
from koed.audio.server_mute import SHUT_S, ServerMute
from koed.audio.sound_server import SoundServer as Connection
from koed.audio.virtual_mic import VirtualMicrophone
from tests.rigs.sound import RATE_HZ, Recorder, SoundServer, ToneSource
from tests.rigs.waiting import wait_for

LONG_S = 1.0
"""So long it stays shut here: a program has to be started to see it."""


def longest_silence_s(recorder: Recorder, since_s: float) -> float:
    loud = np.flatnonzero(np.abs(recorder.samples(since_s)) > 0.01)
    return float(np.diff(loud).max()) / RATE_HZ if len(loud) > 1 else 0.0


def plays_on(recorder: Recorder) -> bool:
    """The last fifth of a second was loud, and no part of it silent for as long as a cut is."""
    since_s = time.monotonic() - 0.2
    return recorder.loud_s(since_s) > 0.1 and longest_silence_s(recorder, since_s) < 0.5 * SHUT_S


def is_muted(sound: SoundServer) -> bool:
    return "yes" in sound.pactl("get-sink-mute", "koed")


def test_it_cuts_what_is_on_its_way_and_opens_by_itself(
    sound: SoundServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("koed.audio.server_mute.SHUT_S", LONG_S)

    def is_shut() -> bool:
        server_mute.shut()  # again: it shall not open before anybody could look
        return is_muted(sound)

    connection = Connection()
    connection.connect()
    VirtualMicrophone(connection, "koed", "koed_mic", "koed").ensure()
    sound.pactl("set-sink-mute", "koed", "1")  # as a koed that was killed might have left it
    recorder = sound.record("koed_mic")
    device = PulseDevice(RATE_HZ, 480, "koed")
    device.open(ToneSource())
    device.release()
    server_mute = ServerMute("koed")
    server_mute.start()
    try:
        recorder.wait_for_sound()
        wait_for(lambda: plays_on(recorder), what="a sound without a gap")
        before = time.monotonic() - 0.2
        wait_for(is_shut, what="it is shut")
        wait_for(lambda: not is_muted(sound), what="it opens by itself")
        recorder.wait_for_sound(since_s=time.monotonic())
        # from before the cut: it can come before the next samples arrive
        wait_for(lambda: longest_silence_s(recorder, before) > 0.5 * LONG_S, what="a gap is heard")
        wait_for(is_shut, what="it is shut again")
    finally:
        server_mute.close(20.0)
        assert not is_muted(sound)
        device.close()
        connection.close()


def test_a_sink_of_somebody_else_is_left_alone(sound: SoundServer) -> None:
    sound.pactl("load-module", "module-null-sink", "sink_name=koed")
    sound.pactl("set-sink-mute", "koed", "1")
    server_mute = ServerMute("koed")
    server_mute.start()
    server_mute.shut()
    time.sleep(2 * SHUT_S)
    server_mute.close(5.0)
    assert is_muted(sound)


def test_a_server_that_is_not_there_does_no_harm(sound: SoundServer) -> None:
    sound.kill()
    server_mute = ServerMute("koed")
    server_mute.start()
    server_mute.shut()
    server_mute.close(5.0)
