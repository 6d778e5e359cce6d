"""What an engine host tells the stage."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from koed.engine.base import Capabilities
from koed.engine.host.worker_state import WorkerState
from koed.engine.jobs import JobOwner
from koed.engine.wire import Done, Failed, Mended, Sound


class HostListener(Protocol):
    """Told in the thread of `EngineHost.receive` and `tick`; may call any method of the host but
    `start` and `stop`."""

    def engine_up(
        self, engine: str, ready_s: float, pid: int, capabilities: Capabilities
    ) -> None: ...

    def engine_down(
        self, engine: str, code: str, message: str, retry_s: float, lost: list[int]
    ) -> None:
        """``lost``: serials that were given to it and are not over. The same failure again and
        again is told once."""

    def voice_ready(
        self, engine: str, name: str, key: str, loudness_lufs: float, cached: bool, prepare_s: float
    ) -> None: ...

    def voice_failed(
        self, engine: str, name: str, key: str, code: str, message: str, hint: str
    ) -> None: ...

    def owner_of(self, serial: int) -> JobOwner | None:
        """Who hears what becomes of a job; never asked of one that `keep` left out."""


def tell_of_job(
    listener: HostListener,
    worker: WorkerState,
    message: Sound | Done | Failed | Mended,
    pcm: NDArray[np.float32] | None,
) -> None:
    """Pass on what a worker says of a job, if that is still alive."""
    alive = message.serial in worker.outstanding
    owner = listener.owner_of(message.serial) if alive else None
    match message:
        case Sound(serial, lane, _, rate_hz, words, mouths) if pcm is not None and rate_hz > 0:
            # Sound of dead jobs counts too: the worker has used the lane's credit for it.
            worker.received_s[lane] = worker.received_s.get(lane, 0.0) + len(pcm) / rate_hz
            if owner is not None:
                owner.chunk(serial, pcm, rate_hz, words, mouths)
        case Mended(serial, _, code) if owner is not None:
            owner.mended(serial, code)
        case Done(serial) if alive:
            worker.drop([serial])
            if owner is not None:
                owner.done(serial)
        case Failed(serial, _, code, text) if alive:
            worker.drop([serial])
            if owner is not None:
                owner.failed(serial, code, text)
