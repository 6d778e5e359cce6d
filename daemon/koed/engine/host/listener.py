"""What an engine host tells the stage."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from koed.engine.base import Capabilities, Mouth, Word
from koed.engine.host.worker_state import WorkerState
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

    def chunk(
        self,
        serial: int,
        lane: int,
        pcm: NDArray[np.float32],
        rate_hz: int,
        words: tuple[Word, ...],
        mouths: tuple[Mouth, ...],
    ) -> None:
        """``pcm``: float32 mono ``[S]``, read-only. Never of a job that `keep` left out."""

    def done(self, serial: int, lane: int, seconds: float) -> None: ...

    def mended(self, serial: int, lane: int, code: str) -> None:
        """The engine found its own work on a job wrong (``code``) and made it anew, unheard."""

    def failed(self, serial: int, lane: int, code: str, message: str) -> None: ...  # fmt: skip


def tell_of_job(
    listener: HostListener,
    worker: WorkerState,
    message: Sound | Done | Failed | Mended,
    pcm: NDArray[np.float32] | None,
) -> None:
    """Pass on what a worker says of a job, if that is still alive."""
    alive = message.serial in worker.outstanding
    match message:
        case Sound(serial, lane, _, rate_hz, words, mouths) if pcm is not None and rate_hz > 0:
            # Sound of dead jobs counts too: the worker has used the lane's credit for it.
            worker.received_s[lane] = worker.received_s.get(lane, 0.0) + len(pcm) / rate_hz
            if alive:
                listener.chunk(serial, lane, pcm, rate_hz, words, mouths)
        case Mended(serial, lane, code) if alive:
            listener.mended(serial, lane, code)
        case Done(serial, lane, seconds) if alive:
            worker.drop([serial])
            listener.done(serial, lane, seconds)
        case Failed(serial, lane, code, text) if alive:
            worker.drop([serial])
            listener.failed(serial, lane, code, text)
