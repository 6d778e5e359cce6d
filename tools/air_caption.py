"""`caption_ms`: how much later (or earlier) a caption is in OBS than its word at the monitor.

The voice is of pure tones, exact to the sample: where a line begins in what the microphone's
monitor gives, each of its words is known. The caption is read back from OBS as fast as it answers.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from koed.errors import KoedError
from koed.integrations.obs.link import Link
from koed.testing.rig import Rig, rig
from tools.counterparts.obs import ObsStudio
from tools.counterparts.pulse import Ear, PulseServer

CHAR_MS = 40.0
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
TONE = {"engine": "tone", "lang": "en",
        "settings": {"hz": 400, "char_ms": CHAR_MS, "amplitude": 0.25}}  # fmt: skip
SOURCE = "koed caption"
SETTLE_S = 1.0
TIMEOUT_S = 20.0


class Reader:
    """Reads a text source over and over, on a connection and a thread of its own."""

    def __init__(self, link: Link) -> None:
        self.changes: list[tuple[float, str]] = []
        """(when it was first seen, text); between the question and the answer before."""
        self._link = link
        self._ended = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        before = ""
        while not self._ended:
            asked_t = time.monotonic()
            text = self._link.call("GetInputSettings", inputName=SOURCE)["inputSettings"]["text"]
            if text != before:
                self.changes.append(((asked_t + time.monotonic()) / 2, text))
                before = text
            time.sleep(0.002)

    def wait_for(self, text: str, since_t: float) -> float:
        """When a caption with this text at its end came. Raises `KoedError` ``bench_timeout``."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            for t, shown in list(self.changes):
                if t >= since_t and shown.replace("\n", " ").endswith(text):
                    return t
            time.sleep(0.01)
        raise KoedError("bench_timeout", f"no caption {text!r} within {TIMEOUT_S:g} s")

    def close(self) -> None:
        self._ended = True
        self._thread.join()


def measure(n: int) -> dict[str, Any]:
    """``{"caption_ms": [...]}``: at least ``n`` signed differences, later = positive."""
    with PulseServer() as sound, ObsStudio(sound.environ) as obs, obs.link() as link:
        scene = link.call("GetCurrentProgramScene")["currentProgramSceneName"]
        link.call(
            "CreateInput", sceneName=scene, inputName=SOURCE, inputKind="text_ft2_source_v2",
            inputSettings={"text": ""}, sceneItemEnabled=True,
        )  # fmt: skip
        config = {
            "voice": "tone",
            "audio": {"device": "pulse"},
            # one segment: a space between two of them is not spoken, and words would be nearer
            "text": {"first_segment_chars": 100, "segment_chars": 100},
            "obs": obs.config() | {"captions": {"main": {"linger_s": 0.1, "width": 200}}},
        }
        environ = sound.environ | obs.koed_environ()
        with rig(config, {"tone": TONE}, environ=environ) as running:
            running.wait_ready()
            with Ear("koed.monitor", sound.environ) as ear:
                ear.wait()
                _wait_connected(running)
                reader = Reader(link)
                try:
                    samples: list[float] = []
                    while len(samples) < n:
                        samples += _one_line(running, ear, reader)
                finally:
                    reader.close()
    return {"caption_ms": samples}


def _wait_connected(running: Rig) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        status = running.client.status()["companions"]["obs"]
        if status["connected"] and not status["captions"]["missing"]:
            time.sleep(SETTLE_S)
            return
        time.sleep(0.05)
    raise KoedError("bench_timeout", "koed did not connect to OBS", running.log()[-1000:])


def _one_line(running: Rig, ear: Ear, reader: Reader) -> list[float]:
    """Differences in milliseconds, one for each word."""
    text = " ".join(WORDS)
    since_t = time.monotonic()
    running.client.say(text, wait=True)
    seen = [reader.wait_for(" ".join(WORDS[: i + 1]), since_t) for i in range(len(WORDS))]
    onset_t = ear.first_loud_t(since_t)
    if onset_t is None:
        raise KoedError("deaf", "the line was not heard at the monitor")
    starts = [len(" ".join(WORDS[:i])) + (i > 0) for i in range(len(WORDS))]
    time.sleep(0.3)  # the caption goes
    return [1000 * (t - onset_t) - CHAR_MS * start for t, start in zip(seen, starts, strict=True)]
