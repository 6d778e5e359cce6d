"""The engine worker: one process that keeps one engine and its voices warm and serves jobs.

``python -m koed.engine.worker.main`` is started by `koed.engine.host` as a child; ``koed worker``
runs the same code for a stage on another machine. Two threads: the `io_thread` and, in the main
thread, synthesis; a third for an engine that prepares voices beside (`EngineSpec`). An engine that
raises costs one job, never the worker.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

import numpy as np
import zmq

from koed.auth import keys
from koed.auth.zap import ZapHandler
from koed.engine import folders, registry, wire
from koed.engine.base import Chunk, Engine, Stream, Voice
from koed.engine.worker.heap import Heap
from koed.engine.worker.io_thread import IoThread, Pulse, Warm
from koed.engine.worker.prepare import prepared
from koed.engine.worker.scheduler import (
    CloseStreams,
    Idle,
    Preparation,
    Scheduler,
    Step,
    WorkerEnds,
)
from koed.engine.worker.voice_cache import VoiceCache
from koed.errors import EngineError, KoedError

log = logging.getLogger(__name__)

SWITCH_INTERVAL_S = 0.0005
"""An engine that computes in Python must not hold back the I/O thread for Python's usual 5 ms."""
STUCK_S = 10.0
"""A listening worker starts over after so long in one chunk: no stage can kill it."""
STRANGERS = 16
"""Of so many machines that are not admitted it is said so."""
EXIT_UNUSABLE = 3
"""The engine or the socket cannot be had; the last line on stderr says why."""
EXIT_LOST = 71
"""The device under the engine failed for good (``device_lost``): only a fresh process helps."""
EXIT_BROKEN = 70
"""The I/O thread failed: a mistake of ours."""


class Synthesis:
    """The main thread: takes steps from the scheduler and posts what comes of them."""

    def __init__(
        self,
        engine: Engine,
        scheduler: Scheduler,
        io_thread: IoThread,
        pulse: Pulse,
        cache: VoiceCache | None,
        beside: ThreadPoolExecutor | None = None,
    ) -> None:
        """``beside``: where voices are prepared, if not between chunks."""
        self._engine = engine
        self._scheduler = scheduler
        self._io_thread = io_thread
        self._pulse = pulse
        self._cache = cache
        self._beside = beside
        self._heap = Heap()

    def run(self) -> None:
        """Work until the scheduler is closed."""
        while True:
            try:
                task = self._scheduler.take()
            except WorkerEnds:
                return
            match task:
                case Step():
                    self._pulse.begin("speaking", task.spoken.job.serial)
                    self._speak(task)
                case Preparation():
                    self._prepare(task)
                case CloseStreams(streams):
                    self._close(streams)
                case Idle():
                    self._heap.rest()
            self._pulse.end()

    # --- speaking ----------------------------------------------------------------------------

    def _speak(self, step: Step) -> None:
        """One chunk of one job, or its end."""
        spoken = step.spoken
        try:
            stream = spoken.stream or self._open(step)
            chunk = next(stream, None)
            if chunk is not None and chunk.loading:
                self._scheduler.wait_for_loading(step)
                return
            spoken.loading_since = None
            if chunk is not None:
                self._deliver(step, chunk)
                return
        except Exception as error:  # noqa: BLE001 - whatever an engine raises costs its job only
            _end_if_lost(error)
            code, message, _ = _told(error)
            self._finish(step, wire.Failed(spoken.job.serial, spoken.job.lane, code, message))
            return
        self._finish(step, wire.Done(spoken.job.serial, spoken.job.lane, spoken.sent_s))

    def _open(self, step: Step) -> Stream:
        job = step.spoken.job
        voice = self._scheduler.voice(job.voice)
        if voice is None:
            raise EngineError("voice_unknown", f"voice {job.voice[:12]} was never prepared")
        source = self._scheduler.adopt(step.lane, job.restyle_of) if job.restyle_of else None
        if source is not None and source.stream is not None:
            try:
                stream = self._engine.restyle(source.stream, voice, job)
            except BaseException:
                self._scheduler.disown(step.lane, source)
                raise
        elif job.restyle_of and job.start_s > 0:
            raise EngineError("restyle_lost", f"the sound of job {job.restyle_of} is not kept")
        else:  # the job to continue had not begun: this one begins in its place
            stream = self._engine.stream(voice, job)
        self._scheduler.attach(step, stream)
        return stream

    def _deliver(self, step: Step, chunk: Chunk) -> None:
        pcm = np.ascontiguousarray(chunk.pcm, dtype="<f4")
        if pcm.ndim != 1 or not np.isfinite(pcm).all():
            raise EngineError("engine_bug", f"a chunk of shape {pcm.shape} or with NaN in it")
        spoken, job = step.spoken, step.spoken.job
        for code in chunk.mended:
            self._io_thread.post(spoken.session, wire.Mended(job.serial, job.lane, code))
        if not len(pcm) and not chunk.words and not chunk.mouths:
            return  # a sign of life, so that other lanes get their turn
        sound = wire.Sound(
            job.serial, job.lane, spoken.seq, chunk.rate_hz, tuple(chunk.words), tuple(chunk.mouths)
        )
        self._scheduler.deliver(
            step,
            len(pcm) / chunk.rate_hz,
            lambda: self._io_thread.post(spoken.session, sound, pcm.tobytes()),
        )

    def _finish(self, step: Step, message: wire.Done | wire.Failed) -> None:
        self._scheduler.finish(
            step,
            lambda: self._io_thread.post(step.spoken.session, message),
            keep=isinstance(message, wire.Done),
        )
        self._heap.job_done()

    def _close(self, streams: Sequence[Stream]) -> None:
        for stream in streams:
            try:
                stream.close()
            except Exception as error:  # noqa: BLE001 - a stream that will not close is dropped
                log.warning("closing a stream: %s", _told(error)[1])

    # --- preparing ---------------------------------------------------------------------------

    def _prepare(self, wanted: Preparation) -> None:
        if self._beside is not None:
            self._beside.submit(self._prepare_now, wanted)
        else:
            self._prepare_now(wanted)

    def _prepare_now(self, wanted: Preparation) -> None:
        self._pulse.preparing(True)
        voice, told = self._prepared(wanted)
        self._pulse.preparing(False)
        self._scheduler.prepared(voice)  # before the stage knows it and may have it unloaded
        self._io_thread.post(-1, told)

    def _prepared(
        self, wanted: Preparation
    ) -> tuple[Voice | None, wire.Prepared | wire.PrepareFailed]:
        """The voice, if it came to one, and what is told of it."""
        began = time.monotonic()
        spec = wanted.spec
        try:
            voice, cached = self._voice(wanted)
        except Exception as error:  # noqa: BLE001 - whatever an engine raises costs a voice only
            _end_if_lost(error)
            code, message, hint = _told(error)
            return None, wire.PrepareFailed(wanted.key, spec.name, code, message, hint)
        took_s = time.monotonic() - began
        lufs = wire.Lufs(float(voice.loudness_lufs))
        return voice, wire.Prepared(wanted.key, spec.name, lufs, cached, took_s)

    def _voice(self, wanted: Preparation) -> tuple[Voice, bool]:
        """The voice, loaded, and whether it was there already (in memory or on disk)."""
        resident = self._scheduler.voice(wanted.key)
        if resident is not None:
            return dataclasses.replace(resident, name=wanted.spec.name), True
        return prepared(self._engine, wanted.spec, wanted.key, self._cache)


def _told(error: Exception) -> tuple[str, str, str]:
    """Code, message and hint of what an engine raised."""
    if isinstance(error, KoedError):
        return error.code, error.message, error.hint
    log.error("the engine raised", exc_info=error)
    return "engine_bug", f"{type(error).__name__}: {error}"[:300], ""


def _end_if_lost(error: Exception) -> None:
    """A GPU that failed fails every call to come, so that this process is of no use any more."""
    if isinstance(error, KoedError) and error.code == "device_lost":
        print(error, file=sys.stderr, flush=True)
        os._exit(EXIT_LOST)


# --- the process -----------------------------------------------------------------------------


class _Forward(logging.Handler):
    """Log records go to the stage."""

    def __init__(self, io_thread: IoThread) -> None:
        super().__init__(logging.INFO)
        self._io_thread = io_thread

    def emit(self, record: logging.LogRecord) -> None:
        self._io_thread.post_log(record.levelno, self.format(record))


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """``listen`` for a stage on another machine, else ``connect`` as a child of one."""

    engine: str
    cache: Path | None = None
    listen: str = ""
    keys: Path | None = None
    """Folder as `koed.auth.keys` makes it; a must on a network."""
    stuck_s: float = STUCK_S
    connect: str = ""
    identity: str = ""
    parent: int = 0


def run(options: Options) -> int:
    """Run a worker until it is told to end; the process's exit status."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        zap = _zap(context, options.keys) if options.listen and options.keys else None
        socket = _socket(context, options, zap)
    except KoedError as error:
        print(error, file=sys.stderr)
        context.destroy(linger=0)
        return EXIT_UNUSABLE
    scheduler, pulse = Scheduler(), Pulse()
    io_thread = IoThread(
        socket, scheduler, pulse, zap=zap, stuck_s=options.stuck_s,
        stuck=_start_over if options.listen else None,
    )  # fmt: skip
    logging.getLogger().addHandler(_Forward(io_thread))
    logging.getLogger().setLevel(logging.INFO)
    carrier = threading.Thread(target=_carry, args=(io_thread,), name="io_thread", daemon=True)
    carrier.start()
    try:
        return _synthesise(options, scheduler, io_thread, pulse)
    finally:
        io_thread.end()
        carrier.join(timeout=1.0)
        context.destroy(linger=200)


def _synthesise(options: Options, scheduler: Scheduler, io_thread: IoThread, pulse: Pulse) -> int:
    try:
        engine = registry.create(options.engine)
        engine.warm_up()
    except KoedError as error:
        print(error, file=sys.stderr)
        return EXIT_UNUSABLE
    cache = VoiceCache(options.cache, engine.name, engine.version) if options.cache else None
    pulse.end()
    io_thread.warm(Warm(engine.name, engine.capabilities, engine.version))
    log.info("engine %s is warm (process %d)", engine.name, os.getpid())
    beside = None
    if registry.find(options.engine).prepares_beside:
        beside = ThreadPoolExecutor(1, thread_name_prefix="preparing")
    try:
        Synthesis(engine, scheduler, io_thread, pulse, cache, beside).run()
    finally:
        if beside is not None:
            beside.shutdown(cancel_futures=True)
        engine.close()
    return 0


def _carry(io_thread: IoThread) -> None:
    try:
        io_thread.run()
    except Exception:
        # Without this thread nobody hears the worker: better gone, so that it is started again.
        log.exception("the I/O thread failed")
        traceback.print_exc()
        os._exit(EXIT_BROKEN)


def _start_over() -> None:
    """Replace this process by a fresh one in place: same process id, same arguments."""
    print("the engine hangs in a job: starting over", file=sys.stderr, flush=True)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _zap(context: zmq.Context[zmq.Socket[bytes]], folder: Path) -> ZapHandler:
    """Raises `KoedError` as `koed.auth.keys.server_pair`."""
    zap = ZapHandler(context, keys.server_pair(folder), _Admission(folder).admits)
    names = keys.names(folder)
    if names:
        log.info("admitted: %s (keys in %s)", ", ".join(names), folder)
    else:
        log.warning(
            "nobody is admitted, as there is no client's key in %s: `koed keys new streaming-pc`"
            " makes one (if it says that it lies elsewhere: --keys); no restart is needed",
            folder,
        )
    return zap


class _Admission:
    """Who comes in; says of each machine that does not, but not of more than `STRANGERS`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._told: set[str] = set()

    def admits(self, key: str) -> bool:
        try:
            known = key in keys.admitted(self._folder).values()
        except KoedError as error:
            log.warning("nobody is let in: %s", error)
            return False
        if not known and key not in self._told and len(self._told) < STRANGERS:
            self._told.add(key)
            log.warning(
                "a machine is not let in, as no file in %s has its key %s:"
                " `koed keys list` shows whose do",
                self._folder / "clients", key,
            )  # fmt: skip
        return known


def _socket(
    context: zmq.Context[zmq.Socket[bytes]], options: Options, zap: ZapHandler | None
) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.ROUTER if options.listen else zmq.DEALER)
    socket.linger = 200
    socket.maxmsgsize = wire.MAX_MESSAGE_BYTES
    # Credit bounds the sound in flight; these bound everything else.
    socket.sndhwm = socket.rcvhwm = 10_000
    if not options.listen:
        socket.setsockopt(zmq.ROUTING_ID, options.identity.encode())
        socket.connect(options.connect)
        return socket
    socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    # A stage whose cable was pulled must not keep its connection for TCP's many minutes.
    socket.heartbeat_ivl, socket.heartbeat_timeout = 1000, 3000
    if zap is not None:
        zap.guard(socket)
    try:
        socket.bind(options.listen)
    except zmq.ZMQError as error:
        raise KoedError("cannot_listen", f"cannot listen at {options.listen}: {error}") from error
    return socket


def _bind_to_parent(parent: int) -> None:
    """Die with the stage: a worker without one would hold the GPU and be heard by nobody."""
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(0)


def _leave(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def serve(args: argparse.Namespace) -> int:
    """``koed worker``: ``engine``, ``listen`` and ``keys``; the process's exit status."""
    if not args.listen.startswith("ipc://") and args.keys is None:
        print("a worker on a network needs --keys FOLDER (koed keys new)", file=sys.stderr)
        return 2
    signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    cache = getattr(args, "cache", None) or folders.cache(os.environ) / "voices"
    stuck_s = getattr(args, "stuck_s", STUCK_S)
    return run(Options(args.engine, cache, args.listen, args.keys, stuck_s))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="koed worker", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--engine", required=True, metavar="NAME")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="of prepared voices")
    parser.add_argument("--listen", metavar="tcp://ADDRESS:PORT")
    parser.add_argument("--keys", type=Path, metavar="FOLDER")
    parser.add_argument("--stuck-s", type=float, default=STUCK_S, metavar="S")
    for name, kind in (("connect", str), ("identity", str), ("parent", int)):
        parser.add_argument(f"--{name}", type=kind, help="for a child of the stage")
    args = parser.parse_args(argv)
    if args.listen:
        return serve(args)
    if not (args.connect and args.identity and args.parent):
        parser.error("--listen tcp://ADDRESS:PORT")
    _bind_to_parent(args.parent)
    return run(
        Options(
            args.engine, args.cache, connect=args.connect, identity=args.identity,
            parent=args.parent,
        )
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
