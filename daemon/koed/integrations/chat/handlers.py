"""Carries out ``chat`` and ``chat_delete``."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from koe.protocol import Chat, ChatDelete, ChatLine, Event, ModeChanged, Say
from koed.config.daemon import Config
from koed.errors import KoedError
from koed.events import Bus, LineEnd, outcome
from koed.integrations.chat import viewers as viewer_file
from koed.integrations.chat.ledger import Ledger, LedgerEntry, copy_of
from koed.integrations.chat.policy import Policy, Scene, Verdict
from koed.playback.dispatch import Dispatch
from koed.playback.inputs import Amend, Withdraw
from koed.server.handlers import Handlers
from koed.voices.catalog import VoiceBook

LOOK_S = 0.5
"""So often it is looked which voices there are."""
SAVE_S = 30.0
MEASURED = 10_000
EVENT_CHARS = 500

Said = Literal["said", "merged", "held", "dropped"]


class ChatHandlers:
    """A companion, too: its turn keeps the viewers' voices on disk."""

    def __init__(
        self,
        config: Config,
        handlers: Handlers,
        dispatch: Dispatch,
        book: VoiceBook,
        bus: Bus,
        state: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config.chat
        self._handlers = handlers
        self._dispatch = dispatch
        self._lineup = dispatch.player.lineup
        self._book = book
        self._bus = bus
        self._clock = clock
        self._file = state / "viewers.json"
        self.policy = Policy(config.chat, config.text)
        self._viewers = self.policy.viewers
        self._ledger = Ledger()
        self._counts: Counter[str] = Counter()
        self._took_ms: deque[float] = deque(maxlen=MEASURED)
        """What the last decisions took."""
        self._looked_at = float("-inf")
        self._saved_at = float("-inf")
        self._missing: set[str] = set()
        self._save_failed = False
        bus.listen(self._listen)
        handlers.add("chat", self._chat)
        handlers.add("chat_delete", self._chat_delete)

    # --- a companion's life ------------------------------------------------------------------

    def start(self) -> None:
        try:
            viewer_file.load(self._viewers, self._file)
        except KoedError as error:
            self._bus.trouble(error)

    def turn(self, now: float) -> None:
        if self._viewers.changed and now - self._saved_at >= SAVE_S:
            self._save(now)

    def stop(self, deadline_s: float) -> None:
        if self._viewers.changed:
            self._save(self._clock())

    def status(self) -> dict[str, Any]:
        took = sorted(self._took_ms)
        return {
            "state": "up",
            "lines": dict(self._counts),
            "decide_p99_ms": round(took[len(took) * 99 // 100], 3) if took else 0.0,
            **self.policy.sizes(),
        }

    def _save(self, now: float) -> None:
        self._saved_at = now
        try:
            viewer_file.save(self._viewers, self._file)
            self._save_failed = False
        except KoedError as error:
            if not self._save_failed:  # told once, tried again
                self._bus.trouble(error)
            self._save_failed = True

    # --- a line ------------------------------------------------------------------------------

    def _chat(self, line: Chat) -> dict[str, Any]:
        now = self._clock()
        self._look(now)
        began = time.perf_counter()
        verdict = self.policy.decide(line, now)
        self._took_ms.append((time.perf_counter() - began) * 1000)
        if verdict.action == "merge":
            return self._merge(line, verdict)
        if verdict.action == "drop":
            return self._tell(line, "dropped", verdict.reason)
        return self._submit(line, verdict)

    def _look(self, now: float) -> None:
        """Show the policy the scene: modes now, the voices that there are now and then."""
        channels = self._lineup.channels
        muted = frozenset(name for name, channel in channels.items() if channel.chat_muted)
        scene = self.policy.scene
        langs = scene.langs
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            profiles = {name: self._book.profile(name) for name in self._book.names()}
            langs = {name: profile.lang if profile else "" for name, profile in profiles.items()}
            self._warn(langs.keys())
        if langs is not scene.langs or muted != scene.muted or self._lineup.voice != scene.voice:
            self.policy.scene = Scene(self._lineup.voice, langs, next(iter(channels)), muted)

    def _warn(self, there: Any) -> None:
        missing = self._viewers.named_voices() - set(there)
        for name in sorted(missing - self._missing):
            self._bus.trouble(
                KoedError(
                    "unknown_voice",
                    f"chat.voices names {name!r}, and there is no such voice",
                    "its viewers are read in another one; see: koe voices",
                )
            )
        self._missing = missing

    def _submit(self, line: Chat, verdict: Verdict) -> dict[str, Any]:
        copy = copy_of(line)
        request = Say(
            text="",
            voice=verdict.voice,
            lang=verdict.lang,
            priority=verdict.priority,
            key=copy.key,
            author=copy.author,
            output=line.output,
        )
        try:
            result = self._handlers.enqueue(request, verdict.text)
        except KoedError as error:  # no room, or no such output: an outcome like any other
            self.policy.release(verdict.ticket)
            return self._tell(line, "dropped", error.code)
        utterance: int = result["utterance"]
        self._ledger.add(
            LedgerEntry(verdict.ticket, utterance, verdict.text, verdict.plain, [copy])
        )
        there = self._lineup.queue.find(utterance)
        if there is None:  # it is over before it has begun: its voice is broken
            self._ledger.end(utterance)
        channel = self._lineup.channels.get(there.output) if there else None
        waits = channel is not None and (channel.silent or channel.paused)
        return self._tell(
            line, "held" if waits else "said", "", utterance, result["voice"], verdict.text
        )

    def _merge(self, line: Chat, verdict: Verdict) -> dict[str, Any]:
        entry = self._ledger.join(verdict.ticket, copy_of(line))
        if entry is None:
            return self._tell(line, "merged", verdict.reason)
        mark = self._config.repeats.count_mark
        if mark and not any(u.number == entry.utterance for u in self._lineup.on_stage()):
            # only while it stands far back: its sound need not be made again and again
            there = self._lineup.queue.find(entry.utterance)
            if there is not None:
                text = entry.text + mark.format(n=verdict.copies)
                self._dispatch.ask(Amend(entry.utterance, text, there.author, there.key))
        return self._tell(line, "merged", verdict.reason, entry.utterance, None, entry.text)

    def _tell(
        self,
        line: Chat,
        verdict: Said,
        reason: str,
        utterance: int | None = None,
        voice: str | None = None,
        text: str = "",
    ) -> dict[str, Any]:
        """The one event of this line, and the reply."""
        self._counts[verdict] += 1
        if reason:
            self._counts[f"{verdict}.{reason}"] += 1
        self._bus.publish(
            ChatLine(
                verdict=verdict,
                author=line.author,
                text=line.text[:EVENT_CHARS],
                reason=reason,
                name=line.name,
                platform=line.platform,
                line=line.line,
                utterance=utterance,
                voice=voice,
                kind=line.kind,
                roles=line.roles,
                donation=line.donation,
                currency=line.currency,
            )
        )
        return {
            "verdict": verdict, "reason": reason, "utterance": utterance, "voice": voice,
            "text": text,
        }  # fmt: skip

    # --- deletions ---------------------------------------------------------------------------

    def _chat_delete(self, request: ChatDelete) -> dict[str, Any]:
        if request.line is None and request.author is None and not request.everything:
            raise KoedError(
                "missing_field", "chat_delete needs to know what",
                "name a line or an author, or ask for everything",
            )  # fmt: skip
        self.policy.delete(request, self._clock())
        cancelled: list[int] = []
        for entry in self._ledger.strike(request):
            if entry.orphaned:
                cancelled += self._cancel(entry.utterance, "cancel")
            else:
                self._inherit(entry)
        return {"cancelled": cancelled}

    def _inherit(self, entry: LedgerEntry) -> None:
        """Somebody else's copy is left: the line is that one's now, and names nobody."""
        heir = entry.copies[0] if entry.copies else None
        there = self._lineup.queue.find(entry.utterance)
        if heir is not None and there is not None and there.author != heir.author:
            entry.text = entry.plain
            self._dispatch.ask(Amend(entry.utterance, entry.plain, heir.author, heir.key))

    def _cancel(self, utterance: int, reason: str) -> list[int]:
        return [utterance] if self._dispatch.ask(Withdraw(utterance, reason)) else []

    # --- what happens to lines ---------------------------------------------------------------

    def _listen(self, event: Event) -> None:
        if isinstance(event, ModeChanged):
            if event.mode != "speak":
                self._drop_waiting(event.output)
            return
        if isinstance(event, LineEnd):
            entry = self._ledger.end(event.utterance)
            if entry is not None and _was_lost(event):
                self.policy.release(entry.ticket)

    def _drop_waiting(self, output: str) -> None:
        """Chat is muted: what waits of it goes, whatever its priority."""
        waiting = {line.utterance for line in self._lineup.queue.waiting(output)}
        for entry in self._ledger:
            if entry.utterance in waiting:
                self._cancel(entry.utterance, "chat_muted")


def _was_lost(end: LineEnd) -> bool:
    """Whether a copy of the line is welcome. What the streamer skipped was heard enough."""
    how, why = outcome(end)
    return how != "finished" and why not in ("skip", "stop", "clear")
