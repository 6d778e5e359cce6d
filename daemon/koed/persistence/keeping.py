"""What outlives koed: what a person decided and which lines waited, kept as they change and brought
back at the start. What they mean is in `state` and `journal`; this meets the disk, the handlers and
the bus.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from koe.protocol import Event, Request, UtteranceDropped, UtteranceQueued, UtteranceStarted
from koed.config.daemon import Config
from koed.errors import KoedError
from koed.events import Bus, LineEnd
from koed.persistence import journal, state
from koed.persistence.journal import Journal, Unfinished
from koed.persistence.state import State
from koed.playback.dispatch import Dispatch, VoiceBook
from koed.playback.inputs import Submit
from koed.playback.lineup import dropped, queued
from koed.service import files

log = logging.getLogger(__name__)

STATE = "state.msgpack"
JOURNAL = "waiting.journal"

Tell = Callable[[KoedError], None]


def home(runtime: Path, folder: Path) -> Path:
    """Where a daemon keeps it below the state ``folder``: there itself, if no daemon of another
    runtime folder has been there before, else in a folder of its own."""
    mine = _name(runtime)
    own = folder / "at" / hashlib.sha256(mine.encode()).hexdigest()[:16]
    if own.is_dir():
        return own
    try:
        data = files.read(folder / STATE, state.MAX_BYTES)
        there = state.from_bytes(data).runtime if data is not None else mine
    except (OSError, ValueError):
        return folder  # it is nobody's
    return folder if there == mine else own


def _name(folder: Path) -> str:
    """A path as text that is UTF-8, whatever its bytes are."""
    return os.fsencode(folder).decode("utf-8", "backslashreplace")


class Keeping:
    """All on the main thread; no disk is waited for. ``number`` gives the next line its number."""

    def __init__(
        self,
        config: Config,
        runtime: Path,
        folder: Path,
        dispatch: Dispatch,
        book: VoiceBook,
        bus: Bus,
        number: Callable[[], int],
        trouble: Tell,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``folder``: the state folder of the user. Touches no disk before `begin`."""
        self._config = config
        self._runtime = runtime
        self._folder = folder
        self._dispatch = dispatch
        self._book = book
        self._bus = bus
        self._number = number
        self._trouble = trouble
        self._wall = wall
        self._clock = clock
        self.state = State()
        self.orderly = True
        """The last one had come to its end: this is no start after a crash."""
        self._restored: list[Request] = []
        """The latches that were asked for at the start and hold still."""
        self._lost: list[Unfinished] = []
        """To be told."""
        self._ignored: list[KoedError] = []
        """The same: files of the one before that could not be read."""
        self._path = folder / STATE
        self._journal: Journal | None = None
        self._failing = False

    # --- at the start -------------------------------------------------------------------------

    def begin(self) -> None:
        """Latch what was latched, before anything can sound: this is the first word of the log."""
        self._path = home(self._runtime, self._folder) / STATE
        kept = self._read()
        self.orderly = kept.orderly
        outputs = self._dispatch.player.lineup.channels
        for name in set(kept.outputs) - set(outputs):
            if kept.outputs[name] != state.Decided():
                log.warning("what was decided for output %r is forgotten: it is gone", name)
        kept = dataclasses.replace(kept, runtime=_name(self._runtime))
        self.state = state.adopt(kept, outputs, self._config.voice)
        for request in state.latches(self.state):
            log.warning("as it was left: %s", state.words(request))
            self._dispatch.ask(request)
            self._restored.append(request)

    def _read(self) -> State:
        try:
            data = files.read(self._path, state.MAX_BYTES)
            kept = State() if data is None else state.from_bytes(data)
        except (OSError, ValueError) as error:
            self._ignore(self._path, "nothing is as it was left, a mute neither", error)
            return State(orderly=False)
        if self._config.state == "fresh" and kept.orderly:
            return state.forgotten(kept)
        return kept

    def resume(self) -> None:
        """The voices, and the lines that waited, when it is known which voices there are. From now
        on a start finds that koed had not come to its end."""
        for request in state.voices(self.state):
            if request.name in self._book.all_names():
                self._dispatch.ask(request)
            else:
                log.warning(
                    "voice %s is not as it was left: there is none of that name", request.name
                )
        self._write(dataclasses.replace(self.state, orderly=False))
        entries = self._entries()
        self._journal = Journal(self._path.with_name(JOURNAL), self._journal_failed, self._clock)
        self._bus.listen(self._hear)
        # on disk they stay until they are told: this start may be killed before it can
        for entry in entries:
            self._journal.keep(entry)
        self._journal.look(())
        self._lost = [entry for entry in entries if not self._bring_back(entry)]

    def _entries(self) -> list[Unfinished]:
        """Under numbers of this start."""
        path = self._path.with_name(JOURNAL)
        try:
            data = files.read(path, journal.MAX_BYTES)
            entries = [] if data is None else journal.read(data, journal.machine())
        except (OSError, ValueError) as error:
            self._ignore(path, "no line comes back", error)
            return []
        return [
            dataclasses.replace(e, line=dataclasses.replace(e.line, utterance=self._number()))
            for e in entries
        ]

    def _ignore(self, path: Path, so: str, error: OSError | ValueError) -> None:
        reason = getattr(error, "strerror", None) or error
        ignored = KoedError(
            "state_unreadable", f"{path} is ignored, {so}: {reason}", "it is written anew"
        )
        log.warning("%s", ignored)
        self._ignored.append(ignored)

    def _bring_back(self, entry: Unfinished) -> bool:
        queue, line = self._config.queue, entry.line
        lineup = self._dispatch.player.lineup
        known = line.output in lineup.channels and line.voice in self._book.all_names()
        if not (queue.restore and known):
            return False
        if not journal.restorable(entry, self._clock(), queue.restore_s):
            return False
        self._dispatch.ask(Submit(line))
        return True

    def tell_lost(self) -> None:
        """What does not come back, each line of it, when those who listen are there again."""
        ignored, self._ignored = self._ignored, []
        for error in ignored:
            self._bus.trouble(error)
        lost, self._lost = self._lost, []
        if lost:
            log.warning("%d lines are lost: koed had been killed", len(lost))
        for line in (entry.line for entry in lost):
            self._bus.publish(queued(line))
            self._bus.publish(dropped(line, "lost"))

    # --- while it runs ------------------------------------------------------------------------

    def carried_out(self, request: Request) -> None:
        """A person asked for something and has got it."""
        decided = state.after(self.state, request, self._wall())
        if decided == self.state:
            return
        self.state = decided
        still = state.latches(decided)
        self._restored = [latch for latch in self._restored if latch in still]
        self._write(dataclasses.replace(decided, orderly=False))

    def turn(self) -> None:
        """At each turn of the main loop."""
        if self._journal is not None:
            self._journal.look(self._dispatch.player.lineup.queue.waiting())

    def let_go(self, utterance: int) -> None:
        """Nobody was promised this line: a next start neither speaks it nor calls it lost."""
        if self._journal is not None:
            self._journal.drop(utterance)

    def _hear(self, event: Event) -> None:
        if self._journal is None:
            return
        lineup = self._dispatch.player.lineup
        match event:
            case UtteranceQueued():
                line = lineup.queue.find(event.utterance)
                if line is not None:
                    self._journal.add(line, whole=not lineup.pieces(line.utterance))
                if self._journal.stale:  # now: whoever asked is answered before the turn is over
                    self._journal.look(lineup.queue.waiting())
            case UtteranceStarted():
                self._journal.begin(event.utterance, event.text)
            case UtteranceDropped(reason="replaced"):
                self._journal.drop(event.utterance, reorder=True)
            case _ if isinstance(event, LineEnd):
                self._journal.drop(event.utterance)

    def end(self) -> None:
        """koed has come to its end in order."""
        self.tell_lost()  # it ends before it was ready
        if self._journal is not None:
            self._journal.forget()
            self._journal = None
        fresh = self._config.state == "fresh"
        self._write(dataclasses.replace(state.forgotten(self.state) if fresh else self.state,
                                        orderly=True))  # fmt: skip

    # --- for people ---------------------------------------------------------------------------

    def restored(self) -> list[str]:
        """What is silent since the start because it was left so."""
        return [state.words(request) for request in self._restored]

    def status(self) -> dict[str, Any]:
        """For the `status` reply."""
        panic = self.state.panic
        told = None
        if panic is not None:
            since = datetime.datetime.fromtimestamp(panic.since).astimezone()
            told = {"by": panic.by, "since": since.isoformat(timespec="seconds")}
        return {"panic": told, "state_file": str(self._path)}

    # --- the disk -----------------------------------------------------------------------------

    def _write(self, decided: State) -> None:
        try:
            files.write(self._path, state.to_bytes(decided))
        except OSError as error:
            if not self._failing:
                self._unwritable("state", f"{self._path}: {error.strerror or error}")
            self._failing = True
        else:
            self._failing = False

    def _journal_failed(self, message: str) -> None:
        self._unwritable("journal", message)

    def _unwritable(self, what: str, message: str) -> None:
        hint = "after a crash koed would not know how it was left, or which lines waited"
        self._trouble(
            KoedError(f"{what}_unwritable", f"the {what} cannot be kept: {message}", hint)
        )
