"""English through the flite library (CMU, BSD-like licence), called with ctypes.

flite predicts the parameters of a whole utterance (0.2 ms per character) and then runs its vocoder
frame by frame, calling back every 20 ms of sound (0.2 ms of work): the first frame is out long
before the last one is made. A thread of its own runs each utterance ahead of the listener, as far
as it goes: an utterance is bounded (`MAX_CHARS`), so that needs no back-pressure, and the library,
which is not thread-safe, is never held while somebody listens.
"""

from __future__ import annotations

import ctypes
import math
import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from koed.engine import visemes
from koed.engine.embedded.script import Script, as_ascii, speakable, write
from koed.engine.embedded.sound import Look, Manner, Mark, Piece
from koed.errors import EngineError

RATE_HZ = 16000
MAX_CHARS = 400
HINT = "install the package libflite1 (apt-get install libflite1)"
_FRAME_SAMPLES = 320
_THREAD = "flite"
_STOP, _CONTINUE = -1, 0
_LOCK = threading.Lock()
"""flite is not thread-safe, and it is one library per process."""

# flite keeps the pointer to a feature's name, not a copy: these must live as long as the process.
_STREAMING, _STRETCH, _F0_MEAN, _F0_SPREAD = (
    b"streaming_info", b"duration_stretch", b"int_f0_target_mean", b"int_f0_target_stddev",
)  # fmt: skip
_TOKEN, _SEGMENT, _NAME, _END = b"Token", b"Segment", b"name", b"end"
_TOKEN_BEGIN = b"R:Token.daughter1.R:SylStructure.daughter1.daughter1.R:Segment.p.end"
_TOKEN_HAS_WORD = b"R:Token.daughter1.R:SylStructure.daughter1.daughter1.name"


@dataclass(frozen=True, slots=True)
class FliteVoice:
    """What a flite voice is by nature. ``level_lufs`` is that of a plain sentence."""

    f0_mean_hz: float
    f0_spread_hz: float
    level_lufs: float
    silence: float
    """No sample of its pauses is louder."""
    pitch: bool = True
    """rms brings a pitch contour of its own that no parameter can move."""


SPEAKERS = {
    "slt": FliteVoice(172.0, 27.0, -16.4, 0.004),
    "rms": FliteVoice(103.0, 15.0, -22.0, 0.003, pitch=False),
    "awb": FliteVoice(127.0, 20.0, -21.0, 0.006),
    "kal16": FliteVoice(95.0, 11.0, -29.3, 0.004),
}


class _Wave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class _Voice(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("features", ctypes.c_void_p),
        ("ffunctions", ctypes.c_void_p),
        ("utt_init", ctypes.c_void_p),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(_Wave), ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p
)


class _Streaming(ctypes.Structure):
    _fields_ = (
        ("min_buffsize", ctypes.c_int),
        ("asc", _Callback),
        ("utt", ctypes.c_void_p),
        ("item", ctypes.c_void_p),
        ("userdata", ctypes.c_void_p),
    )


class _Run:
    """One utterance on its way: filled by flite's thread, emptied by `Flite.speak`."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.out: queue.SimpleQueue[Piece | Exception | None] = queue.SimpleQueue()
        self.stop = False


class Flite:
    """The library and its voices, loaded when first used."""

    def __init__(self) -> None:
        self._library: Any = None
        self._voices: dict[str, Any] = {}
        self._run: _Run | None = None
        self._callback = _Callback(self._on_sound)

    def load(self, voice: str) -> None:
        """Raises `EngineError` ``library_missing`` if flite is not installed."""
        with _LOCK:
            if voice in self._voices:
                return
            if self._library is None:
                self._library = _open_library()
            path = f"libflite_cmu_us_{voice}.so.1"
            register = getattr(_open(path), f"register_cmu_us_{voice}")
            register.restype, register.argtypes = ctypes.POINTER(_Voice), [ctypes.c_char_p]
            self._voices[voice] = register(None)

    def speak(self, text: str, voice: str, manner: Manner) -> Generator[Piece, None, None]:
        """``text`` as raw sound at `RATE_HZ`."""
        self.load(voice)
        offset = 0
        for part in write(text, as_ascii).parts(MAX_CHARS):
            if not speakable(part.text):
                continue
            length = 0
            for piece in self._utter(_Run(part), voice, manner):
                marks = tuple(Mark(m.start, m.end, m.at + offset) for m in piece.marks)
                looks = tuple(Look(look.shape, look.at + offset) for look in piece.looks)
                length += len(piece.pcm)
                yield Piece(piece.pcm, marks, looks)
            offset += length

    def _utter(self, run: _Run, voice: str, manner: Manner) -> Iterator[Piece]:
        thread = threading.Thread(
            target=self._synthesise, args=(run, voice, manner), daemon=True, name=_THREAD
        )
        thread.start()
        try:
            while (item := run.out.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            run.stop = True

    def _synthesise(self, run: _Run, voice: str, manner: Manner) -> None:
        """Runs in a thread of its own; always ends ``run.out`` with None."""
        try:
            with _LOCK:
                self._run = run
                handle = self._voices[voice]
                self._tune(handle, SPEAKERS[voice], manner)
                spoken = run.script.text.encode("ascii")
                utterance = None if run.stop else self._library.flite_synth_text(spoken, handle)
                if utterance:
                    self._library.delete_utterance(utterance)
                elif not run.stop:
                    run.out.put(EngineError("flite_failed", "flite gave no utterance"))
                self._run = None
        finally:
            run.out.put(None)

    def _tune(self, handle: Any, speaker: FliteVoice, manner: Manner) -> None:
        features, set_float = handle[0].features, self._library.flite_feat_set_float
        # The voice is one structure for the whole process; flite frees the value it replaces.
        streaming = self._library.new_audio_streaming_info()
        streaming[0].asc, streaming[0].min_buffsize = self._callback, _FRAME_SAMPLES
        value = self._library.audio_streaming_info_val(streaming)
        self._library.flite_feat_set(features, _STREAMING, value)
        factor = math.exp2(manner.pitch / 12.0)
        set_float(features, _STRETCH, 1.0 / manner.rate)
        set_float(features, _F0_MEAN, speaker.f0_mean_hz * factor)
        # flite divides by nothing here, but a spread of 0 reads as "not set" in some voices
        spread = max(0.5, speaker.f0_spread_hz * factor * manner.intonation)
        set_float(features, _F0_SPREAD, spread)
        # its noise comes from rand(): the C library's own, found in flite's namespace
        self._library.srand(manner.seed & 0xFFFFFFFF)

    def _on_sound(self, wave: Any, start: int, size: int, last: int, streaming: Any) -> int:
        """flite's callback, in flite's thread: ``wave.samples[start : start + size]`` are new."""
        run = self._run
        if run is None or run.stop:
            return _STOP
        try:
            samples = np.ctypeslib.as_array(wave[0].samples, (start + size,))[start:]
            pcm = samples.astype(np.float32) / np.float32(32768.0)
            utterance = ctypes.cast(streaming, ctypes.POINTER(_Streaming))[0].utt
            if start == 0:
                piece = Piece(pcm, self._marks(run.script, utterance), self._looks(utterance))
            else:
                piece = Piece(pcm)
            run.out.put(piece)
        except Exception as error:  # noqa: BLE001 - C cannot carry it: the reader raises it
            run.out.put(error)
            return _STOP
        return _CONTINUE

    def _marks(self, script: Script, utterance: Any) -> tuple[Mark, ...]:
        """One mark per token: what it was expanded to ("1999") does not matter here."""
        library, marks, cursor = self._library, [], 0
        item = library.relation_head(library.utt_relation(utterance, _TOKEN))
        while item:
            name = library.flite_ffeature_string(item, _NAME).decode("ascii", "replace")
            start = script.text.find(name, cursor)
            silent = library.flite_ffeature_string(item, _TOKEN_HAS_WORD) == b"0"
            if start >= 0 and name:
                cursor = start + len(name)
                if not silent:
                    begin_s = library.flite_ffeature_float(item, _TOKEN_BEGIN)
                    marks.append(Mark(*script.span(start, cursor), round(begin_s * RATE_HZ)))
            item = library.item_next(item)
        return tuple(marks)

    def segments(self, utterance: Any) -> tuple[list[str], list[float]]:
        """Phones, and when each begins and the last one ends, in seconds."""
        library, phones, starts_s = self._library, [], [0.0]
        item = library.relation_head(library.utt_relation(utterance, _SEGMENT))
        while item:
            phones.append(library.flite_ffeature_string(item, _NAME).decode("ascii", "replace"))
            starts_s.append(library.flite_ffeature_float(item, _END))
            item = library.item_next(item)
        return phones, starts_s

    def _looks(self, utterance: Any) -> tuple[Look, ...]:
        timed = visemes.timed(*self.segments(utterance), "en")
        return tuple(Look(shape, round(at_s * RATE_HZ)) for shape, at_s in timed)


def _open(name: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise EngineError("library_missing", f"flite cannot be loaded: {error}", HINT) from error


def _open_library() -> ctypes.CDLL:
    library = _open("libflite.so.1")
    for name in ("libflite_usenglish.so.1", "libflite_cmulex.so.1"):
        _open(name)
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    streaming = ctypes.POINTER(_Streaming)
    for name, result, arguments in (
        ("new_audio_streaming_info", streaming, []),
        ("audio_streaming_info_val", pointer, [streaming]),
        ("flite_feat_set", None, [pointer, text, pointer]),
        ("flite_feat_set_float", None, [pointer, text, ctypes.c_float]),
        ("flite_synth_text", pointer, [text, ctypes.POINTER(_Voice)]),
        ("delete_utterance", None, [pointer]),
        ("utt_relation", pointer, [pointer, text]),
        ("srand", None, [ctypes.c_uint]),
        ("relation_head", pointer, [pointer]),
        ("item_next", pointer, [pointer]),
        ("flite_ffeature_string", text, [pointer, text]),
        ("flite_ffeature_float", ctypes.c_float, [pointer, text]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    library.flite_init()
    return library
