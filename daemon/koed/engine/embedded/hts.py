"""The HTS engine inside pyopenjtalk, one frame at a time.

pyopenjtalk offers only whole utterances: a second of Japanese takes 45 ms before its first sample
can be heard, nearly all of it in the vocoder. Its extension module exports the C functions of the
HTS engine API 1.10 that it is made of (modified BSD licence); called with ctypes, the same models
give the same samples, bit for bit, but the first 40 ms of sound after 4 ms.

The library's structures are opaque here: it gets zeroed memory larger than any of them.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koed.errors import EngineError

_STRUCTURE_BYTES = 16384
_NO_PITCH = -1.0e10
_SEMITONE = 0.0577622650466621
"""log(2) / 12"""
_SPECTRUM, _PITCH, _FILTER = 0, 1, 2
_ALPHA = b"ALPHA="

# The vocoder's filter leaves its stable range when the spectrum of one frame swings too far, which
# the models make it do on a vowel repeated for seconds ("aaaaa"): from there it grows without end.
# Ordinary speech stays inside these bounds, in nepers about the frame's mean level.
_SWING_UP, _SWING_DOWN = 8.5, 5.8
_LOUDEST = 11.8
"""Mean level and swing of a frame together: log of the sample value, full scale 32768."""
_BINS = 96
_RUNAWAY = 4.0 * 32768.0
"""Louder than this is no speech: the filter starts afresh."""

_P, _Z, _D, _B = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_double, ctypes.c_char
_PROTOTYPES: dict[str, tuple[object, list[object]]] = {
    "HTS_ModelSet_initialize": (None, [_P]),
    "HTS_ModelSet_load": (_B, [_P, ctypes.POINTER(ctypes.c_char_p), _Z]),
    "HTS_ModelSet_clear": (None, [_P]),
    "HTS_ModelSet_get_nstate": (_Z, [_P]),
    "HTS_ModelSet_get_nstream": (_Z, [_P]),
    "HTS_ModelSet_get_sampling_frequency": (_Z, [_P]),
    "HTS_ModelSet_get_fperiod": (_Z, [_P]),
    "HTS_ModelSet_get_option": (ctypes.c_char_p, [_P, _Z]),
    "HTS_Label_initialize": (None, [_P]),
    "HTS_Label_load_from_strings": (None, [_P, _Z, _Z, ctypes.POINTER(ctypes.c_char_p), _Z]),
    "HTS_Label_clear": (None, [_P]),
    "HTS_SStreamSet_initialize": (None, [_P]),
    "HTS_SStreamSet_create": (_B, [_P, _P, _P, _B, _D, _P, _P, _P]),
    "HTS_SStreamSet_get_duration": (_Z, [_P, _Z]),
    "HTS_SStreamSet_clear": (None, [_P]),
    "HTS_PStreamSet_initialize": (None, [_P]),
    "HTS_PStreamSet_create": (_B, [_P, _P, _P, _P]),
    "HTS_PStreamSet_get_total_frame": (_Z, [_P]),
    "HTS_PStreamSet_get_vector_length": (_Z, [_P, _Z]),
    "HTS_PStreamSet_get_msd_flag": (_B, [_P, _Z, _Z]),
    "HTS_PStreamSet_get_parameter_vector": (ctypes.POINTER(_D), [_P, _Z, _Z]),
    "HTS_PStreamSet_clear": (None, [_P]),
    "HTS_Vocoder_initialize": (None, [_P, _Z, _Z, _B, _Z, _Z]),
    "HTS_Vocoder_synthesize": (None, [_P, _Z, _D, _P, _Z, _P, _D, _D, _D, _P, _P]),
    "HTS_Vocoder_clear": (None, [_P]),
}


class Hts:
    """One voice file. Not thread-safe to load; utterances are independent of each other."""

    def __init__(self, library_path: str, voice_path: bytes) -> None:
        """Raises `EngineError` ``hts_unusable`` if the extension module is another than known."""
        try:
            self.c = ctypes.CDLL(library_path)
            for name, (result, arguments) in _PROTOTYPES.items():
                function = getattr(self.c, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError) as error:
            raise EngineError(
                "hts_unusable", f"no HTS functions in pyopenjtalk: {error}"
            ) from error
        self.models = ctypes.create_string_buffer(_STRUCTURE_BYTES)
        self.c.HTS_ModelSet_initialize(self.models)
        loaded = self.c.HTS_ModelSet_load(self.models, (ctypes.c_char_p * 1)(voice_path), 1)
        if loaded != b"\x01" or self.c.HTS_ModelSet_get_nstream(self.models) != _FILTER + 1:
            raise EngineError("hts_unusable", f"not a voice for this engine: {voice_path!r}")
        self.states = self.c.HTS_ModelSet_get_nstate(self.models)
        self.rate_hz = self.c.HTS_ModelSet_get_sampling_frequency(self.models)
        self.frame_samples = self.c.HTS_ModelSet_get_fperiod(self.models)
        option = self.c.HTS_ModelSet_get_option(self.models, _SPECTRUM) or b""
        if not option.startswith(_ALPHA):
            raise EngineError("hts_unusable", f"unknown options of the voice: {option!r}")
        self.alpha = float(option[len(_ALPHA) :].split(b",")[0])

    def close(self) -> None:
        self.c.HTS_ModelSet_clear(self.models)

    @contextlib.contextmanager
    def utterance(self, labels: Sequence[str], rate: float) -> Iterator[HtsUtterance]:
        """The parameters of a whole utterance, in memory of the library until the end of the
        block. ``labels``: one full-context label per phone."""
        label, states, parameters = (ctypes.create_string_buffer(_STRUCTURE_BYTES) for _ in "123")
        ones, halves = (_D * 8)(*[1.0] * 8), (_D * 8)(*[0.5] * 8)
        weights = (_P * 1)(ctypes.addressof(ones))
        lines = (ctypes.c_char_p * len(labels))(*[line.encode() for line in labels])
        c = self.c
        c.HTS_Label_initialize(label)
        c.HTS_SStreamSet_initialize(states)
        c.HTS_PStreamSet_initialize(parameters)
        try:
            c.HTS_Label_load_from_strings(
                label, self.rate_hz, self.frame_samples, lines, len(labels)
            )
            made = c.HTS_SStreamSet_create(
                states, self.models, label, b"\0", rate, ones, weights, weights
            )
            if made != b"\x01" or c.HTS_PStreamSet_create(parameters, states, halves, ones) != made:
                raise EngineError("hts_failed", f"no parameters for {len(labels)} labels")
            frames = [
                sum(
                    c.HTS_SStreamSet_get_duration(states, phone * self.states + state)
                    for state in range(self.states)
                )
                for phone in range(len(labels))
            ]
            yield HtsUtterance(self, parameters, frames)
        finally:
            c.HTS_PStreamSet_clear(parameters)
            c.HTS_SStreamSet_clear(states)
            c.HTS_Label_clear(label)


class HtsUtterance:
    """``frames[i]``: length of phone ``i`` in frames of `Hts.frame_samples`."""

    def __init__(self, hts: Hts, parameters: object, frames: list[int]) -> None:
        self.frames = frames
        self._hts = hts
        self._parameters = parameters
        c = hts.c
        self.total = c.HTS_PStreamSet_get_total_frame(parameters)
        self._order = c.HTS_PStreamSet_get_vector_length(parameters, _SPECTRUM) - 1
        self._taps = c.HTS_PStreamSet_get_vector_length(parameters, _FILTER)
        voiced = [
            c.HTS_PStreamSet_get_msd_flag(parameters, _PITCH, frame) != b"\0"
            for frame in range(self.total)
        ]
        # Of the pitch, only voiced frames are stored, one after the other.
        values = (
            c.HTS_PStreamSet_get_parameter_vector(parameters, _PITCH, index)[0]
            for index in range(sum(voiced))
        )
        self.log_pitch = np.array([next(values) if v else _NO_PITCH for v in voiced])
        angles = np.linspace(0.0, np.pi, _BINS)
        self._cosines = np.cos(np.outer(np.arange(1, self._order + 1), angles))

    def bend(self, semitones: float, intonation: float) -> None:
        """Moves the pitch; ``intonation`` scales its movement about its mean."""
        voiced = self.log_pitch != _NO_PITCH
        if not voiced.any():
            return
        mean = self.log_pitch[voiced].mean()
        bent = mean + (self.log_pitch[voiced] - mean) * intonation + semitones * _SEMITONE
        self.log_pitch[voiced] = np.clip(bent, np.log(20.0), np.log(20000.0))

    def sound(self, start: int, end: int, step: int) -> Iterator[NDArray[np.float64]]:
        """Frames ``start`` to ``end``, ``step`` at a time; full scale is 32768."""
        hts, c, size = self._hts, self._hts.c, self._hts.frame_samples
        vector = c.HTS_PStreamSet_get_parameter_vector
        vocoder = self._vocoder()
        try:
            for first in range(start, end, step):
                count = min(step, end - first)
                out = np.empty(count * size)
                for index in range(count):
                    frame = first + index
                    spectrum = vector(self._parameters, _SPECTRUM, frame)
                    self._tame(spectrum)
                    c.HTS_Vocoder_synthesize(
                        vocoder, self._order, self.log_pitch[frame], spectrum, self._taps,
                        vector(self._parameters, _FILTER, frame), hts.alpha, 0.0, 1.0,
                        out.ctypes.data + index * size * out.itemsize, None,
                    )  # fmt: skip
                if not np.abs(out).max() < _RUNAWAY:  # also if it is not a number
                    c.HTS_Vocoder_clear(vocoder)
                    vocoder = self._vocoder()
                    out = np.nan_to_num(out).clip(-32768.0, 32768.0)
                yield out
        finally:
            c.HTS_Vocoder_clear(vocoder)

    def _vocoder(self) -> Any:
        hts, memory = self._hts, ctypes.create_string_buffer(_STRUCTURE_BYTES)
        hts.c.HTS_Vocoder_initialize(memory, self._order, 0, b"\0", hts.rate_hz, hts.frame_samples)
        return memory

    def _tame(self, spectrum: Any) -> None:
        """Keeps one frame's mel-cepstrum in the range where the filter is stable, in place."""
        cepstrum = np.ctypeslib.as_array(spectrum, (self._order + 1,))
        swing = cepstrum[1:] @ self._cosines
        up, down = float(swing.max()), -float(swing.min())
        scale = min(1.0, _SWING_UP / max(up, 1e-9), _SWING_DOWN / max(down, 1e-9))
        if scale < 1.0:
            cepstrum[1:] *= scale
        cepstrum[0] = min(float(cepstrum[0]), _LOUDEST - up * scale)
