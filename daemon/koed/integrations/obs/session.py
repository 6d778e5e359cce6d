"""The thread that keeps koed connected to OBS, whatever OBS does.

    away --open--> there --(closed, killed, silent)--> away
      ^ |
      +-+ again after 0.25 ... 1 s; after a wrong password only when something has changed

What OBS tells goes to the main thread as signals, in a bounded queue, with a ring of the bell; what
the main thread wants done goes the other way (`Session.do`), bounded as well. Neither waits for the
other. Every attempt is a new `Link`.
"""

from __future__ import annotations

import collections
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from koed.errors import KoedError
from koed.integrations.obs.link import Link, ObsRefused
from koed.integrations.obs.signals import Asked, Down, JobDone, Live, OnAir, Scenery, Signal, Up

log = logging.getLogger(__name__)

OPEN_S = 1.0
CALL_S = 2.0
POLL_S = 1.0
"""So often OBS is asked what is on air: whether it answers, and because it does not always tell.
OBS 29 sends no event for a scene that is chosen while the kind of transition is changed."""
LOOKS_S = (0.0, 0.004, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12)
"""After the event that a transition begins OBS may still answer with the old scene, for some
milliseconds: it is asked at these times until it names another one."""
TRANSITION_S = 20.0
"""A transition whose end is not told is over after this."""
RETRY_S = (0.25, 0.5, 1.0)
"""Waits between attempts; the last one goes on."""
PASSWORD_LOOK_S = 0.5
"""So often koed looks whether the password, or the OBS that refused it, is another one..."""
PASSWORD_RETRY_S = 30.0
"""... and tries the same one again."""
COLLECTION_S = 30.0
"""A change of the scene collection may take so long; OBS is asked for nothing meanwhile."""
MAX_SIGNALS = 512
MAX_CUSTOM = 64
"""Of those signals: requests of others, so that a flood of them keeps nothing else out."""
MAX_JOBS = 256

LIVE = {"STARTED": True, "RECONNECTED": True, "STOPPING": False, "STOPPED": False}
"""Ends of ``StreamStateChanged``'s outputState that decide; STARTING and RECONNECTING do not."""


SCENERY = frozenset(
    (
        "InputCreated", "InputRemoved", "InputNameChanged", "SceneCreated", "SceneRemoved",
        "SceneNameChanged", "SceneItemCreated", "SceneItemRemoved",
    )
)  # fmt: skip
"""Events after which a source may be somewhere else."""


@dataclass(frozen=True, slots=True)
class _Job:
    do: Callable[[Link], Any]
    then: Callable[[Any], None] | None


class Session:
    """``password`` is asked anew for each attempt and may raise `KoedError`; ``wake`` is rung when
    there are signals. ``at_start``: a scene counts as the transition to it begins."""

    def __init__(
        self,
        host: str,
        port: int,
        password: Callable[[], str | None],
        wake: Callable[[], None],
        at_start: bool = True,
    ) -> None:
        self.where = f"{host}:{port}"
        self.attempts = 0
        """Passwords shown to OBS so far, right or wrong."""
        self.dropped = 0
        """Jobs and signals that found no room."""
        self._place = (host, port)
        self._password = password
        self._wake = wake
        self._at_start = at_start
        self._news = threading.Condition()
        self._signals: collections.deque[Signal] = collections.deque()
        self._jobs: dict[object, _Job] = {}
        self._stopping = False
        self._there = False
        self._lost: KoedError | None = None
        self._look: tuple[float, int] | None = None
        """A transition began then, and where it leads is not known yet: so many looks so far."""
        self._on_air = ""
        """The scene that the main thread was told last."""
        self._changing_until = 0.0
        self._polled_t = 0.0
        self._transition_t = float("-inf")
        """When the transition began that goes on."""
        self._event_scene = (0.0, "")
        """When OBS told last by event what is on air, and what."""
        self._told = ""
        self._retries = 0
        self._thread = threading.Thread(target=self._run, name="obs", daemon=True)

    # --- for the main thread -----------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    @property
    def there(self) -> bool:
        return self._there

    def signals(self) -> list[Signal]:
        """What came since the last call."""
        with self._news:
            taken = list(self._signals)
            self._signals.clear()
        return taken

    def post(self, request: str, data: dict[str, Any], key: object = None) -> bool:
        """Have one request sent, soon and from elsewhere. See `do`."""
        return self.do(lambda link: link.call(request, **data), key)

    def do(
        self,
        job: Callable[[Link], Any],
        key: object = None,
        then: Callable[[Any], None] | None = None,
    ) -> bool:
        """Run ``job`` on the session's thread; never waits.

        It takes the place of one with the same ``key`` that still waits. ``then`` gets the result,
        or the `KoedError`, on the main thread; it is not called where the job was replaced or the
        connection ended first. False: not connected, or `MAX_JOBS` wait already, and nothing will
        happen.
        """
        key = object() if key is None else key
        with self._news:
            if not self._there or self._stopping:
                return False
            if key not in self._jobs and len(self._jobs) >= MAX_JOBS:
                self.dropped += 1
                return False
            self._jobs[key] = _Job(job, then)
            self._news.notify_all()
        return True

    def stop(self, deadline_s: float) -> None:
        """Do what is to be done, if OBS answers within ``deadline_s``, and end."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        if self._thread.is_alive():
            self._thread.join(deadline_s)

    # --- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping:
            link = self._connect()
            if link is None:
                continue
            with link:
                error = self._serve(link)
            with self._news:
                self._there = False
                self._jobs.clear()
            if not self._stopping:
                self._tell_down(error)

    def _connect(self) -> Link | None:
        """One attempt, and the wait after it if it failed."""
        password: str | None = None
        with self._news:
            self._lost, self._look, self._changing_until = None, None, 0.0
        try:
            password = self._password()
            self.attempts += 1
            link = Link(
                *self._place, password, on_event=self._hear, on_lost=self._lose, timeout_s=CALL_S
            ).open(OPEN_S)
            try:
                self._greet(link)
            except BaseException:
                link.close()
                raise
        except KoedError as error:
            self._tell_down(error)
            if error.code == "obs_password":
                self._wait_for_change(password)
            else:
                self._pause(RETRY_S[min(self._retries, len(RETRY_S) - 1)])
            self._retries += 1
            return None
        self._retries, self._told = 0, ""
        return link

    def _greet(self, link: Link) -> None:
        """What is on air now; an OBS that still starts may not know."""
        version = str(link.call("GetVersion").get("obsVersion", "?"))
        live = bool(link.call("GetStreamStatus").get("outputActive"))
        scene = self._scene(link)
        self._polled_t = time.monotonic()
        with self._news:
            self._there = True
        self._emit(Up(version, scene, live, self._retries))

    def _pause(self, seconds: float) -> None:
        with self._news:
            self._news.wait_for(lambda: self._stopping, seconds)

    def _wait_for_change(self, refused: str | None) -> None:
        """Until the password is another one, the OBS that refused it is gone, or long after."""
        until = time.monotonic() + PASSWORD_RETRY_S
        while not self._stopping and time.monotonic() < until:
            self._pause(PASSWORD_LOOK_S)
            try:
                if self._password() != refused:
                    return
                # nothing is said: OBS takes no notice of it
                socket.create_connection(self._place, OPEN_S).close()
            except KoedError:
                continue
            except OSError:
                return

    def _tell_down(self, error: KoedError) -> None:
        """Once per reason: an OBS that is away all day is no news, nor in how many ways it is."""
        away = error.code in ("obs_absent", "obs_gone", "obs_silent")
        reason = "away" if away else error.message
        if self._told != reason:
            self._told = reason
            self._emit(Down(error))

    # --- while it is there -------------------------------------------------------------------

    def _serve(self, link: Link) -> KoedError:
        """Work until the link ends; why it did."""
        try:
            while True:
                with self._news:
                    self._news.wait_for(self._has_work, self._idle_s())
                    if self._lost is not None:
                        return self._lost
                    look = self._look if self._look_is_due() else None
                    job = None if self._changing() else self._next_job()
                    if self._stopping and job is None:
                        return KoedError("obs_gone", "koed is stopping")
                if look is not None:
                    self._look_ahead(link, look)
                if job is not None:
                    self._carry_out(link, job)
                if time.monotonic() >= self._polled_t + POLL_S and not self._changing():
                    self._poll(link)
        except KoedError as error:
            return self._lost or error

    def _has_work(self) -> bool:
        jobs = self._jobs and not self._changing()
        return bool(self._stopping or self._lost or jobs or self._look_is_due())

    def _look_is_due(self) -> bool:
        return self._look is not None and not self._changing() and self._look_in_s(self._look) <= 0

    @staticmethod
    def _look_in_s(look: tuple[float, int]) -> float:
        since, number = look
        return since + LOOKS_S[number] - time.monotonic()

    def _changing(self) -> bool:
        return time.monotonic() < self._changing_until

    def _idle_s(self) -> float:
        """Until there is something to do without a cause."""
        if self._changing():
            return 0.25
        left_s = self._polled_t + POLL_S - time.monotonic()
        look = self._look
        return max(0.0, left_s if look is None else min(left_s, self._look_in_s(look)))

    def _next_job(self) -> _Job | None:
        return self._jobs.pop(next(iter(self._jobs))) if self._jobs else None

    def _poll(self, link: Link) -> None:
        self._polled_t = time.monotonic()
        scene = self._scene(link)
        between = self._polled_t - self._transition_t < TRANSITION_S
        if scene and (self._at_start or not between):
            self._emit(OnAir(scene))

    def _look_ahead(self, link: Link, look: tuple[float, int]) -> None:
        """Where the transition that began leads: OBS tells it by request before it tells it by
        event."""
        since, number = look
        scene = self._scene(link)
        found = bool(scene) and scene != self._on_air
        with self._news:
            if self._look == look:  # else another transition began meanwhile
                self._look = None if found or number + 1 == len(LOOKS_S) else (since, number + 1)
        if found:
            self._emit(OnAir(scene))

    def _scene(self, link: Link) -> str:
        """What is on air. An event that came while OBS answered is at least as new.

        ``GetCurrentProgramScene`` asks for less, but OBS 28 to 32 crash if it comes while there is
        no scene: when the scene collection is changed, and we have not heard of it yet."""
        before = self._event_scene
        try:
            answer = link.call("GetSceneList")
        except ObsRefused:  # it is not ready yet, or not any more
            return ""
        now = self._event_scene
        return now[1] if now != before else str(answer.get("currentProgramSceneName") or "")

    def _carry_out(self, link: Link, job: _Job) -> None:
        try:
            result = job.do(link)
        except KoedError as error:
            if error.code not in ("obs_refused", "obs_bad_text"):
                raise
            log.debug("%s", error)
            result = error
        if job.then is not None:
            self._emit(JobDone(job.then, result))

    # --- on the link's reading thread: into a queue, and back --------------------------------

    def _lose(self, error: KoedError) -> None:
        with self._news:
            self._lost = error
            self._news.notify_all()

    def _hear(self, name: str, data: dict[str, Any]) -> None:
        now = time.monotonic()
        if name == "SceneTransitionStarted":
            self._transition_t = now
        elif name == "SceneTransitionEnded":
            self._transition_t = float("-inf")
        match name:
            case "CurrentProgramSceneChanged":
                self._event_scene = (now, str(data.get("sceneName", "")))
                self._emit(OnAir(self._event_scene[1]))
            case "SceneTransitionStarted" if self._at_start:
                self._wish(look_since=now)
            case "StreamStateChanged":
                state = str(data.get("outputState", "")).rpartition("_")[2]
                if state in LIVE:
                    self._emit(Live(LIVE[state]))
            case "CurrentSceneCollectionChanging":
                self._wish(changing_until=now + COLLECTION_S)
            case "CurrentSceneCollectionChanged":
                self._emit(Scenery(everything=True))
                self._wish(look_since=now, changing_until=0.0)
            case _ if name in SCENERY:
                self._emit(Scenery())
            case "CustomEvent" if "koed" in data:
                self._emit(Asked(data["koed"]))

    def _wish(self, look_since: float | None = None, changing_until: float | None = None) -> None:
        with self._news:
            if look_since is not None:
                self._look = (look_since, 0)
            if changing_until is not None:
                self._changing_until = changing_until
            self._news.notify_all()

    def _emit(self, signal: Signal) -> None:
        with self._news:
            asked = isinstance(signal, Asked)
            if asked and sum(isinstance(s, Asked) for s in self._signals) >= MAX_CUSTOM:
                self.dropped += 1
                return
            if len(self._signals) >= MAX_SIGNALS:
                self._signals.popleft()
                self.dropped += 1
            if isinstance(signal, OnAir | Up):
                self._on_air = signal.scene
            self._signals.append(signal)
        self._wake()
