"""``koed replay``: what the player did before a fault, step by step; and the files it reads.

A file holds texts, so only its owner can read it. At most five are kept, one a minute is written.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from koe.protocol import Event, Trouble
from koed.errors import KoedError
from koed.playback import effects, inputs
from koed.playback.effects import Effect
from koed.playback.recorder import BadRecording, Recorder, StepRecording, read
from koed.service import files

log = logging.getLogger(__name__)

KEPT_FILES = 5
PAUSE_S = 60.0
"""Between two files: a fault that comes again and again is told by the first one."""
MAX_FILE_BYTES = 8_000_000
HINT = "koed writes such files when it tells of trouble, below its state folder"
NAME = re.compile(r"\d{8}-\d{6}-[a-z0-9_]+\.replay")


class ReplayWriter:
    """Listens to the bus and writes what the player was told before a trouble."""

    def __init__(
        self, recorder: Recorder, folder: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._recorder = recorder
        self._folder = folder
        self._clock = clock
        self._written_at = float("-inf")
        self._writing: threading.Thread | None = None

    def join(self) -> None:
        """Wait until the last file is written."""
        if self._writing is not None:
            self._writing.join()

    def listen(self, event: Event) -> None:
        if not isinstance(event, Trouble) or self._clock() - self._written_at < PAUSE_S:
            return
        self._written_at = self._clock()
        code = re.sub(r"[^a-z0-9_]", "_", event.code)[:40]
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{code or 'trouble'}.replay"
        data = self._recorder.dump()
        self._writing = threading.Thread(
            target=self._write, args=(name, data), name="replay", daemon=True
        )
        self._writing.start()

    def _write(self, name: str, data: bytes) -> None:
        """On a thread of its own: a disk may take its time."""
        try:
            path = self._folder / name
            files.write(path, data)
            old = sorted(p for p in self._folder.iterdir() if NAME.fullmatch(p.name))
            for other in old[:-KEPT_FILES]:
                files.remove(other)
        except OSError as error:
            log.warning("what led to the trouble is not kept: %s", error)
        else:
            log.info("what led to it: koed replay %s", path)


def load(path: Path) -> StepRecording:
    """Raises `KoedError` ``bad_recording``."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KoedError("bad_recording", f"cannot read {path}: {error.strerror}", HINT) from error
    try:
        return read(data[:MAX_FILE_BYTES])
    except BadRecording as error:
        raise KoedError("bad_recording", f"{path}: {error}", HINT) from error


def show(path: Path, as_json: bool) -> Iterator[str]:
    """The steps as lines, or as JSON a line each; raises `KoedError` ``bad_recording``."""
    recording = load(path)
    try:
        yield from _show(recording, as_json)
    except BadRecording as error:
        raise KoedError("bad_recording", f"{path}: {error}", HINT) from error


def _show(recording: StepRecording, as_json: bool) -> Iterator[str]:
    if recording.standing and not as_json:
        yield f"left out, they stood on a lane already: lines {list(recording.standing)}"
    for moment, item, done in recording.replay():
        told = [effect for effect in done if effect != effects.Answer()]
        if as_json:
            step = {"t": moment.now, "input": _words(item), "effects": [_words(e) for e in told]}
            yield json.dumps(step, ensure_ascii=False)
        elif told or not isinstance(item, inputs.Tick):
            yield f"{moment.now:12.3f}  {_words(item)}"
            yield from (f"{'':14}-> {_words(effect)}" for effect in told)


def _words(value: Any | Effect) -> str:
    """Short enough to be read: the name, and the fields that are not as usual."""
    if isinstance(value, effects.Play):
        return f"Play(serial={value.serial}, {value.piece.seconds:.2f} s)"
    if isinstance(value, effects.Arrange):
        serials = [entry.serial for entry in value.entries]
        return f"Arrange(lane={value.lane}, {serials})"
    if isinstance(value, effects.Publish):
        return f"Publish {value.event.event} {value.event.to_map()}"
    return repr(value)
