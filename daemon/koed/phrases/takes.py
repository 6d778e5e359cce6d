"""The sound of a phrase in one voice: what it is named by, and its bytes for the disk."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, get_args

import msgpack
import numpy as np

from koed.config.delivery import Delivery
from koed.engine.base import Mouth, Shape, Word
from koed.playback.takes import Piece, Take
from koed.text.segment import Segment

SCHEMA = 1
MAX_S = 25.0
"""A longer take is not kept: two of them must find room on a lane of the mixer."""
_SHAPES = get_args(Shape)


def take_key(voice: str, version: str, delivery: Delivery, segments: Sequence[Segment]) -> str:
    """Hash of all that the sound follows from: the compiled voice's key (which holds engine and
    settings), the engine's version, the delivery, and the segments with their languages."""
    speed = 1.0 if delivery.speed is None else float(delivery.speed)
    parts = [SCHEMA, voice, version, speed, [[s.text, s.lang] for s in segments]]
    more = delivery.job_settings | ({} if delivery.seed is None else {"seed": delivery.seed})
    if more:  # as if there were none: what was rendered before there were such values is still good
        parts.append(sorted(more.items()))
    return hashlib.sha256(msgpack.packb(parts, use_bin_type=True)).hexdigest()[:32]


def to_bytes(take: Take) -> bytes:
    pieces = [
        [
            piece.text,
            piece.lang,
            piece.rate_hz,
            piece.pcm.astype("<f4", copy=False).tobytes(),
            [[word.start, word.end, word.at_s] for word in piece.words],
            [[mouth.shape, mouth.at_s] for mouth in piece.mouths],
        ]
        for piece in take.pieces
    ]
    body: bytes = msgpack.packb([SCHEMA, take.key, take.voice, pieces], use_bin_type=True)
    return hashlib.sha256(body).digest() + body


def from_bytes(data: bytes, key: str) -> Take | None:
    """What `to_bytes` gave for this key; None for anything else, torn or damaged files included."""
    digest, body = data[:32], data[32:]
    if hashlib.sha256(body).digest() != digest:
        return None
    try:
        schema, named, voice, pieces = msgpack.unpackb(body, raw=False)
        if schema != SCHEMA or named != key or not isinstance(voice, str):
            return None
        return Take(key, voice, tuple(map(_piece, pieces)))
    except (ValueError, TypeError, KeyError, msgpack.UnpackException):
        return None


def _piece(values: Any) -> Piece:
    text, lang, rate_hz, pcm, words, mouths = values
    samples = np.frombuffer(pcm, "<f4").astype(np.float32, copy=False)
    if not (isinstance(rate_hz, int) and 8000 <= rate_hz <= 192000):
        raise ValueError("rate_hz")
    if len(samples) > MAX_S * rate_hz or not (isinstance(text, str) and isinstance(lang, str)):
        raise ValueError("piece")
    return Piece(
        text,
        lang,
        rate_hz,
        samples,
        tuple(Word(int(start), int(end), _time(at_s)) for start, end, at_s in words),
        tuple(Mouth(_shape(shape), _time(at_s)) for shape, at_s in mouths),
    )


def _time(value: Any) -> float:
    seconds = float(value)
    if not math.isfinite(seconds):
        raise ValueError("time")
    return seconds


def _shape(value: Any) -> Shape:
    if value not in _SHAPES:
        raise ValueError("shape")
    shape: Shape = value
    return shape
