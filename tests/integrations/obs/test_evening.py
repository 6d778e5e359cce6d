"""An evening on air: the sound server restarts, koed is killed, its devices are unloaded, OBS is
restarted. What was said is in the recording or named in an event, and nothing else is in it.

``KOED_EVENING_MINUTES=30`` makes it as long as one; each six minutes have a round of all that.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from koe.protocol import (
    DeviceBack,
    DeviceLost,
    ObsHears,
    UtteranceDropped,
    UtteranceFinished,
    UtteranceQueued,
    UtteranceStarted,
)
from koed.testing.rig import rig
from tests.integrations.obs import earshot
from tests.integrations.obs.earshot import PITCHES_HZ, Ear, Said, Span
from tests.integrations.obs.evening import (
    MUSIC_HZ,
    PROFILES,
    STREET_HZ,
    Desktop,
    Evening,
    Koed,
    Studio,
)
from tests.rigs.sound import sound_server
from tools import evidence
from tools.counterparts.obs import ObsStudio
from tools.evidence import RATE_HZ, Sound

MINUTES = float(os.environ.get("KOED_EVENING_MINUTES", "1.5"))
ROUNDS = max(1, round(MINUTES / 6))
DEEDS = (
    "restart_server", "kill_koed", "restart_koed", "unload_sink", "unload_microphone",
    "restart_obs",
)  # fmt: skip


@pytest.mark.slow
def test_what_was_said_is_in_the_recording_or_told(tmp_path: Path) -> None:
    evening = spend(tmp_path)
    recordings = evening.studio.recordings
    sounds = [evidence.sound_of(one.file) for one in recordings]
    ears = [Ear(sound, one.began_t) for sound, one in zip(sounds, recordings, strict=True)]
    events = evening.events()
    away = earshot.spans(events, evening.koed.killed_t)
    away += [
        Span(min(before.ended_t, ear.ended_t), after.began_t, "OBS did not record")
        for ear, (before, after) in zip(ears, itertools.pairwise(recordings), strict=False)
    ]
    verdicts = earshot.judge(evening.talker.said, events, away, ears)
    sounds += [pcm_of(file) for file in evening.desktop.heard]
    foreign_s = [earshot.foreign_s(sound, STREET_HZ, MUSIC_HZ) for sound in sounds]
    report(evening, verdicts, foreign_s)
    assert [v for v in verdicts if v.outcome == earshot.LOST] == []
    is_heard_after_each_deed(evening, verdicts)
    assert max(foreign_s) <= evening.leak_s


def pcm_of(file: Path) -> Sound:
    return np.asarray(np.fromfile(file, "<i2") / 32768, np.float32)


def spend(folder: Path) -> Evening:
    """The evening; what it leaves, and its logs, are in ``folder``."""
    with (
        sound_server() as sound,
        contextlib.closing(Desktop(sound, folder)) as desktop,
        ObsStudio(sound.env) as obs,
    ):
        studio = Studio(obs)
        config = {"voice": "v0", "audio": {"device": "pulse"}, "obs": obs.config()}
        environ = sound.env | obs.koed_environ()
        with rig(config, PROFILES, environ=environ) as daemon:
            daemon.wait_ready()
            evening = Evening(sound, studio, Koed(daemon, environ), desktop)
            try:
                _give(evening)
                evening.finish()
            finally:
                evening.close()
                (folder / "koed.log").write_text(daemon.log())
                (folder / "obs.log").write_text(obs.log())
                told = [json.dumps(event.to_map()) for event in evening.events()]
                (folder / "events.jsonl").write_text("\n".join(told))
        for one in studio.recordings:
            one.file = one.file.rename(folder / one.file.name)
        return evening


def _give(evening: Evening) -> None:
    evening.desktop.sounds()
    due, apart_s = time.monotonic(), MINUTES * 60 / (ROUNDS * len(DEEDS) + 1)
    for deed in DEEDS * ROUNDS:
        due += apart_s
        evening.goes_on(due)
        print(f"{deed}...", flush=True)
        evening.do(deed)
    evening.goes_on(due + apart_s)
    evening.desktop.sounds()


def report(evening: Evening, verdicts: list[earshot.Verdict], foreign_s: list[float]) -> None:
    print(f"{len(verdicts)} lines were accepted, {evening.talker.refused} were not")
    for outcome, number in earshot.counts(verdicts).items():
        print(f"  {number:4} {outcome}")
    for verdict in verdicts:
        if verdict.outcome != "heard":
            print(
                f"  {verdict.line.text}: {verdict.outcome}; heard {verdict.heard_s:.2f} of "
                f"{verdict.line.lasts_s:.2f} s, {verdict.began_t:.2f} to {verdict.ended_t:.2f}"
            )
    for t, deed in evening.deeds:
        print(f"  {t:.2f} {deed} is over")
    recorders = len(evening.studio.recordings), len(evening.desktop.heard)
    told = [round(seconds, 2) for seconds in foreign_s]
    print(f"foreign sound, in seconds: {told}, of OBS and another {recorders}")
    print(f"  {evening.leak_s:.2f} are allowed, as devices were unloaded")


def is_heard_after_each_deed(evening: Evening, verdicts: list[earshot.Verdict]) -> None:
    ends = [t for t, _ in evening.deeds[1:]] + [float("inf")]
    for (over_t, deed), next_t in zip(evening.deeds, ends, strict=True):
        heard = [v for v in verdicts if v.outcome == "heard" and over_t < v.began_t < next_t]
        assert heard, f"nothing was heard after {deed}"


# --- the judge himself --------------------------------------------------------------------------


def tone(hz: float, seconds: float) -> Sound:
    return np.asarray(0.2 * np.sin(2 * np.pi * hz * np.arange(seconds * RATE_HZ) / RATE_HZ), "f4")


def silence(seconds: float) -> Sound:
    return np.zeros(round(seconds * RATE_HZ), np.float32)


@dataclass
class Show:
    """A recording that begins at 100 s: one line a pitch, from 10 s on, 20 s apart."""

    lines: list[Said]
    sounding_s: list[float]

    def ear(self) -> Ear:
        parts = [silence(10.0)]
        for line, seconds in zip(self.lines, self.sounding_s, strict=True):
            parts += [tone(line.pitch_hz, seconds), silence(20.0 - seconds)]
        return Ear(np.concatenate(parts), 100.0)


def lines(number: int) -> list[Said]:
    return [Said("x" * 24 + str(n), PITCHES_HZ[n], 110.0 + 20.0 * n) for n in range(number)]


def told(line: Said, number: int, *, end: bool = True, unheard: str = "") -> list[Any]:
    common: dict[str, Any] = {"utterance": number, "output": "main", "boot": "a"}
    events: list[Any] = [
        UtteranceQueued(text=line.text, voice="v", t=line.t, **common),
        UtteranceStarted(text=line.text, voice="v", heard_t=line.t, t=line.t, **common),
    ]
    if end:
        events.append(UtteranceFinished(t=line.t + 1.0, unheard=unheard, **common))
    return events


def test_a_line_that_nobody_tells_of_is_found() -> None:
    said = lines(6)
    whole = said[0].lasts_s
    show = Show(said, [whole, 0.85 * whole, 0.5 * whole, 0.0, 0.0, 0.0])
    events = [event for n, line in enumerate(said[:4]) for event in told(line, n)]
    events += told(said[4], 4, unheard="it is muted")
    lost: dict[str, Any] = {"utterance": 9, "output": "main", "boot": "b"}
    events.append(UtteranceQueued(text=said[5].text, voice="v", t=300.0, **lost))
    events.append(UtteranceDropped(reason="lost", t=300.0, **lost))
    verdicts = earshot.judge(said, events, [Span(169.0, 170.5, "device.lost")], [show.ear()])
    assert [verdict.outcome for verdict in verdicts] == [
        "heard", "heard", earshot.LOST, "device.lost", "unheard: it is muted", "dropped: lost",
    ]  # fmt: skip
    assert earshot.judge(said[:1], [], [], [])[0].outcome == earshot.LOST


def test_a_line_that_a_machine_has_torn_is_told_apart() -> None:
    (line,) = lines(1)
    for later_s, part, outcome in (
        (0.6, 0.75, earshot.TORN), (0.6, 0.4, earshot.LOST), (0.0, 0.75, earshot.LOST),
    ):  # fmt: skip
        *begun, end = told(line, 0)
        end = dataclasses.replace(end, t=line.t + line.lasts_s + later_s)
        ear = Show([line], [part * line.lasts_s]).ear()
        assert earshot.judge([line], [*begun, end], [], [ear])[0].outcome == outcome


def test_spans_begin_where_it_was_lost_and_end_where_obs_hears() -> None:
    events = [
        DeviceLost(t=10.0, output="main", code="x", message=""),
        DeviceBack(t=12.0, output="main", device="x"),
        ObsHears(t=15.0, hears=False),
        ObsHears(t=20.0, hears=True),
        ObsHears(t=33.0, hears=True),
    ]
    found = [(span.from_t, span.to_t) for span in earshot.spans(events, [30.0])]
    assert sorted(found) == [(10.0, 20.0), (10.0, 20.0), (30.0, 33.0)]


def test_a_foreign_tone_is_heard_under_a_voice_and_a_torn_voice_is_none() -> None:
    voice = np.concatenate([tone(hz, 0.3) for hz in PITCHES_HZ] + [silence(0.1)])
    assert earshot.foreign_s(voice, STREET_HZ, MUSIC_HZ) == 0.0
    voice[16000:16800] += tone(MUSIC_HZ, 0.05)
    assert 0.04 < earshot.foreign_s(voice, STREET_HZ, MUSIC_HZ) < 0.08
