"""The wiring: build, start in order, run, stop in reverse. The only file that knows every part."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import zmq

import koed
from koe.protocol import PROTOCOL_VERSION, Event, Say, StateChanged
from koed.audio import welcome
from koed.audio.mixer import Mixer
from koed.audio.output import Output, OutputSignal
from koed.auth import keys
from koed.config import shipped
from koed.config.daemon import Config, differing, load, resolve, state_dir
from koed.errors import KoedError
from koed.events import Bus
from koed.integrations.base import Companion, Punctual
from koed.integrations.chat.handlers import ChatHandlers
from koed.persistence.keeping import Keeping
from koed.persistence.replay import ReplayWriter
from koed.phrases.handlers import PhraseHandlers
from koed.playback import audible, shutdown
from koed.playback.dispatch import Outlet
from koed.playback.inputs import SetMode
from koed.playback.recorder import Recorder
from koed.server.handlers import Handlers
from koed.server.zmq import NOBODY, Asker, Server
from koed.service import metrics
from koed.service.runtime import Bell, RuntimeDir, Signals, on_terminal
from koed.service.systemd import Notifier, Watchdog
from koed.service.transcript import Transcript
from koed.text import emoji_names
from koed.wiring import assemble

log = logging.getLogger(__name__)

SCAN_PROFILES_S = 1.0
FAULTS = {
    "mixer": "a block was silent because of a bug in koed: {}",
    "device": "a block of the device was silent because of a bug in koed",
    "samples": "an engine sent samples that are no numbers; they are silent",
}
IDLE_TURN_S = 0.25
"""The loop turns at least so often: supervision and the watchdog live on it."""


class App:
    """The resident daemon. ``run`` returns when it was told to stop."""

    def __init__(self, config: Config, runtime_dir: Path) -> None:
        self.config = config
        self.runtime = RuntimeDir(runtime_dir)
        self.boot = secrets.token_hex(8)
        """Of this start: numbers of lines and of events count from it."""
        self._started_at = time.monotonic()
        self._ready = self._to_greet = False
        self._tip = shipped.tip(state_dir())
        self._counts: dict[str, int] = {}
        self._build(runtime_dir)

    def _build(self, runtime_dir: Path) -> None:
        config = self.config
        self.context: zmq.Context[Any] = zmq.Context()
        self.bell = Bell()
        self.signals = Signals(self.bell, hangup_ends=on_terminal())
        self.bus = Bus(boot=self.boot)
        self.bus.listen(self._count)
        self.server = Server(runtime_dir, config.server, self.context)
        self.outputs = {name: self._output(name) for name in config.outputs}
        self.audible = {name: audible.Watch(name) for name in config.outputs}
        outlets = {name: self._outlet(output) for name, output in self.outputs.items()}
        recorder = Recorder() if config.replay else None
        if recorder is not None:
            self.bus.listen(ReplayWriter(recorder, state_dir() / "replay").listen)
        voice = assemble(
            config, self.context, runtime_dir, outlets, self.bus, self.bell.ring, recorder=recorder
        )
        self.engines, self.book, self.phrases = voice.engines, voice.book, voice.phrases
        self.dispatch, self.player = voice.dispatch, voice.player
        self.lineup = voice.player.lineup
        self.handlers = Handlers(
            config,
            self.dispatch,
            {name: output.mixer.history for name, output in self.outputs.items()},
            self.book,
            self.bus,
            self._reply_later,
            self.status,
            self.reload,
        )
        phrases = PhraseHandlers(self.phrases, lambda say: self.handlers.handle(say, NOBODY) or {})
        self.handlers.add("phrase", phrases.phrase)
        self.handlers.add("phrases", phrases.phrases)
        self.keeping = Keeping(
            config, runtime_dir, state_dir(), self.dispatch, self.book, self.bus,
            self.handlers.number, self._trouble,
        )  # fmt: skip
        self.handlers.listen(self.keeping.carried_out)
        said = resolve(config, "transcript.path")
        self.transcript = Transcript(config.transcript, said, self._trouble)
        self.counters = metrics.Counters()
        self.bus.listen(self.counters.listen)
        self.notifier = Notifier.from_environ(os.environ)
        self.watchdog = Watchdog(self.notifier)
        self.companions: dict[str, Companion] = {
            "phrases": self.phrases,
            "chat": ChatHandlers(
                config, self.handlers, self.dispatch, self.book, self.bus, state_dir()
            ),
        }
        if config.obs.wanted:
            self._add_obs()

    def _add_obs(self) -> None:
        try:
            from koed.integrations.obs import wiring
        except ModuleNotFoundError as error:  # the voice needs none of this
            hint = "pip install 'koed[obs]'"
            self._trouble(KoedError("obs_not_installed", f"OBS is left out: {error}", hint))
            return
        self.companions["obs"] = wiring.companion(
            self.config,
            self.bus,
            self.bell.ring,
            lambda request: self.handlers.handle(request, NOBODY),
            self.handlers.voice,
            lambda mode, output, by: self.dispatch.ask(SetMode(mode, output, by)),
            lambda output: self.outputs[output].recorders,
        )

    def _output(self, name: str) -> Output:
        audio = self.config.audio
        mixer = Mixer(
            audio.rate_hz,
            fade_ms=audio.fade_ms,
            true_peak_db=audio.true_peak_db,
            history_s=audio.history_s,
            wake=self.bell.ring,
        )
        wanted = self.config.outputs[name]
        return Output(name, wanted, audio, mixer, wake=self.bell.ring, memory=state_dir())

    @staticmethod
    def _outlet(output: Output) -> Outlet:
        return Outlet(
            output.mixer, output.heard_t, output.shut, lambda: output.playing,
            lambda: output.unheard,
        )  # fmt: skip

    # --- life --------------------------------------------------------------------------------

    def run(self) -> None:
        """Start top to bottom, turn the loop, stop bottom to top."""
        self.runtime.acquire()
        with contextlib.ExitStack() as stack:
            stack.callback(self.runtime.release)
            stack.callback(self.bell.close)
            stack.callback(self.context.destroy, linger=100)
            with self.signals.caught():
                self.keeping.begin()
                self._bind()
                stack.callback(self.server.close)
                self.bus.listen(self.server.publish)
                self.bus.listen(self.transcript.listen)
                if self.config.metrics_port is not None:
                    served = metrics.serve(self.config.metrics_port, self.counters.samples)
                    stack.callback(served.close)
                stack.callback(self.transcript.close)
                stack.callback(self._stop_outputs)
                for output in self.outputs.values():
                    output.start()
                stack.callback(self.engines.stop, 0.5)
                self._check_voice()
                self.keeping.resume()
                for companion in self.companions.values():
                    stack.callback(companion.stop, 0.5)
                    companion.start()
                self._loop()
                self._bow_out()
                self.keeping.end()

    def _bind(self) -> None:
        if not self.config.server.over_tcp:
            self.server.bind(None, None)
            return
        folder = resolve(self.config, "server.keys")
        self.server.bind(keys.server_pair(folder), keys.clients_folder(folder))

    def _check_voice(self) -> None:
        self.book.refresh(first=self.config.voice)
        for language in {profile["lang"] for profile in self.book.describe() if profile["lang"]}:
            emoji_names.preload(language)
        try:
            self.book.check(self.config.voice)
        except KoedError as error:
            names = self.book.names()
            if not names:
                raise KoedError(
                    "no_voices",
                    f"no usable voice profile in {resolve(self.config, 'profiles')}",
                    "see the messages above, or profiles/README.md",
                ) from error
            self.lineup.voice = names[0]
            log.warning("%s; %s speaks instead", error, names[0])

    def _stop_outputs(self) -> None:
        for name, output in self.outputs.items():
            output.stop(0.5)
            if output.left:
                log.info(
                    "output %s: the microphone stays, silent, since %s; the next start takes it "
                    "over, koed devices --remove takes it away", name, output.left,
                )  # fmt: skip

    # --- the loop ----------------------------------------------------------------------------

    def _loop(self) -> None:
        next_scan = time.monotonic() + SCAN_PROFILES_S
        # what was built at start lives as long as the daemon: never look at it again
        gc.collect()
        gc.freeze()
        punctual = [c for c in self.companions.values() if isinstance(c, Punctual)]
        while self.signals.stop is None:
            next_look = self.engines.tick(time.monotonic())
            for companion in punctual:
                next_look = min(next_look, companion.due() or next_look)
            self._turn(min(next_look - time.monotonic(), IDLE_TURN_S))
            now = time.monotonic()
            if self.signals.take_reload():
                self.reload()
            if now >= next_scan:
                next_scan = now + SCAN_PROFILES_S
                self._gauge(now)
                self._look_who_hears()
                self.book.refresh()
            if not self._ready:
                self._become_ready()
            elif self._to_greet and not self.book.is_coming(self.lineup.voice):
                self._greet()
            clocks = {n: (o.mixer.clock_frames, o.playing) for n, o in self.outputs.items()}
            self.watchdog.feed(time.monotonic(), clocks)

    def _look_who_hears(self) -> None:
        """Tell of each output when it begins to be heard, and when it stops to be."""
        for name, watch in self.audible.items():
            obstacles = self._obstacles(name)
            self.counters.gauge("koed_audible", float(not obstacles), output=name)
            if self._ready:
                for event in watch.look(obstacles):
                    self.bus.publish(event)

    def _obstacles(self, name: str) -> list[KoedError]:
        """What keeps people from hearing what is spoken there, the first that it meets first."""
        obs = self.companions.get("obs")
        captures = obs.status().get("captures") if obs is not None else None
        return [
            *audible.held(self.lineup.channels[name].held),
            *audible.engine(self.lineup.voices, self.lineup.current_voice(name)),
            *self.outputs[name].obstacles(),
            *audible.obs(captures["hears"] if captures else None),
        ]

    def _gauge(self, now: float) -> None:
        gauge = self.counters.gauge
        gauge("koed_uptime_seconds", now - self._started_at)
        gauge("koed_waiting_lines", self.lineup.queue.count())
        gauge("koed_speaking_lines", len(self.lineup.queue.speaking()))
        for name, host in self.engines.hosts.items():
            gauge("koed_worker_resident_bytes", host.rss_mb * 1e6, engine=name)
        for name, output in self.outputs.items():
            self.counters.total("koed_underruns", output.underruns, output=name)
            self._gauge_faults(name, output)
        self.counters.total("koed_stuck", self.player.watchdog.stuck)

    def _gauge_faults(self, name: str, output: Output) -> None:
        """Count them, and tell of the first of each kind."""
        for kind, number in output.faults.items():
            before = self.counters.value("koed_faults", output=name, kind=kind)
            self.counters.total("koed_faults", number, output=name, kind=kind)
            if number and not before:
                what = FAULTS[kind].format(output.mixer.fault)
                hint = "koed plays on; koe status counts them: please report it with the log"
                self._trouble(KoedError("audio_fault", f"output {name}: {what}", hint))

    def _turn(self, timeout_s: float) -> None:
        """Wait for whatever comes first, then give every part its turn."""
        poller = zmq.Poller()
        poller.register(self.bell.fd, zmq.POLLIN)
        for socket in (*self.server.sockets(), *self.engines.sockets()):
            poller.register(socket, zmq.POLLIN)
        poller.poll(max(0, int(timeout_s * 1000 + 0.999)))
        self.bell.silence()
        if self.server.receive(self.handlers.handle, self.handlers.push, self.bus.trouble):
            self.bell.ring()
        self.engines.receive()
        for output in self.outputs.values():
            for sign in output.signals():
                self._output_signal(sign)
        now = time.monotonic()
        for companion in self.companions.values():
            companion.turn(now)
        self.dispatch.advance()
        self.keeping.turn()

    def _become_ready(self) -> None:
        """READY means: it speaks at once. Every voice, or one that it falls back to, is compiled or
        known to be broken, but for those of engines that are away: a remote one may be switched off
        all day."""
        up = {name for name, host in self.engines.hosts.items() if host.state == "up"}
        waits = self.book.awaited(up) - self.engines.away
        if waits or not all(o.settled for o in self.outputs.values()):
            return
        self._ready = True
        seconds = time.monotonic() - self._started_at
        for output in self.outputs.values():
            log.info(output.describe())
        log.info("ready in %.1f s; voices: %s", seconds, ", ".join(self.book.names()))
        self.notifier.ready(f"speaking as {self.lineup.voice}")
        self.bus.publish(StateChanged(state="ready", detail=f"{seconds:.3f} s"))
        self.keeping.tell_lost()
        self._to_greet = True

    def _greet(self) -> None:
        """In the voice that was chosen, as soon as it can speak. Only where somebody has just
        started koed: after a crash it would be a stranger's word in the middle of a stream, and
        while it is muted a surprise at the end of that."""
        self._to_greet = False
        held = any(channel.held for channel in self.lineup.channels.values())
        if self.config.greeting and self.keeping.orderly and not held:
            try:
                greeting = self.handlers.handle(Say(text=self.config.greeting), NOBODY) or {}
            except KoedError as error:
                self._trouble(error)
            else:
                self.keeping.let_go(greeting["utterance"])
        elif sys.stderr.isatty():
            log.info("make it speak: koe say hello")
            if self.keeping.orderly and self.config.audio.device != "null":
                welcome.say(self.config)

    def _bow_out(self) -> None:
        log.info("%s: stopping", self.signals.stop)
        self.notifier.stopping()
        self.bus.publish(StateChanged(state="stopping", detail=self.signals.stop or ""))
        shutdown.bow_out(self.dispatch, self.outputs, self.config.audio.fade_ms / 1000, self._turn)

    # --- what happens ------------------------------------------------------------------------

    def _output_signal(self, sign: OutputSignal) -> None:
        self.bus.publish(sign.event)
        log.log(logging.INFO if sign.well else logging.WARNING, "%s", sign.text)

    def _count(self, event: Event) -> None:
        if event.event not in ("levels", "mouth"):
            self._counts[event.event] = self._counts.get(event.event, 0) + 1

    def _trouble(self, error: KoedError) -> None:
        log.warning("%s", error)
        self.bus.trouble(error)

    def _reply_later(self, asker: Asker, result: dict[str, Any]) -> None:
        if asker.socket is not None:
            self.server.reply(asker, result)

    def reload(self) -> dict[str, Any]:
        """Profiles and phrases at once; all else of the configuration is read at start only."""
        changed, errors = self.book.refresh(at_once=True)
        if self.config.server.over_tcp:
            self.server.readmit(keys.clients_folder(resolve(self.config, "server.keys")))
        restart: list[str] = []
        try:
            fresh = self._read_again()
            changed += self.phrases.reload(fresh.phrases)
            restart = differing(self.config, fresh, but=("phrases",))
        except KoedError as error:
            errors.append(f"{error.message}; the phrases are as they were")
        for problem in errors:
            log.warning("reload: %s", problem)
        if restart:
            log.warning("reload: what changed here counts from the next start: %s", restart)
        self.bus.publish(StateChanged(state="reloaded", detail=", ".join(changed)))
        return {"changed": changed, "errors": errors, "restart": restart}

    def _read_again(self) -> Config:
        """The configuration file as it is now; raises `KoedError`."""
        source = self.config.source
        return load(Path(source)) if source else self.config

    def status(self) -> dict[str, Any]:
        restored = self.keeping.restored()
        news = {"restored": restored, "tip": self._tip}
        return {name: value for name, value in news.items() if value} | {
            "version": koed.__version__,
            "protocol": PROTOCOL_VERSION,
            "pid": os.getpid(),
            "boot": self.boot,
            "ready": self._ready,
            "uptime_s": round(time.monotonic() - self._started_at, 3),
            "voice": self.lineup.voice,
            **self.keeping.status(),
            "queue": {
                "speaking": len(self.lineup.queue.speaking()),
                "waiting": self.lineup.queue.count(),
                "stuck": self.player.watchdog.stuck,
            },
            "outputs": {name: self._output_status(name) for name in self.outputs},
            "engines": {
                name: {
                    "state": host.state,
                    "pid": host.pid,
                    "rss_mb": host.rss_mb,
                    "restarts": host.restarts,
                }
                for name, host in self.engines.hosts.items()
            },
            "counts": dict(self._counts),
            "transcript": self.transcript.status(),
            "companions": {name: c.status() for name, c in self.companions.items()},
            "config": self.config.source,
        }

    def _output_status(self, name: str) -> dict[str, Any]:
        channel, mixer = self.lineup.channels[name], self.outputs[name].mixer
        frames = mixer.clock_frames
        return (
            {"obstacles": [error.to_map() for error in self._obstacles(name)]}
            | self.outputs[name].status()
            | {
                "muted": channel.muted,
                "paused": channel.paused,
                "mode": channel.mode,
                "held": channel.held,
                "fields": channel.living.given,
                "anchor": [frames, self.outputs[name].heard_t(frames)],
                "rate_hz": mixer.rate_hz,
                "starved_frames": mixer.starved_frames,
            }
        )


def run(config: Config, runtime_dir: Path) -> int:
    """`koed run`: 0 after an orderly end, 1 with a reason on standard error."""
    # the audio callback must get the interpreter within a fraction of its block
    sys.setswitchinterval(0.0005)
    try:
        App(config, runtime_dir).run()
    except KoedError as error:
        log.error("%s", error)
        return 1
    return 0
