"""The speakers of whoever sits here, on a real sound server."""

from __future__ import annotations

import numpy as np
import pytest

from koed.audio import speakers
from koed.errors import DeviceError
from tests.rigs.sound import RATE_HZ, SoundServer


def test_a_recording_is_played_to_its_end_and_leaves_nothing(pulse: SoundServer) -> None:
    recorder = pulse.record("speakers.monitor")
    before = pulse.names("sinks") + pulse.names("sources")
    at = np.arange(RATE_HZ) / RATE_HZ
    tone = (0.3 * np.sin(2 * np.pi * 440.0 * at)).astype(np.float32)
    speakers.play(tone, RATE_HZ, speakers.find())
    assert recorder.loud_s() > 0.8
    assert pulse.names("sinks") + pulse.names("sources") == before


def test_the_sink_of_a_koed_is_no_speaker(pulse: SoundServer) -> None:
    """What is played there is on air."""
    pulse.pactl(
        "load-module", "module-null-sink", "sink_name=koed", "sink_properties=koed.owner=koed"
    )
    pulse.pactl("set-default-sink", "koed")
    with pytest.raises(DeviceError, match="on air") as caught:
        speakers.find()
    assert caught.value.code == "speakers_on_air"


def test_a_server_without_a_sound_card_has_none(pulse: SoundServer) -> None:
    pulse.pactl("load-module", "module-null-sink", f"sink_name={speakers.NOTHING}")
    pulse.pactl("set-default-sink", speakers.NOTHING)
    with pytest.raises(DeviceError) as caught:
        speakers.find()
    assert caught.value.code == "no_speakers"
