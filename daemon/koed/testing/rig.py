"""A daemon of one's own: real process, real sockets, clocked null device.

What is heard is the sound at the sink: the daemon keeps what its device played, frame by frame,
and `Rig.sound` fetches it. A frame number becomes a time by the output's anchor (a frame and the
monotonic time at which the device took it), so that nothing is judged at a socket.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from koe.client import Client
from koe.protocol import Event, Save
from koe.wire.results import Page
from koed.errors import KoedError

SILENT = 33
"""int16: below -60 dB of full scale a sample counts as silence."""

SMALL = {"KOED_VOICE": "small"}
PATIENCE_S = 40.0
"""For an answer: a machine that has other things to do may stand still for seconds."""

TONE = {"engine": "tone", "lang": "en", "settings": {"hz": 400, "char_ms": 40, "amplitude": 0.25}}
TONES = {
    "tone-a": TONE,
    "tone-b": TONE | {"settings": TONE["settings"] | {"hz": 1000}},  # type: ignore[operator]
}


@dataclass(frozen=True, slots=True)
class Sound:
    """What the sink got: ``pcm`` int16 [S]; frame ``first`` was taken at ``t0`` seconds."""

    pcm: NDArray[np.int16]
    first: int
    rate_hz: int
    t0: float

    def later(self, frames: int) -> Sound:
        """Without the first so many."""
        first, t0 = self.first + frames, self.t0 + frames / self.rate_hz
        return Sound(self.pcm[frames:], first, self.rate_hz, t0)

    def t(self, index: int) -> float:
        return self.t0 + index / self.rate_hz

    def index(self, t: float) -> int:
        return max(0, int((t - self.t0) * self.rate_hz))

    def onset_t(self, after_t: float) -> float | None:
        """When the first sample that is not silence was played, after ``after_t``."""
        begin = self.index(after_t)
        loud = np.flatnonzero(np.abs(self.pcm[begin:].astype(np.int32)) > SILENT)
        return self.t(begin + int(loud[0])) if len(loud) else None

    def last_t(self, after_t: float, before_t: float) -> float | None:
        """When the last sample that is not silence was played in a span of time."""
        begin = self.index(after_t)
        part = self.pcm[begin : self.index(before_t)].astype(np.int32)
        loud = np.flatnonzero(np.abs(part) > SILENT)
        return self.t(begin + int(loud[-1])) if len(loud) else None


class Watch:
    """Collects the daemon's events on a thread of its own; misses none from its making on."""

    def __init__(self, directory: str, topics: tuple[str, ...]) -> None:
        self.events: list[Event] = []
        self._changed = threading.Condition()
        self._ended = False
        self._client = Client(directory, timeout_s=PATIENCE_S)
        self._stream = self._client.events((*topics, "state"))
        # a subscription takes its time to arrive: it is there when it brings the first event
        while self._stream.next(0.05) is None:
            self._client.reload()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended:
            event = self._stream.next(0.1)
            if event is not None:
                with self._changed:
                    self.events.append(event)
                    self._changed.notify_all()

    def wait(self, name: str, utterance: int | None = None, timeout_s: float = 60.0) -> Event:
        """The first event of that name (and utterance) so far or to come."""

        def fits(event: Event) -> bool:
            return event.event == name and (
                utterance is None or getattr(event, "utterance", None) == utterance
            )

        with self._changed:
            self._changed.wait_for(lambda: any(map(fits, self.events)), timeout_s)
            found = next(filter(fits, self.events), None)
        if found is None:
            raise KoedError("bench_timeout", f"no event {name} ({utterance}) in {timeout_s:g} s")
        return found

    def close(self) -> None:
        self._ended = True
        self._thread.join()
        self._client.close()


class Rig:
    """A running daemon with profiles and configuration of its own. Use `rig`."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], started_at: float) -> None:
        self.folder = folder
        self.process = process
        self.started_at = started_at
        self.answered_s = 0.0
        """From process start to the first answer to ``status``."""
        self.client = Client(str(folder / "run"), timeout_s=PATIENCE_S)

    def wait_ready(self, timeout_s: float = 120.0) -> float:
        """Seconds from process start to READY."""
        while time.monotonic() - self.started_at < timeout_s:
            if self.process.poll() is not None:
                raise KoedError("bench_daemon", "the daemon ended", self.log()[-2000:])
            with contextlib.suppress(Exception):  # not there yet
                status = self.client.status()
                self.answered_s = self.answered_s or time.monotonic() - self.started_at
                if status["ready"]:
                    return time.monotonic() - self.started_at
            time.sleep(0.02)
        raise KoedError("bench_daemon", "the daemon was not ready in time", self.log()[-2000:])

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def watch(self, *topics: str) -> Watch:
        return Watch(str(self.folder / "run"), topics)

    def mark(self, output: str | None = None) -> int:
        """The frame that the device takes next: what is asked for from now on sounds after it."""
        outputs = self.client.status()["outputs"]
        return int(outputs[output or next(iter(outputs))]["anchor"][0])

    def sound(self, since_t: float, output: str | None = None) -> Sound:
        """What was played since a moment of monotonic time."""
        asked_s = time.monotonic() - since_t + 2.0  # it plays on until the answer
        sound = self._whole(output, list(self.client.pages(output, asked_s)))
        return sound.later(max(0, round((since_t - sound.t0) * sound.rate_hz)))

    def sound_from(self, mark: int, output: str | None = None) -> Sound:
        """What was played since a `mark`. A clock that stood still puts what came before a moment
        of time after it; frames keep their order."""
        pages: list[Page] = []
        while not pages or pages[-1].next_frame < pages[0].end_frame:
            at = pages[-1].next_frame if pages else mark
            pages.append(Page.read(self.client.ask(Save(output=output, from_frame=at))))
        return self._whole(output, pages)

    def _whole(self, output: str | None, pages: list[Page]) -> Sound:
        outputs = self.client.status()["outputs"]
        told = outputs[output or next(iter(outputs))]
        frame, t = told["anchor"]
        pcm = np.frombuffer(b"".join(page.pcm for page in pages), dtype=np.int16)
        first = pages[0].first_frame
        return Sound(pcm, first, told["rate_hz"], t + (first - frame) / told["rate_hz"])

    def rss_mb(self) -> float:
        """Resident memory of the stage, its workers not counted."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def cpu_s(self) -> float:
        """Processor time of the stage so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def launch(folder: Path, environ: dict[str, str] | None = None, **more: Any) -> Rig:
    """A daemon in a folder that has its ``koed.yaml``; of the voices that come with koed it has the
    embedded ones, unless ``environ`` says otherwise. ``more`` is for `subprocess.Popen`, which
    else has the daemon write into the folder's log, from its beginning."""
    command = [sys.executable, "-m", "koed.cli", "run", "--config", str(folder / "koed.yaml")]
    home = {"KOED_RUNTIME_DIR": str(folder / "run"), "XDG_STATE_HOME": str(folder / "state")}
    with (folder / "log").open("wb") as log:
        started_at = time.monotonic()
        own: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log} | more
        environ = os.environ | SMALL | home | (environ or {})
        process = subprocess.Popen(command, env=environ, **own)
    return Rig(folder, process, started_at)


@contextlib.contextmanager
def rig(
    config: dict[str, Any] | None = None,
    profiles: dict[str, dict[str, Any]] | None = None,
    shipped: Path | None = None,
    environ: dict[str, str] | None = None,
) -> Iterator[Rig]:
    """A daemon on the null device (unless ``config`` says otherwise) with the ``profiles`` given,
    or with the ``shipped`` folder. ``environ`` is added to the process's environment."""
    with tempfile.TemporaryDirectory(prefix="koed-bench-") as name:
        folder = Path(name)
        (folder / "profiles").mkdir()
        for voice, values in (profiles or {}).items():
            (folder / "profiles" / f"{voice}.yaml").write_text(yaml.safe_dump(values))
        settings: dict[str, Any] = {
            "profiles": str(shipped) if shipped else "profiles",
            "audio": {"device": "null"},
            "transcript": {"path": ""},
            "greeting": "",
        }
        for key, value in (config or {}).items():
            settings[key] = settings.get(key, {}) | value if isinstance(value, dict) else value
        (folder / "koed.yaml").write_text(yaml.safe_dump(settings))
        running = launch(folder, environ)
        try:
            yield running
        finally:
            running.stop()
