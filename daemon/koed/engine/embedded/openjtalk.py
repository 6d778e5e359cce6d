"""Japanese: pyopenjtalk-plus reads, the HTS voice "mei" that comes in its wheel speaks.

Only the parts that need no other model are used: without them pyopenjtalk would load the Sudachi
dictionary (190 MB) to guess between readings of a few words.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from koed.engine import visemes
from koed.engine.embedded.hts import Hts
from koed.engine.embedded.script import Script, as_unicode, speakable, write
from koed.engine.embedded.sound import Look, Manner, Mark, Piece
from koed.errors import EngineError

RATE_HZ = 48000
LEVEL_LUFS = -17.8
SILENCE = 0.004
MAX_CHARS = 100
HINT = "install the extra: pip install 'koed[embedded]'"
_STEP_FRAMES = 4
"""20 ms of sound per piece: 1 ms of work."""
_EDGE_FRAMES = 8
"""So many of the silence around an utterance are made; the rest would be trimmed anyway."""
_SILENT = ("sil", "pau")


class OpenJTalk:
    """Loaded when first used: dictionary and voice take about 0.4 s and 45 MB."""

    def __init__(self) -> None:
        self._reader: Any = None
        self._hts: Hts | None = None
        self._lock = threading.Lock()

    def load(self) -> None:
        """Raises `EngineError` ``library_missing`` without pyopenjtalk-plus."""
        with self._lock:
            if self._hts is not None:
                return
            try:
                # It prints advice to install more.
                with contextlib.redirect_stdout(io.StringIO()):
                    reader = importlib.import_module("pyopenjtalk")
                    engine = importlib.import_module("pyopenjtalk.htsengine")
            except ImportError as error:
                raise EngineError(
                    "library_missing", f"pyopenjtalk cannot be imported: {error}", HINT
                ) from error
            self._reader = reader
            self._hts = Hts(str(engine.__file__), reader.DEFAULT_HTS_VOICE)

    def speak(self, text: str, manner: Manner) -> Iterator[Piece]:
        """``text`` as raw sound at `RATE_HZ`."""
        self.load()
        offset = 0
        for part in write(text, as_unicode, MAX_CHARS).parts(MAX_CHARS):
            if not speakable(part.text):
                continue
            for piece in self._utter(part, manner, offset):
                offset += len(piece.pcm)
                yield piece

    def close(self) -> None:
        if self._hts is not None:
            self._hts.close()
            self._hts = None

    def _utter(self, script: Script, manner: Manner, offset: int) -> Iterator[Piece]:
        """``offset``: samples spoken before this part."""
        labels, words = self._read(script)
        if self._hts is None or not words:
            return
        with self._hts.utterance(labels, manner.rate) as utterance:
            utterance.bend(manner.pitch, manner.intonation)
            starts = np.concatenate(([0], np.cumsum(utterance.frames)))
            start = max(0, int(starts[1]) - _EDGE_FRAMES)
            end = min(utterance.total, int(starts[-2]) + _EDGE_FRAMES)
            size = self._hts.frame_samples
            marks = tuple(
                Mark(first, last, offset + (int(starts[phone]) - start) * size)
                for first, last, phone in words
            )
            looks = self._looks(labels, starts - start, offset)
            for pcm in utterance.sound(start, end, _STEP_FRAMES):
                yield Piece((pcm / 32768.0).astype(np.float32), marks, looks)
                marks = looks = ()

    def _looks(self, labels: list[str], frames: Any, offset: int) -> tuple[Look, ...]:
        """``frames``: where each phone begins and the last one ends, in frames of this part."""
        if self._hts is None:
            return ()
        starts = offset + np.maximum(frames, 0) * self._hts.frame_samples
        phones = [_phone(label) for label in labels]
        timed = visemes.timed(phones, starts.tolist(), "ja")
        return tuple(Look(shape, round(at)) for shape, at in timed)

    def _read(self, script: Script) -> tuple[list[str], list[tuple[int, int, int]]]:
        """Full-context labels and, for each word with a sound, its first and last character in
        the job's text and the label that it begins with."""
        reader = self._reader
        features, morphs = reader.run_frontend_detailed(
            script.text, use_sudachi_kanji_yomi=False, predict_nani=False
        )
        labels: list[str] = reader.make_label(features)
        phones = [_phone(label) for label in labels]
        words, at = [], 0
        for entry in reader.make_phoneme_mapping(features, morphs, caller_text=script.text):
            sounds = [p for p in entry["phonemes"] if p not in _SILENT]
            while at < len(phones) and phones[at] in _SILENT:
                at += 1
            first, last = entry["char_span"]
            if sounds and first < last and at < len(phones):
                words.append((*script.span(first, last), at))
            for _ in sounds:
                while at < len(phones) and phones[at] in _SILENT:
                    at += 1
                at += 1
        return labels, words


def _phone(label: str) -> str:
    """Of a full-context label."""
    return label.split("-", 1)[1].split("+", 1)[0]
