"""What Bouyomi-chan can do, done by koed. Both doors end here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from koe import protocol
from koe.aio import AsyncClient
from koe.bridge.bouyomi.wire import Talk
from koe.bridge.notes import Notes
from koe.protocol import Priority, Request, WireError
from koe.transport.connection import NoDaemon
from koe.wire.results import QueuedLine, QueueResult

NO_TASK = -1
"""The number of the task that sounds while none does. Not known from the original."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How lines are said."""

    voices: Mapping[int, str]
    """Voice numbers that were given a profile."""
    priority: Priority = "chatter"
    output: str | None = None


class Commands:
    """Every method raises `NoDaemon` and `Refused` of `koe.client`.

    One request at a time, in the order in which they came: a viewer that says a line and skips it
    does so on two connections.
    """

    def __init__(self, koed: AsyncClient, manner: Manner, notes: Notes) -> None:
        self._koed = koed
        self._manner = manner
        self._notes = notes
        self._turn = asyncio.Lock()
        self._absent = False

    async def talk(self, talk: Talk) -> int:
        """Say a line; its number."""
        async with self._turn:
            name = await self._name(talk.voice)
            try:
                return await self._say(talk.text, name)
            except WireError as error:
                if name is None or error.code not in ("unknown_voice", "voice_broken"):
                    raise
                self._notes.once(f"voice number {talk.voice}: {error.message}; the current speaks")
                return await self._say(talk.text, None)

    async def _say(self, text: str, voice: str | None) -> int:
        manner = self._manner
        request = protocol.Say(
            text=text, voice=voice, priority=manner.priority, output=manner.output
        )
        return int((await self._ask(request)).get("utterance", 0))

    async def _name(self, number: int) -> str | None:
        """The profile of a voice number; None = the current voice."""
        if number in self._manner.voices:
            return self._manner.voices[number]
        if number == 0:
            return None
        names = _usable(await self._ask(protocol.Voices()))
        return names[number - 1] if number <= len(names) else None

    async def control(self, verb: type[Request]) -> None:
        """Pause, resume, skip or clear."""
        async with self._turn:
            await self._ask(verb(output=self._manner.output))  # type: ignore[call-arg]

    async def paused(self) -> bool:
        async with self._turn:
            return any(state.get("paused") for state in await self._outputs())

    async def _outputs(self) -> list[dict[str, Any]]:
        outputs = (await self._ask(protocol.Status())).get("outputs") or {}
        return [s for name, s in outputs.items() if self._manner.output in (None, name)]

    async def playing(self) -> bool:
        """Does a line sound, or is one about to? A program that says a line and waits for its end
        asks before the first sound of it has been made."""
        async with self._turn:
            queue = await self._queue()
            if self._ours(queue.speaking) or not self._ours(queue.waiting):
                return bool(self._ours(queue.speaking))
            states = await self._outputs()
        return any(
            not (
                state.get("paused")
                or state.get("muted")
                or state.get("mode") == "all_muted"
                or state.get("held") == "panic"
            )
            for state in states
        )

    async def sounding(self) -> int:
        """The number of the line that is being spoken; `NO_TASK` if none is."""
        async with self._turn:
            lines = self._ours((await self._queue()).speaking)
        return lines[0].utterance if lines else NO_TASK

    async def waiting(self) -> int:
        """How many lines wait."""
        async with self._turn:
            return len(self._ours((await self._queue()).waiting))

    async def voices(self) -> list[tuple[int, str]]:
        """Voice numbers and their profiles; 0 comes first."""
        async with self._turn:
            result = await self._ask(protocol.Voices())
        named = dict(enumerate(_usable(result), 1)) | dict(self._manner.voices)
        return sorted({0: str(result.get("current") or "")}.items() | named.items())

    async def _queue(self) -> QueueResult:
        return QueueResult.read(await self._ask(protocol.Queue()))

    def _ours(self, lines: tuple[QueuedLine, ...]) -> list[QueuedLine]:
        return [line for line in lines if self._manner.output in (None, line.output)]

    async def _ask(self, request: Request) -> dict[str, Any]:
        try:
            result = await self._koed.ask(request)
        except NoDaemon as error:
            if not self._absent:
                self._absent = True
                self._notes.tell(f"{error.message}; lines are lost until it is back")
            raise
        if self._absent:
            self._absent = False
            self._notes.tell("koed is back")
        return result


def _usable(voices: Mapping[str, Any]) -> list[str]:
    entries = voices.get("voices") or ()
    return [str(entry.get("name")) for entry in entries if not entry.get("error")]
