"""An output through everything that can happen to its sound server."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from koed.audio.output import Output, OutputSignal
from koed.config.daemon import AudioConfig, OutputConfig
from tests.audio.conftest import LEAK_S
from tests.rigs.sound import SoundServer, ToneSource
from tests.rigs.waiting import Stalls, wait_for


class Outputs:
    """Makes outputs and stops them at the end of the test."""

    def __init__(self) -> None:
        self.made: list[Output] = []
        self.woken = 0
        self.seen: list[OutputSignal] = []

    def play(self, sink: str = "koed", pitch_hz: float = 440.0) -> Output:
        """Start one and wait until it plays into its sink."""
        output = self.start(sink=sink, pitch_hz=pitch_hz)
        wait_for(lambda: output.status()["device"] == f"pulse:{sink}" and output.playing)
        output.signals()  # a busy machine may have needed two attempts
        self.woken = 0
        return output

    def start(self, device: str = "auto", sink: str = "koed", pitch_hz: float = 440.0) -> Output:
        output: Any = Output(
            sink,
            OutputConfig(sink=sink, microphone=f"{sink}_mic", description=sink),
            AudioConfig(device=device),  # type: ignore[arg-type]
            ToneSource(pitch_hz),  # type: ignore[arg-type]
            wake=self._wake,
        )
        self.made.append(output)
        output.start()
        wait_for(lambda: output.settled)
        return output

    def _wake(self) -> None:
        self.woken += 1

    def wait_for_signal(self, output: Output, lost: bool) -> OutputSignal:
        def found() -> OutputSignal | None:
            self.seen.extend(output.signals())
            return next((s for s in self.seen if s.lost == lost), None)

        return wait_for(found, 40.0, f"a signal with lost={lost}")

    def survive(self, output: Output, damage: Callable[[], None]) -> tuple[str, float]:
        """Do ``damage`` and wait until the output is back; returns (code, lost_s)."""
        self.seen.clear()
        damage()
        back = self.wait_for_signal(output, lost=False)
        lost, *more = (s for s in self.seen if s.lost)
        assert not more
        assert back.event.output == lost.event.output == output.name
        return lost.event.code, back.event.lost_s


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for seconds is no server that hangs."""
    limits = ("device.STALL_S", "device.OPEN_S", "virtual_mic.APPEAR_S")
    for limit in (*limits, "session.PLACE_S", "session.ANSWER_S", "session.WAKE_S"):
        monkeypatch.setattr(f"koed.audio.{limit}", 20.0)


@pytest.fixture
def outputs() -> Iterator[Outputs]:
    made = Outputs()
    yield made
    for output in made.made:
        output.stop(2.0)


@pytest.mark.usefixtures("patient")
def test_makes_plays_and_removes_a_microphone(sound: SoundServer, outputs: Outputs) -> None:
    output = outputs.play(pitch_hz=523.0)
    assert output.playing
    assert output.status()["microphone"] == "koed_mic"
    assert output.status()["device"] == "pulse:koed"
    assert "koed_mic" in output.describe()
    assert sound.kind in output.describe()
    elsewhere = sound.record("speakers.monitor")
    recorder = sound.record("koed_mic")
    wait_for(lambda: recorder.loud_s() > 0.55, what="sound in the microphone")
    wait_for(lambda: abs(recorder.pitch_hz() - 523.0) < 1.5, what="half a second without a gap")
    assert elsewhere.loud_s() == 0.0
    wait_for(lambda: abs(output.heard_t(output.mixer.clock_frames) - time.monotonic()) < 1.0)
    recorder.close()
    assert output.stop(20.0)
    assert output.status()["state"] == "stopped"
    assert sound.names("sinks") == ["speakers"]
    assert "koed_mic" not in sound.names("sources")
    assert not output.signals()


@pytest.mark.usefixtures("patient")
def test_survives_the_death_of_the_server(sound: SoundServer, outputs: Outputs) -> None:
    output = outputs.play()
    sound.record("koed_mic").wait_for_sound()
    sound.kill()
    outputs.wait_for_signal(output, lost=True)
    held_at = output.mixer.clock_frames
    assert not output.playing
    assert outputs.woken == 1
    sound.start()
    # Nothing was rendered into the void: the clock goes on from where it was.
    assert output.mixer.clock_frames == held_at or output.playing
    back = outputs.wait_for_signal(output, lost=False)
    assert back.event.lost_s > 0.0
    wait_for(lambda: output.mixer.clock_frames > held_at + 24000, what="the clock goes on")
    recorder = sound.record("koed_mic")
    recorder.wait_for_sound()
    wait_for(lambda: abs(recorder.pitch_hz() - 440.0) < 3.0, what="the tone is heard")


@pytest.mark.usefixtures("patient")
def test_survives_the_unloading_of_its_sink(sound: SoundServer, outputs: Outputs) -> None:
    output = outputs.play()
    elsewhere = sound.record("speakers.monitor")
    with Stalls() as stalls:
        code, _ = outputs.survive(output, lambda: sound.unload("koed"))
    assert code == "sink_unloaded"
    recorder = sound.record("koed_mic")
    recorder.wait_for_sound()
    assert elsewhere.loud_s() < LEAK_S + stalls.worst_s
    assert sound.names("sources").count("koed_mic") == 1


@pytest.mark.usefixtures("patient")
def test_survives_the_unloading_of_its_microphone(sound: SoundServer, outputs: Outputs) -> None:
    output = outputs.play()
    code, _ = outputs.survive(output, lambda: sound.unload("koed_mic"))
    assert code == "microphone_unloaded"
    sound.record("koed_mic").wait_for_sound()


@pytest.mark.usefixtures("patient")
def test_an_underrun_is_counted_and_is_no_loss(
    pulse: SoundServer, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = outputs.play()
    recorder = pulse.record("koed_mic")
    recorder.wait_for_sound()
    render = output.mixer.render
    stalls_s = [0.3, 0.3, 0.3]

    def stalling(frames: int) -> Any:
        if stalls_s:
            time.sleep(stalls_s.pop())
        return render(frames)

    monkeypatch.setattr(output.mixer, "render", stalling)
    wait_for(lambda: not stalls_s, what="the stalls are over")
    clock = output.mixer.clock_frames
    wait_for(lambda: output.mixer.clock_frames > clock + 24000, what="the clock goes on")
    wait_for(lambda: output.status()["underruns"] > 0, what="it is counted")
    assert not output.signals()
    recorder.wait_for_sound(since_s=time.monotonic())


@pytest.mark.usefixtures("patient")
def test_returns_a_stream_that_somebody_moved(pulse: SoundServer, outputs: Outputs) -> None:
    output = outputs.play()
    elsewhere = pulse.record("speakers.monitor")

    def moved() -> bool:  # a busy machine may make ALSA open another stream meanwhile
        stream = pulse.pactl("list", "short", "sink-inputs").split("\t")[0]
        with contextlib.suppress(subprocess.CalledProcessError):
            pulse.pactl("move-sink-input", stream, "speakers")
            return True
        return False

    with Stalls() as stalls:
        code, _ = outputs.survive(output, lambda: wait_for(moved) and None)
    assert code == "stream_moved"
    pulse.record("koed_mic").wait_for_sound()
    assert elsewhere.loud_s() < LEAK_S + stalls.worst_s


def test_survives_a_hung_server(
    pulse: SoundServer, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("koed.audio.device.STALL_S", 20.0)  # until it hangs indeed
    output = outputs.play()
    pulse.record("koed_mic").wait_for_sound()
    pulse.stop_signal()
    monkeypatch.setattr("koed.audio.device.STALL_S", 0.4)
    lost = outputs.wait_for_signal(output, lost=True)
    # The second one if a question to the server was on its way.
    assert lost.event.code in ("device_stalled", "server_hung")  # type: ignore[union-attr]
    monkeypatch.setattr("koed.audio.device.STALL_S", 20.0)
    pulse.cont()
    outputs.wait_for_signal(output, lost=False)
    since_s = time.monotonic()
    recorder = pulse.record("koed_mic")
    recorder.wait_for_sound(since_s=since_s)
    wait_for(
        lambda: len(pulse.pactl("list", "short", "sink-inputs").splitlines()) == 1,
        what="the stream of before is closed",
    )


@pytest.mark.parametrize("noticed", [False, True])
def test_stops_while_the_server_hangs_and_cleans_up_later(
    pulse: SoundServer, outputs: Outputs, noticed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("koed.audio.device.STALL_S", 20.0)  # until it hangs indeed
    output = outputs.play()
    pulse.stop_signal()
    monkeypatch.setattr("koed.audio.device.STALL_S", 0.4)
    if noticed:
        outputs.wait_for_signal(output, lost=True)
    begun_s = time.monotonic()
    output.stop(0.5)
    assert time.monotonic() - begun_s < 15.0  # the server itself would take half a minute
    output.stop(40.0)  # late, it might still take away the sink of the second one
    monkeypatch.setattr("koed.audio.device.STALL_S", 20.0)
    pulse.cont()
    wait_for(lambda: not pulse.pactl("list", "short", "sink-inputs"), what="the stream is closed")
    second = outputs.play()
    assert second.stop(20.0)
    wait_for(lambda: pulse.names("sinks") == ["speakers"], what="the sink is removed")


@pytest.mark.usefixtures("patient")
def test_stopped_while_lost_leaves_nothing_behind(
    sound: SoundServer, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = outputs.play()
    monkeypatch.setattr("koed.audio.output.BACKOFF_S", (60.0,))
    sound.unload("koed_mic")
    outputs.wait_for_signal(output, lost=True)
    assert "koed" in sound.names("sinks")
    assert output.stop(20.0)
    wait_for(lambda: sound.names("sinks") == ["speakers"], what="the sink is removed")


def test_auto_runs_on_nothing_until_a_server_comes(
    pulse: SoundServer, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("koed.audio.output.PROBE_S", 0.2)
    pulse.kill()
    output = outputs.start("auto")
    assert output.playing
    assert output.status()["device"] == "null"
    assert output.status()["code"] == "no_server"
    assert "no sound server answers" in output.describe()
    wait_for(lambda: output.mixer.clock_frames > 4800, what="the null clock runs")
    assert not output.signals()
    pulse.start()
    back = outputs.wait_for_signal(output, lost=False)
    assert back.event.device == "pulse:koed"  # type: ignore[union-attr]
    # Two devices that render one mixer would tear its lines apart.
    assert not any(thread.name == "null-device" for thread in threading.enumerate())
    pulse.record("koed_mic").wait_for_sound()


def test_pulse_without_a_server_waits_for_it(pulse: SoundServer, outputs: Outputs) -> None:
    pulse.kill()
    output = outputs.start("pulse")
    lost = outputs.wait_for_signal(output, lost=True)
    assert lost.event.code == "no_server"  # type: ignore[union-attr]
    assert not output.playing
    assert output.mixer.clock_frames == 0
    pulse.start()
    outputs.wait_for_signal(output, lost=False)
    assert output.playing


def test_refuses_a_sink_of_somebody_else(pulse: SoundServer, outputs: Outputs) -> None:
    pulse.pactl("load-module", "module-null-sink", "sink_name=koed")
    output = outputs.start("pulse")
    wait_for(lambda: output.status()["code"] == "sink_name_taken", what="it is refused")
    assert output.stop(20.0)
    assert "koed" in pulse.names("sinks")


@pytest.mark.usefixtures("patient")
def test_two_outputs_do_not_mix(sound: SoundServer, outputs: Outputs) -> None:
    outputs.play(sink="low", pitch_hz=300.0)
    outputs.play(sink="high", pitch_hz=900.0)
    low, high = sound.record("low_mic"), sound.record("high_mic")
    wait_for(lambda: low.loud_s() > 0.55 and high.loud_s() > 0.55, what="both sound")
    for recorder, hz in ((low, 300.0), (high, 900.0)):
        wait_for(lambda r=recorder, f=hz: abs(r.pitch_hz() - f) < 1.5, what=f"{hz} Hz is heard")


def test_null_needs_no_server(outputs: Outputs) -> None:
    output = outputs.start("null")
    assert output.playing
    assert output.status()["microphone"] is None
    wait_for(lambda: output.mixer.clock_frames > 4800)
    assert output.stop(20.0)
