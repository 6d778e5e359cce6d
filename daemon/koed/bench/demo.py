"""`koed demo`: a show that ends. Three lines, two voices, a switch in the middle of a line.

Leaves ``demo.wav`` (what the microphone got) and ``demo.png`` (waveform and spectrogram with
lines, voices and the switch marked), and prints when everything was heard.
"""

from __future__ import annotations

import dataclasses
import json
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from koe.protocol import Event
from koed.audio.sinks import write_wav
from koed.config import daemon as config
from koed.testing.rig import Rig, Sound, Watch, rig

FIRST, SECOND = "hana", "ken"
LINES = (
    (FIRST, "Good evening, and welcome to the stream."),
    (FIRST, "This line begins in one voice, and while it is spoken, it goes on in another one."),
    (SECOND, "And this is the last line of the show. Thank you for listening."),
)
SWITCHED_LINE = 1
SWITCH_AFTER_S = 1.1


@dataclass(frozen=True, slots=True)
class Shown:
    """A line as it was heard. Times are monotonic seconds."""

    text: str
    voice: str
    sent_t: float
    started_t: float
    ended_t: float
    onset_t: float


def run(out: Path) -> int:
    """Give the show; 0 if all of it was heard."""
    out.mkdir(parents=True, exist_ok=True)
    shipped = config.resolve(config.Config(), "profiles")
    with rig({"voice": FIRST}, shipped=shipped) as running:
        ready_s = running.wait_ready()
        print(f"a daemon of its own, ready in {ready_s:.2f} s; the show begins", flush=True)
        began_t = time.monotonic()
        watch = running.watch("utterance.", "voice.")
        shown, switched_t = _perform(running, watch)
        watch.close()
        time.sleep(0.2)
        sound = running.sound(began_t)
    lines = [_with_onset(line, sound) for line in shown]
    _table(lines, switched_t)
    write_wav(str(out / "demo.wav"), sound.pcm, sound.rate_hz)
    _picture(out / "demo.png", sound, lines, switched_t)
    print(f"left {out / 'demo.wav'} and {out / 'demo.png'}")
    print(json.dumps(_summary(lines, switched_t, sound)))
    return 0 if all(line.onset_t > 0 for line in lines) else 1


def _perform(running: Rig, watch: Watch) -> tuple[list[Shown], float]:
    """Say the lines; the switch is asked for while the second one sounds."""
    sent, switched_t = [], 0.0
    for voice, text in LINES:
        sent_t = time.monotonic()
        sent.append((running.client.say(text, voice=voice).utterance, voice, text, sent_t))
    watch.wait("utterance.started", sent[SWITCHED_LINE][0])
    time.sleep(SWITCH_AFTER_S)
    switched_t = time.monotonic()
    running.client.set_voice(SECOND, "now")
    shown = []
    for utterance, voice, text, sent_t in sent:
        ended: Event = watch.wait("utterance.finished", utterance)
        started: Any = watch.wait("utterance.started", utterance)
        shown.append(Shown(text, voice, sent_t, started.heard_t, ended.t, 0.0))
    return shown, switched_t


def _with_onset(line: Shown, sound: Sound) -> Shown:
    return dataclasses.replace(line, onset_t=sound.onset_t(line.started_t - 0.005) or 0.0)


def _table(lines: list[Shown], switched_t: float) -> None:
    zero = lines[0].sent_t
    print(f"{'line':44} {'voice':8} {'sent':>7} {'heard':>7} {'ended':>7}  (s)")
    for line in lines:
        text = line.text if len(line.text) <= 44 else line.text[:41] + "..."
        times = (line.sent_t - zero, line.onset_t - zero, line.ended_t - zero)
        print(f"{text:44} {line.voice:8} " + " ".join(f"{t:7.3f}" for t in times))
    print(f"first sound after {1000 * (lines[0].onset_t - zero):.0f} ms")
    print(f"voice switched to {SECOND} in mid-line at {switched_t - zero:.3f} s")


def _summary(lines: list[Shown], switched_t: float, sound: Sound) -> dict[str, Any]:
    return {
        "onset_ms": round(1000 * (lines[0].onset_t - lines[0].sent_t), 1),
        "switched_s": round(switched_t - lines[0].sent_t, 3),
        "seconds": round(len(sound.pcm) / sound.rate_hz, 2),
        "lines": len(lines),
    }


def _picture(path: Path, sound: Sound, lines: list[Shown], switched_t: float) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (wave_axis, spectrum_axis) = plt.subplots(
        2, 1, figsize=(14, 7), sharex=True, layout="constrained"
    )
    samples = sound.pcm / 32768.0
    at_s = np.arange(len(samples)) / sound.rate_hz
    wave_axis.plot(at_s, samples, linewidth=0.3, color="#335577")
    wave_axis.set_ylabel("amplitude")
    with np.errstate(divide="ignore"):  # digital silence has no logarithm
        spectrum_axis.specgram(samples, NFFT=1024, Fs=sound.rate_hz, noverlap=768, vmin=-140)
    spectrum_axis.set_ylim(0, 8000)
    spectrum_axis.set_ylabel("Hz")
    spectrum_axis.set_xlabel("seconds")
    colors = {FIRST: "#e07a9a", SECOND: "#4a9a6a"}
    for number, line in enumerate(lines):
        begin, end = line.onset_t - sound.t0, line.ended_t - sound.t0
        change = switched_t - sound.t0 if number == SWITCHED_LINE else end
        wave_axis.axvspan(begin, change, color=colors[line.voice], alpha=0.25)
        if change != end:
            wave_axis.axvspan(change, end, color=colors[SECOND], alpha=0.25)
        label = textwrap.fill(f"{number + 1}: {line.text}", max(12, int(11 * (end - begin))))
        at = {"va": "top", "fontsize": 7, "transform": wave_axis.get_xaxis_transform()}
        wave_axis.text(begin, 0.98, label, **at)
    for axis in (wave_axis, spectrum_axis):
        axis.axvline(switched_t - sound.t0, color="red", linestyle="--", linewidth=1)
    spectrum_axis.text(switched_t - sound.t0, 7600, f" voice → {SECOND}", color="red", fontsize=9)
    voices = ", ".join(f"{name} ({shade})" for name, shade in ((FIRST, "pink"), (SECOND, "green")))
    wave_axis.set_title(f"what the koed microphone got: {voices}")
    figure.savefig(path, dpi=110)
    plt.close(figure)
