"""OBS at koed's side: carries out what scenes ask for, takes requests, tells what koed does."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from koe import protocol
from koe.protocol import Event, ModeName, Request, WireError
from koed.config.obs import ObsConfig
from koed.errors import KoedError
from koed.events import Bus
from koed.integrations.obs import rules
from koed.integrations.obs.rules import Decision
from koed.integrations.obs.session import Session
from koed.integrations.obs.signals import Asked, Down, JobDone, Live, OnAir, Scenery, Signal, Up
from koed.server.zmq import check_lengths

log = logging.getLogger(__name__)

ALLOWED = (
    "say", "skip", "stop", "clear", "cancel", "pause", "resume", "mute", "unmute", "voice", "mode",
    "phrase", "panic", "release",
)  # fmt: skip
"""What may be asked through OBS."""
TOLD = (
    protocol.UtteranceStarted,
    protocol.UtteranceFinished,
    protocol.UtteranceSkipped,
    protocol.UtteranceFailed,
    protocol.VoiceChanged,
    protocol.ModeChanged,
    protocol.StateChanged,
)
"""What koed tells in OBS."""
SHOWN_CHARS = 200

Ask = Callable[[Request], dict[str, Any] | None]
"""Carries out a request on the main thread; raises `KoedError` or `WireError`."""
SetVoice = Callable[[protocol.Voice], Any]
"""As `Ask`, for what a rule wants and no person."""
SetMode = Callable[[ModeName, str | None, str], None]


class ObsPart(Protocol):
    """Something else that koed does in OBS, such as captions. All on the main thread."""

    def connected(self) -> None:
        """OBS is there (again), or has another scene collection: it knows nothing of koed."""

    def moved(self) -> None:
        """Sources or scenes came, went or changed their names."""

    def live(self, live: bool) -> None:
        """OBS began or ended to stream."""

    def turn(self, now: float) -> None:
        """At every turn of the main loop."""

    def due(self) -> float | None:
        """When it wants a turn at the latest, monotonic; None = whenever something happens."""

    def close(self) -> None:
        """koed ends: have that done which must not stay undone."""

    def status(self) -> dict[str, Any]:
        """For ``koe status``."""


class ObsCompanion:
    """``ask`` carries out what people in OBS want, ``set_voice`` and ``set_mode`` what rules want;
    ``outputs`` are the names of koed's outputs."""

    def __init__(
        self,
        config: ObsConfig,
        outputs: Iterable[str],
        session: Session,
        bus: Bus,
        ask: Ask,
        set_voice: SetVoice,
        set_mode: SetMode,
        parts: Mapping[str, ObsPart],
    ) -> None:
        self._config = config
        self._outputs = tuple(outputs)
        self._session = session
        self._bus = bus
        self._ask = ask
        self._change_voice = set_voice
        self._set_mode = set_mode
        self._parts = parts
        self._scene = ""
        self._live = False
        self._applied: Decision | None = None
        self._state: dict[str, Any] = {"connected": False}
        if config.broadcast:
            bus.listen(self._tell)

    # --- a companion's life ------------------------------------------------------------------

    def start(self) -> None:
        self._session.start()

    def turn(self, now: float) -> None:
        for signal in self._session.signals():
            self._take(signal)
        for part in self._parts.values():
            part.turn(now)

    def due(self) -> float | None:
        """The earliest moment at which a part wants a turn."""
        wanted = (part.due() for part in self._parts.values())
        return min((t for t in wanted if t is not None), default=None)

    def stop(self, deadline_s: float) -> None:
        for part in self._parts.values():
            part.close()
        self._session.stop(deadline_s)

    def status(self) -> dict[str, Any]:
        rule = {} if self._applied is None else {"rule": self._applied.rule}
        return (
            self._state
            | {"at": self._session.where, "scene": self._scene, "live": self._live}
            | rule
            | {"attempts": self._session.attempts, "dropped": self._session.dropped}
            | {name: part.status() for name, part in self._parts.items()}
        )

    # --- what OBS says -----------------------------------------------------------------------

    def _take(self, signal: Signal) -> None:
        match signal:
            case OnAir(scene=scene):
                self._look(scene, self._live)
            case Live(live=live):
                self._look(self._scene, live)
                for part in self._parts.values():
                    part.live(live)
            case JobDone(then=then, result=result):
                then(result)
            case Scenery(everything=everything):
                for part in self._parts.values():
                    part.connected() if everything else part.moved()
            case Asked(message=message):
                self._obey(message)
            case Up():
                self._up(signal)
            case Down(error=error):
                self._down(error)

    def _up(self, up: Up) -> None:
        self._state = {"connected": True, "version": up.version}
        log.info("connected to OBS %s at %s, scene %s", up.version, self._session.where, up.scene)
        self._bus.publish(
            protocol.ObsUp(obs=up.version, scene=up.scene, live=up.live, retries=up.retries)
        )
        self._look(up.scene, up.live)
        for part in self._parts.values():
            part.connected()

    def _down(self, error: KoedError) -> None:
        self._state = {"connected": False, "code": error.code, "message": error.message}
        log.warning("%s", error)
        self._bus.publish(protocol.ObsDown(code=error.code, message=error.message, hint=error.hint))

    def _look(self, scene: str, live: bool) -> None:
        """Apply the rules if the scene or the stream is another one than they were applied to."""
        before = self._applied
        if not scene:  # it does not know yet
            return
        self._scene, self._live = scene, live
        if before is not None and (before.scene, before.live) == (scene, live):
            return
        decision = rules.decide(scene, live, self._config, self._outputs)
        self._applied = decision
        if decision.voice and (before is None or before.scene != scene):
            self._set_voice(decision)
        for output, mode in rules.mode_changes(before, decision).items():
            self._set_mode(mode, output, "obs")
        self._bus.publish(
            protocol.ObsScene(
                scene=scene, live=live, rule=decision.rule, voice=decision.voice,
                mode=decision.mode,
            )
        )  # fmt: skip

    def _set_voice(self, decision: Decision) -> None:
        request = protocol.Voice(name=decision.voice, when=decision.when, output=decision.output)
        try:
            try:
                self._change_voice(request)
            except KoedError as error:
                if error.code != "voice_not_ready":
                    raise
                # it is being prepared: what comes next can wait for it, mid-sentence cannot
                self._change_voice(dataclasses.replace(request, when="line"))
        except KoedError as error:
            message = f"scene {decision.scene!r} asks for voice {decision.voice}: {error.message}"
            log.warning("%s", message)
            self._bus.publish(protocol.Trouble(code=error.code, message=message, hint=error.hint))

    # --- both ways ---------------------------------------------------------------------------

    def _obey(self, message: Any) -> None:
        """A request of somebody else in OBS, as {"op": ..., ...}; an answer only where it has an
        ``id`` or is refused."""
        request_id = message.get("id") if isinstance(message, dict) else None
        try:
            if not self._config.control:
                raise WireError(
                    "obs_control_off",
                    "koed takes no requests through OBS",
                    "set obs.control: true in koed.yaml",
                )
            request = _request(message)
            request_id = request.id
            result = self._ask(request)
        except (KoedError, WireError) as error:
            log.info("a request through OBS was refused: %s", error.message)
            self._answer(request_id, {"ok": False, "error": error.to_map()})
            return
        except Exception as error:  # a stranger's words must not end the voice
            log.exception("a request through OBS could not be handled")
            what = f"a bug in koed: {type(error).__name__}"
            self._answer(request_id, {"ok": False, "error": {"code": "internal", "message": what}})
            return
        if request_id is not None:
            self._answer(request_id, {"ok": True, "result": result or {}})

    def _answer(self, request_id: Any, reply: dict[str, Any]) -> None:
        shown = request_id if isinstance(request_id, int | str) else None
        if isinstance(shown, str):
            shown = shown[:SHOWN_CHARS]
        self._broadcast({"event": "reply", "id": shown} | reply)

    def _tell(self, event: Event) -> None:
        if isinstance(event, TOLD):
            self._broadcast(event.to_map())

    def _broadcast(self, told: dict[str, Any]) -> None:
        """Our own broadcast comes back to us as well; it has no key ``koed``, so it ends there."""
        if self._config.broadcast and self._session.there:
            self._session.post("BroadcastCustomEvent", {"eventData": {"koed_event": told}})


def _request(message: Any) -> Request:
    """What an outsider's ``koed`` value asks for; raises `WireError`."""
    if not isinstance(message, dict):
        raise WireError(
            "bad_message", "koed: is no map", 'send {"koed": {"op": "say", "text": "hello"}}'
        )
    try:
        # JSON can hold half a surrogate pair, and numbers that msgpack has no room for
        protocol.pack(message)
    except (ValueError, OverflowError, TypeError, RecursionError) as error:
        raise WireError(
            "bad_message", f"this cannot be passed on: {str(error)[:100]}", "send plain Unicode"
        ) from error
    op = message.get("op")
    if op in protocol.REQUESTS and op not in ALLOWED:
        raise WireError(
            "not_here", f"{op} cannot be asked for through OBS", f"only: {', '.join(ALLOWED)}"
        )
    request = protocol.request_from_map(message)
    if getattr(request, "wait", False):
        raise WireError("not_here", "nobody can wait through OBS", "leave wait out")
    check_lengths(request)
    return request
