"""The clocked null device, the WAV sink, and a mixer that is used from two threads for long."""

from __future__ import annotations

import itertools
import random
import resource
import threading
import time
import wave
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mixer_rig import BLOCK, FADE, RATE, Rig, ramp, tone

from koed.audio import sinks
from koed.audio.arrangement import Entry, Joint, Report
from koed.audio.history import to_int16
from koed.audio.mixer import GONE, Mixer
from koed.audio.sinks import NullDevice, WavSink, write_wav
from koed.errors import DeviceError


def new_mixer() -> Mixer:
    return Mixer(RATE, fade_ms=8.0, true_peak_db=-1.0, history_s=1.0)


def wait_for(true: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def read_wav(path: Path) -> tuple[int, np.ndarray]:
    with wave.open(str(path)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth()) == (1, 2)
        return wav.getframerate(), np.frombuffer(wav.readframes(wav.getnframes()), dtype="<i2")


# --- the null device ---


def renders(device: NullDevice) -> bool:
    return device._thread is not None and device._thread.is_alive()


def test_null_device_plays_at_the_pace_of_the_clock() -> None:
    mixer, heard = new_mixer(), []
    device = NullDevice(RATE, BLOCK, tap=lambda block, t: heard.append((block.copy(), t)))
    mixer.arrange(0, [Entry(1)])
    mixer.feed(1, ramp(9600), RATE)
    mixer.end(1)
    assert not renders(device)
    begin = time.monotonic()
    device.open(mixer)
    assert renders(device)
    wait_for(lambda: device.blocks >= 100)
    took = time.monotonic() - begin
    device.close()
    assert not renders(device)
    assert took >= 0.98  # never ahead of the clock
    blocks = device.blocks
    assert mixer.clock_frames == blocks * BLOCK == len(heard) * BLOCK
    sound = np.concatenate([block for block, _ in heard])[mixer.delay_frames :]
    assert np.array_equal(sound[:9600], ramp(9600))
    assert {r.kind for r in mixer.reports()} == {"started", "ended"}
    device.open(mixer)  # and again
    wait_for(lambda: device.blocks > blocks)
    device.close()


class FakeTime:
    """A clock that moves only while the device sleeps, and by more if told so."""

    def __init__(self) -> None:
        self.now, self.jumps, self.slept = 1000.0, {}, 0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept += 1
        self.now += seconds + self.jumps.pop(self.slept, 0.0)


@pytest.mark.parametrize(
    ("jump", "anew", "late_blocks"), [(0.105, 0, True), (3600.0, 1, True), (0.02, 0, False)]
)
def test_a_late_clock_catches_up_and_a_suspended_one_starts_anew(
    monkeypatch: pytest.MonkeyPatch, jump: float, anew: int, late_blocks: bool
) -> None:
    clock = FakeTime()
    clock.jumps = {50: jump}
    monkeypatch.setattr(sinks, "time", clock)
    device = NullDevice(RATE, BLOCK, tap=lambda _, t: setattr(device, "_closing", t > end))
    end = clock.now + jump + 2.0
    device.open(new_mixer())
    wait_for(lambda: not renders(device))
    device.close()
    lost = jump if anew else 0.0
    assert device.reanchored == anew
    assert (device.underruns > 0) == late_blocks
    assert device.blocks == pytest.approx((2.0 + jump - lost) / 0.01, abs=3)


def test_silence_is_slept_over_and_an_order_wakes_it_at_the_right_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, mixer, orders, naps = FakeTime(), new_mixer(), {10: 0.023, 20: 0.001, 30: 0.0}, []
    began = clock.now
    ordered: list[float] = []

    def wait(seconds: float) -> None:
        naps.append(seconds)
        clock.now += orders.get(len(naps), seconds)
        if len(naps) in orders:
            serial = len(ordered) + 1
            mixer.arrange(0, [Entry(serial)])
            mixer.feed(serial, ramp(960), RATE)
            mixer.end(serial)
            ordered.append(clock.now - began)
        device._closing = len(naps) > 100

    monkeypatch.setattr(sinks, "time", clock)
    monkeypatch.setattr(mixer, "wait", wait)
    device = NullDevice(RATE, BLOCK)
    device.open(mixer)
    wait_for(lambda: not renders(device))
    device.close()
    assert mixer.clock_frames == device.blocks * BLOCK
    assert device.blocks / 100 == pytest.approx(clock.now - began, abs=0.02), "no block is lost"
    assert device.blocks > 400, "most of the 100 naps are of five blocks"
    assert device.underruns == 0
    starts = [r.frame - mixer.delay_frames for r in mixer.reports() if r.kind == "started"]
    assert len(starts) == len(ordered) == 3
    for frame, t in zip(starts, ordered, strict=True):
        # never in a block that was over when it was asked for, and in the first one after it
        assert t - 1e-6 <= frame / RATE <= t + 0.01 + 1e-6


# --- WAV ---


def test_write_wav(tmp_path: Path) -> None:
    pcm = np.arange(-500, 500, dtype=np.int16)
    write_wav(str(tmp_path / "a.wav"), pcm, 22050)
    rate_hz, back = read_wav(tmp_path / "a.wav")
    assert rate_hz == 22050
    assert np.array_equal(back, pcm)


@pytest.mark.parametrize("block", [33, 480, 4000])
def test_wav_has_every_sample_and_no_waiting(tmp_path: Path, block: int) -> None:
    """Chunks come late and in two tracks: the file has no silence but the pause."""
    mixer, path = new_mixer(), tmp_path / "out.wav"
    with WavSink(str(path), RATE, block) as sink:
        mixer.arrange(0, [Entry(1)])
        assert sink.pull(mixer) == 0.0
        first, second = ramp(7001), ramp(3003, begin=7001)
        mixer.arrange(0, [Entry(1), Entry(2)])
        mixer.feed(2, second, RATE)
        mixer.end(2)
        for at in range(0, len(first), 500):
            mixer.feed(1, first[at : at + 500], RATE)
            sink.pull(mixer)
        assert sink.pull(mixer, 5.0) == 0.0
        mixer.end(1, 0.01)
        assert sink.pull(mixer, 0.005) == 0.005
        sink.finish(mixer)
    pause = np.zeros(480, dtype=np.float32)
    _, pcm = read_wav(path)
    assert np.array_equal(pcm, to_int16(np.concatenate((first, pause, second))))
    assert mixer.starved_frames == 0


@pytest.mark.parametrize("until", [0, 1000, 4800, 9600])
@pytest.mark.parametrize("block", [64, 4096])
def test_wav_of_a_track_that_is_cut_waits_for_nothing(
    tmp_path: Path, until: int, block: int
) -> None:
    """Rendered as far as it is there, then where it is cut is said, or changed."""
    path, rig = tmp_path / "a.wav", Rig()
    mixer = rig.mixer
    with WavSink(str(path), RATE, block) as sink:
        rig.declare(1, until_s=0.2)
        mixer.feed(1, ramp(4800), RATE)
        rig.declare(2)
        mixer.feed(2, ramp(2400), RATE)
        mixer.end(2)
        assert sink.pull(mixer, 1000 / RATE) == pytest.approx(1000 / RATE)
        rig.until(1, until)
        sink.pull(mixer)
        assert bool(mixer.ahead_s(0)) == (until == 9600), "it is waited for"
        mixer.end(1)
        sink.finish(mixer)
    played = min(max(until, 1000), 4800)
    sound = read_wav(path)[1]
    assert len(sound) == played + 2400
    assert mixer.starved_frames == 0
    fade = FADE if played < 4800 or until == 4800 else 0
    wanted = np.concatenate([ramp(played), ramp(2400)])
    steady = np.r_[0:played, played + fade : len(wanted)]
    assert np.array_equal(sound[steady], to_int16(wanted)[steady])
    over = [(r.serial, r.kind) for r in mixer.reports() if r.kind in ("ended", "cut")]
    assert over == [(1, "ended" if until == 9600 else "cut"), (2, "ended")]


def test_wav_of_nothing(tmp_path: Path) -> None:
    mixer = new_mixer()
    WavSink(str(tmp_path / "a.wav"), RATE).finish(mixer)
    assert len(read_wav(tmp_path / "a.wav")[1]) == 0
    assert not mixer.fault


def test_a_file_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DeviceError) as missing:
        WavSink(str(tmp_path / "nowhere" / "a.wav"), RATE)
    assert missing.value.code == "cannot_write"
    with pytest.raises(DeviceError) as full:
        write_wav("/dev/full", np.zeros(48000, dtype=np.int16), RATE)
    assert full.value.code == "cannot_write"


# --- two threads, and long ---


class Hammer:
    """Does everything that the control side can do, in random order."""

    def __init__(self, mixer: Mixer, seed: int) -> None:
        self.mixer = mixer
        self.named: set[int] = set()
        self.seen: set[int] = set()
        """Of those: surely rendered."""
        self.reports: list[Report] = []
        self._rng = random.Random(seed)
        self._lists: list[list[Entry]] = [[], []]
        self._sound = tone(0.2)

    def run(self, stop: Callable[[], bool]) -> None:
        while not stop() or len(self.named) <= 100:  # however little of the machine we get
            self._act()
            self.reports += self.mixer.reports()
            ahead_s = max(self.mixer.ahead_s(0), self.mixer.ahead_s(1))
            assert ahead_s < 30.0
            if ahead_s > 5.0:
                for lane in range(2):
                    self._arrange(lane, [])
                self._let_render()

    def _arrange(self, lane: int, entries: list[Entry]) -> None:
        self._lists[lane] = entries
        self.mixer.arrange(lane, entries)

    def _let_render(self) -> None:
        """Wait until a block has begun and ended: the other thread may be asleep."""
        listed = {entry.serial for entries in self._lists for entry in entries}
        clock = self.mixer.clock_frames
        wait_for(lambda: self.mixer.clock_frames > clock + 1000)
        self.seen |= listed

    def _add(self, lane: int, entries: list[Entry], *, follow: bool) -> None:
        """A new track behind ``entries``, or in their midst."""
        rng, serial = self._rng, len(self.named) + 1
        self.named.add(serial)
        joint = None
        at = len(entries) if rng.random() < 0.7 else rng.randrange(len(entries) + 1)
        if follow and at:
            old = entries[at - 1]
            if rng.random() < 0.5:
                joint = Joint(old.serial, rng.random() * 0.1)
            else:
                entries[at - 1] = replace(old, until_s=rng.random() * 0.1)
        entries.insert(at, Entry(serial, rng.choice((0.0, 6.0)), joint))
        self._arrange(lane, entries)
        for _ in range(rng.randrange(4)):
            self.mixer.feed(serial, self._sound[: rng.randrange(9000)], rng.choice((RATE, 32000)))
        if follow or rng.random() < 0.7:
            self.mixer.end(serial, rng.choice((0.0, 0.02)))

    def _act(self) -> None:
        rng, mixer = self._rng, self.mixer
        lane = rng.randrange(2)
        entries = list(self._lists[lane])
        match rng.randrange(10):
            case 0 | 1 | 2:
                self._add(lane, entries, follow=False)
            case 3 | 4:
                self._add(lane, entries, follow=True)
            case 5 if entries:
                mixer.feed(rng.choice(entries).serial, self._sound, RATE)
            case 6:
                self._arrange(lane, [e for e in entries if rng.random() < 0.5])
            case 7:
                mixer.pause(rng.random() < 0.3)
            case 8:
                self._let_render()
            case _:
                rng.shuffle(entries)
                self._arrange(lane, entries if rng.random() < 0.2 else self._lists[lane])
                mixer.mute(rng.random() < 0.2)
                mixer.duck(lane, rng.choice((0.0, -15.0)))


@pytest.mark.parametrize("seed", [1, 2])
def test_two_threads_and_every_command(seed: int) -> None:
    mixer, done, over = new_mixer(), threading.Event(), threading.Event()
    bad: list[str] = []

    def play() -> None:
        rng = random.Random(seed)
        for number in itertools.count():
            if number == 6000:
                done.set()
            if number >= 6000 and over.is_set():
                return
            frames = rng.choice((64, 480, 480, 1000))
            block = mixer.render(frames)
            if len(block) != frames or not np.isfinite(block).all() or abs(block).max() > 1.0:
                bad.append(f"{len(block)} of {frames}, {block.min()}..{block.max()}")

    player = threading.Thread(target=play)
    player.start()
    hammer = Hammer(mixer, seed)
    try:
        hammer.run(done.is_set)
    finally:
        done.set()
        over.set()
        player.join()
    mixer.pause(False)
    for lane in range(2):
        mixer.arrange(lane, [])
    for _ in range(10):
        mixer.render(BLOCK)
    reports = hammer.reports + mixer.reports()
    assert not bad
    assert not mixer.fault
    assert len(hammer.named) > 100
    ends = Counter(r.serial for r in reports if r.kind in ("ended", "cut"))
    assert hammer.seen
    assert hammer.seen <= set(ends) <= hammer.named
    assert set(ends.values()) == {1}
    starts = Counter(r.serial for r in reports if r.kind == "started")
    assert starts
    assert set(starts.values()) == {1}
    assert (mixer.ahead_s(0), mixer.ahead_s(1)) == (0.0, 0.0)
    assert all(lane.fed == lane.consumed for lane in mixer._playing)
    assert not mixer.render(BLOCK).any()


@pytest.mark.slow
def test_memory_does_not_grow() -> None:
    rig, serial = Rig(), 0
    mixer, sound = rig.mixer, tone(0.3, rate_hz=32000)
    lists: list[list[Entry]] = [[], [], []]

    def add(lane: int, joint: Joint | None) -> None:
        nonlocal serial
        serial += 1
        lists[lane] = [*lists[lane][-3:], Entry(serial, joint=joint)]
        mixer.arrange(lane, lists[lane])
        mixer.feed(serial, sound, 32000)

    def play(blocks: int) -> None:
        for _ in range(0, blocks, 50):
            lane = serial % 3
            add(lane, None)
            if serial % 7:
                mixer.end(serial)
            if not serial % 5:
                lists[lane] = []
                mixer.arrange(lane, [])
            elif not serial % 11:
                add(lane, Joint(serial, 0.1))
            elif not serial % 13:
                lists[lane][-1] = replace(lists[lane][-1], until_s=0.1)
                add(lane, None)
            for _ in range(50):
                mixer.render(BLOCK)
            mixer.reports()

    play(10_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    play(100_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2048
    for lane in range(3):
        mixer.arrange(lane, [])
    mixer.render(BLOCK)
    mixer.render(BLOCK)
    assert (len(mixer._sources), len(mixer._named), len(mixer._commands)) == (0, 0, 0)
    assert len(mixer._gone) <= GONE
    for place in mixer._playing:
        kept = (place._queue, place._tracks, place._over, place._tails)
        assert [len(items) for items in kept] == [0, 0, 0, 0]
