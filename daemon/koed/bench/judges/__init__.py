"""Judges of speech: what words are understood, how good it sounds, who speaks.

    judges = Judges.load()
    judges.words(pcm, rate_hz)      # "good evening and welcome to the stream"
    judges.dnsmos(pcm, rate_hz)     # Mos(p808=4.04, ovrl=3.29)
    judges.speaker(pcm, rate_hz)    # [256], of length 1

Their networks lie in packages and are read as data: no code of those is run, nothing is fetched.
``pcm`` is always [S] float32 mono in -1..1 of one line, at any rate. The plain measures beside them
(`wer`, `f0`, `clicks`, `edges`) need no extra.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from koed.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from koed.bench.judges.dnsmos import Dnsmos, Mos
    from koed.bench.judges.speaker import SpeakerEncoder
    from koed.bench.judges.words import WordListener

RATE_HZ = 16_000
"""At which all of them hear."""


@dataclass(frozen=True, slots=True)
class Judges:
    """All three, loaded. Not for several threads at once."""

    listener: WordListener
    quality: Dnsmos
    encoder: SpeakerEncoder | None
    """None where its package is not installed: it asks for torch and a compiler, of which koed
    needs nothing, so it cannot stand in the extra."""

    @classmethod
    def load(cls, threads: int = 1) -> Judges:
        """About 2 s. Raises `EngineError` ``library_missing`` where the extra is not installed,
        ``model_damaged`` where a file is not the one that was measured with."""
        from koed.bench.judges.dnsmos import Dnsmos
        from koed.bench.judges.speaker import SpeakerEncoder
        from koed.bench.judges.words import WordListener

        try:
            encoder = SpeakerEncoder()
        except EngineError as error:
            if error.code != "library_missing":
                raise
            encoder = None
        return cls(WordListener(threads), Dnsmos(threads), encoder)

    def words(self, pcm: NDArray[np.float32], rate_hz: int) -> str:
        """What an English listener understands; at most 30 s are heard."""
        return self.listener.words(at_16_khz(pcm, rate_hz))

    def dnsmos(self, pcm: NDArray[np.float32], rate_hz: int) -> Mos:
        """Mean opinion scores as people might give them, 1 to 5."""
        return self.quality.score(at_16_khz(pcm, rate_hz))

    def speaker(self, pcm: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
        """[256] of length 1: the cosine of two tells how alike their speakers are. Raises
        `EngineError` ``library_missing`` without an `encoder`."""
        from koed.bench.judges.speaker import absent

        if self.encoder is None:
            raise absent()
        return self.encoder.vector(at_16_khz(pcm, rate_hz))


def at_16_khz(pcm: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """[S] at ``rate_hz`` -> [S'] at `RATE_HZ`."""
    import soxr

    made: NDArray[np.float32] = soxr.resample(pcm.astype("float32", copy=False), rate_hz, RATE_HZ)
    return made
