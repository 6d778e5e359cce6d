"""Pages of sound as a WAV file. On its own so that a client that saves nothing does not load it."""

from __future__ import annotations

import os
import wave
from collections.abc import Sequence

from koe.wire.results import Page, Recording


def write_wav(path: str | os.PathLike[str], pages: Sequence[Page]) -> Recording:
    """Write ``pages`` (at least one) to ``path``; the last one is cut at the first one's
    ``end_frame``. Works on pipes, too. Raises `OSError`."""
    first = pages[0]
    pcm = b"".join(page.pcm for page in pages)
    pcm = pcm[: 2 * max(0, first.end_frame - first.first_frame)]
    with open(path, "wb") as file, wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(first.rate_hz)
        sound.writeframes(pcm)
    return Recording(os.fspath(path), first.rate_hz, len(pcm) // 2)
