"""What is in a recording: whose voice when, and which text in the picture.

Sounds and pictures are compared by normalised correlation (1 = the same but for loudness or
contrast), with what they should be and, so that a likeness means something, with what they must not
be.
"""

from __future__ import annotations

import base64
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koed.errors import KoedError
from koed.integrations.obs.link import Link

RATE_HZ = 16000
FPS = 10
WIDTH, HEIGHT = 1280, 720
SAME_SOUND, OTHER_SOUND = 0.9, 0.75
SAME_PICTURE, OTHER_PICTURE = 0.95, 0.7
PIECE_S = 0.4
DRAW_S = 40.0
TRIM = 0.003
"""-50 dB: silence around a rendered line is cut off."""

Sound = NDArray[np.float32]
Frames = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Span:
    """Where something is in a recording, and how like it is. Seconds from its beginning."""

    start_s: float
    end_s: float
    likeness: float

    def told(self) -> dict[str, float]:
        return {
            "from_s": round(self.start_s, 2),
            "to_s": round(self.end_s, 2),
            "likeness": round(self.likeness, 3),
        }


@dataclass(frozen=True, slots=True)
class Place:
    """A rectangle of the picture, in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def cut(self, pictures: Frames) -> NDArray[np.float32]:
        """[..., H, W] -> [..., h, w]"""
        cut = pictures[..., self.top : self.bottom, self.left : self.right]
        return np.asarray(cut, np.float32)


def _decode(path: Path, *options: str) -> bytes:
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), *options, "-"], capture_output=True, timeout=120
    )
    if done.returncode:
        raise KoedError(
            "proof_ffmpeg", f"{path.name} cannot be decoded", done.stderr.decode()[:500]
        )
    return done.stdout


def sound_of(path: Path) -> Sound:
    """[S] float32, mono at `RATE_HZ`."""
    pcm = _decode(path, "-map", "0:a:0", "-ac", "1", "-ar", str(RATE_HZ), "-f", "s16le")
    return np.asarray(np.frombuffer(pcm, "<i2") / 32768, np.float32)


def frames_of(path: Path) -> Frames:
    """[frames, HEIGHT, WIDTH] grey, `FPS` a second."""
    raw = _decode(path, "-map", "0:v:0", "-vf", f"fps={FPS}", "-pix_fmt", "gray", "-f", "rawvideo")
    return np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT, WIDTH)


def find(heard: Sound, wanted: Sound) -> Span:
    """Where ``wanted`` is in ``heard``; both at `RATE_HZ`.

    It is looked for in pieces: on a busy machine a sound server may lose some milliseconds, and
    what comes after is shifted. The likeness is the median of theirs.
    """
    loud = np.flatnonzero(np.abs(wanted) > TRIM)
    whole = wanted[loud[0] : loud[-1]] if len(loud) else wanted
    size = round(PIECE_S * RATE_HZ)
    found = [_find_piece(heard, whole[at : at + size]) for at in range(0, len(whole) - size, size)]
    if not found:
        return Span(0.0, 0.0, 0.0)
    good = [span for span in found if span.likeness > SAME_SOUND] or found
    likeness = float(np.median([span.likeness for span in found]))
    return Span(min(span.start_s for span in good), max(span.end_s for span in good), likeness)


def _find_piece(heard: Sound, part: Sound) -> Span:
    if len(heard) <= len(part):
        return Span(0.0, 0.0, 0.0)
    size = 1 << (len(heard) + len(part)).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(part, size))
    products = np.fft.irfft(spectrum, size)[: len(heard) - len(part)]
    energy = np.concatenate([[0.0], np.cumsum(heard.astype(np.float64) ** 2)])
    local = energy[len(part) :][: len(products)] - energy[: len(products)]
    alike = products / (np.sqrt(np.maximum(local, 1e-3)) * np.linalg.norm(part))
    at = int(np.argmax(alike))
    return Span(at / RATE_HZ, (at + len(part)) / RATE_HZ, float(alike[at]))


def level_difference_db(
    tones: Sequence[tuple[float, float]],
    meters: Sequence[tuple[float, float, float]],
    levels: Sequence[tuple[float, float, float]],
) -> float:
    """The largest difference between OBS's meter and koed's levels, root mean square or peak, in
    any of the spans in which a tone stood still. ``meters`` are linear, ``levels`` decibels."""
    worst = 0.0
    for start_t, end_t in tones:
        theirs = [(m, p) for t, m, p in meters if start_t < t < end_t]
        ours = [(r, p) for t, r, p in levels if start_t < t < end_t]
        if len(theirs) < 3 or len(ours) < 3:
            return float("inf")
        meter_db = 20 * np.log10(np.maximum(np.median(theirs, axis=0), 1e-9))
        worst = max(worst, float(np.abs(meter_db - np.median(ours, axis=0)).max()))
    return round(worst, 2) if tones else float("inf")


# --- pictures --------------------------------------------------------------------------------


def drawn(link: Link, scene: str, source: str, text: str) -> Frames:
    """What OBS draws of a scene, [HEIGHT, WIDTH] grey, while the text source shows ``text``."""
    link.call("SetInputSettings", inputName=source, inputSettings={"text": text}, overlay=True)
    _wait_for_frames(link)
    picture = link.call(
        "GetSourceScreenshot", sourceName=scene, imageFormat="png", imageWidth=WIDTH,
        imageHeight=HEIGHT,
    )  # fmt: skip
    png = base64.b64decode(picture["imageData"].split(",", 1)[1])
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "png_pipe", "-i", "-", "-pix_fmt", "gray", "-f", "rawvideo",
         "-"],
        input=png, capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    return np.frombuffer(done.stdout, np.uint8).reshape(HEIGHT, WIDTH)


def _wait_for_frames(link: Link, count: int = 3) -> None:
    """Until OBS has drawn so many: a new text is in the first or the second."""

    def drawn_so_far() -> int:
        return int(link.call("GetStats")["renderTotalFrames"])

    until, deadline = drawn_so_far() + count, time.monotonic() + DRAW_S
    while drawn_so_far() < until:
        if time.monotonic() > deadline:
            raise KoedError("proof_picture", f"OBS draws no frame in {DRAW_S:g} s")
        time.sleep(0.02)


def place_of(link: Link, scene: str, source: str) -> Place:
    """Where a text lies, whose place is set by its lower left corner."""
    item = link.call("GetSceneItemId", sceneName=scene, sourceName=source)["sceneItemId"]
    where: Any = link.call("GetSceneItemTransform", sceneName=scene, sceneItemId=item)
    where = where["sceneItemTransform"]
    left, bottom = round(where["positionX"]), round(where["positionY"])
    return Place(
        max(0, left),
        max(0, bottom - round(where["height"])),
        min(WIDTH, left + round(where["width"])),
        min(HEIGHT, bottom),
    )


def likeness(frames: Frames, wanted: Frames, place: Place) -> NDArray[np.float64]:
    """[frames]: how like each is to the picture ``wanted`` at ``place``."""
    pattern = place.cut(wanted).ravel()
    pattern = pattern - pattern.mean()
    alike = np.zeros(len(frames))
    for number, frame in enumerate(frames):
        part = place.cut(frame).ravel()
        part = part - part.mean()
        size = float(np.linalg.norm(part) * np.linalg.norm(pattern))
        alike[number] = float(part @ pattern) / size if size > 1.0 else 0.0
    return alike
