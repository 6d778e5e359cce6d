"""The PyAudio stream, into a real PulseAudio."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from koed.audio.device import PulseDevice
from koed.errors import DeviceError
from tests.rigs.sound import RATE_HZ, SoundServer, ToneSource
from tests.rigs.waiting import wait_for

FRAMES = 480


class BrokenSource(ToneSource):
    def render(self, frames: int) -> NDArray[np.float32]:
        if self.clock_frames < 10 * FRAMES:
            super().render(frames)
            raise ValueError("broken")
        return super().render(frames)


def device() -> PulseDevice:
    return PulseDevice(RATE_HZ, FRAMES, "speakers")


def test_plays_into_its_sink_without_a_gap(sound: SoundServer) -> None:
    recorder = sound.record("speakers.monitor")
    before = dict(os.environ)
    player, tone = device(), ToneSource(440.0)
    player.open(tone)
    assert dict(os.environ) == before
    player.release()
    wait_for(lambda: recorder.loud_s() > 0.55, what="half a second of sound")
    wait_for(lambda: player.trouble() is None, what="it plays on")
    assert player.blocks > 50
    assert player.faults == 0
    wait_for(lambda: 0.0 < player.latency_s < 0.5, what="the latency is known")
    wait_for(lambda: abs(recorder.pitch_hz() - 440.0) < 1.0, what="half a second without a gap")
    assert player.close(20.0)
    assert player.trouble() is not None


def test_is_silent_until_released_and_while_held(pulse: SoundServer) -> None:
    recorder = pulse.record("speakers.monitor")
    player, tone = device(), ToneSource()
    player.open(tone)
    wait_for(lambda: player.blocks > 20)
    assert tone.clock_frames == 0
    player.release()
    recorder.wait_for_sound()
    player.hold()
    held_at = tone.clock_frames
    blocks = player.blocks
    wait_for(lambda: player.blocks > blocks + 20)
    assert tone.clock_frames == held_at
    player.close()


def test_knows_when_a_frame_is_heard(pulse: SoundServer) -> None:
    player, tone = device(), ToneSource()
    player.open(tone)
    player.release()
    wait_for(lambda: player.blocks > 50)

    def on_one_line() -> bool:
        """Later frames are heard later, unless the machine stood still between them."""
        assert player.anchor is not None
        frame, heard_s = player.anchor
        blocks = player.blocks
        wait_for(lambda: player.blocks > blocks + 20)
        later_frame, later_s = player.anchor
        assert later_frame > frame
        return abs((later_s - heard_s) - (later_frame - frame) / RATE_HZ) < 0.2

    wait_for(on_one_line, what="frames are heard at their pace")
    player.close()


def test_a_broken_source_is_silence_and_counted(pulse: SoundServer) -> None:
    recorder = pulse.record("speakers.monitor")
    player = device()
    player.open(BrokenSource())
    player.release()
    recorder.wait_for_sound()
    assert player.faults >= 10
    wait_for(lambda: player.trouble() is None, what="it plays on")
    player.close()


def test_notices_that_the_server_died(sound: SoundServer) -> None:
    player = device()
    player.open(ToneSource())
    player.release()
    wait_for(lambda: player.blocks > 10)
    sound.kill()
    wait_for(player.trouble, what="the loss is noticed")
    assert player.close(20.0)
    with pytest.raises(DeviceError) as caught:
        device().open(ToneSource())
    assert caught.value.code == "no_server"
    sound.start()
    again = device()
    again.open(ToneSource())
    wait_for(lambda: again.trouble() is None, what="it plays again")
    assert again.close(20.0)


def test_a_hung_server_holds_nobody_up(pulse: SoundServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koed.audio.device.STALL_S", 0.4)
    player, tone = device(), ToneSource()
    player.open(tone)
    player.release()
    wait_for(lambda: player.blocks > 10)
    pulse.stop_signal()
    wait_for(lambda: player.trouble() is not None, what="the stall is noticed")
    trouble = player.trouble()
    assert trouble is not None
    assert trouble.code == "device_stalled"
    begun_s = time.monotonic()
    assert not player.close(0.2)
    assert time.monotonic() - begun_s < 15.0  # the server itself would take half a minute
    clock = tone.clock_frames
    pulse.cont()
    wait_for(lambda: not pulse.pactl("list", "short", "sink-inputs"), what="the stream is closed")
    assert tone.clock_frames == clock


def test_a_missing_sink_is_an_error_and_not_another_sink(sound: SoundServer) -> None:
    player = PulseDevice(RATE_HZ, FRAMES, "nowhere")
    try:
        player.open(ToneSource())
    except DeviceError as error:
        assert error.code == "sink_missing"  # noqa: PT017 - PipeWire may open it, linked nowhere
    else:
        streams = sound.pactl("list", "sink-inputs")
        assert "Sink: speakers" not in streams
    player.close()


def test_a_missing_plugin_is_named(pulse: SoundServer) -> None:
    # A process of its own: ALSA keeps plugins that it has loaded.
    code = (
        "from koed.audio.device import PulseDevice\n"
        "from koed.errors import DeviceError\n"
        "try:\n"
        "    PulseDevice(48000, 480, 'speakers').open(None)\n"
        "except DeviceError as error:\n"
        "    print(error.code, error.hint)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"ALSA_PLUGIN_DIR": str(pulse.folder)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.stdout == "no_pulse_plugin apt install libasound2-plugins\n"
    assert result.stderr == ""
