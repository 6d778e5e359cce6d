"""How far the times of words that the natural voice tells are from its sound.

Its own sound is the judge, where it says something: where a silence ends, where a plosive bursts,
where a hiss begins. A word that goes on in the voice of the one before it begins nowhere in
particular and is not counted, nor is one for which there are several such places. None of these
sentences was used to find out how far the sound is ahead of its symbols.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import koed
from koed.config.profile import load_profile
from koed.engine.base import Job, ProfileSpec, Word
from koed.engine.kokoro.engine import KokoroEngine
from koed.engine.kokoro.model import RATE_HZ
from koed.engine.kokoro.phonemes.marks import PAUSES
from koed.engine.kokoro.phonemes.read import read
from koed.errors import EngineError

SENTENCES = {
    "mia": (
        "Stop! Can you hear that? Something is coming down the stairs.",
        "Ten points for the captain, but two of them were pure luck.",
        "Okay, so the plan is simple: take the key, cross the bridge, turn left.",
        "Careful. That chest is a trap; people keep telling me so.",
        "Time to go. Same place tomorrow, and please bring cookies!",
        "Put some sugar into the tea, and keep the kettle close.",
        "Peter saw seven ships. Two of them turned back before sunset.",
        "Come on, pick a card! Could it be the seven again?",
    ),
    "yuki": (
        "待って、聞こえた？階段から誰か来るよ。",
        "作戦は簡単です。鍵を取って、橋を渡って、左に行きます。",
        "気をつけて。その箱は罠かもしれない、ともう一度言っておくね。",
        "また明日、この時間に来てください。お菓子も忘れずに。",
        "紅茶に砂糖を入れて、ケーキと食べましょう。",
        "とうとう最後の敵です。心の準備はできましたか？",
    ),
}  # fmt: skip
"""By voice."""

_PROFILES = Path(koed.__file__).resolve().parents[2] / "profiles"

_STEP_S, _WINDOW_S = 0.0025, 0.01
_SILENT_DB = 35.0
"""Below the loud places of a sentence."""
_PAUSE_S, _CLOSURE_S = 0.05, 0.02
"""A silence lasts at least so long, at the beginning of a plosive so long."""
_RISE_DB = 12.0
"""By which a hiss is louder than what was before it."""
_HISS_HZ = 4000.0
_NEAR_S = 0.2
_PLOSIVE, _HISS = frozenset("ptkʧʦʨ"), frozenset("sʃɕ")
_UNVOICED = _PLOSIVE | _HISS | frozenset("fθhçɸ")

Sound = NDArray[np.float32]


def measure() -> dict[str, Any]:
    """A table, printed; ``{"natural_words": {voice: {p50_ms, p90_ms, late_ms, words}}}``, or
    nothing and a line that says why where the engine is not installed."""
    engine, found = KokoroEngine(), {}
    try:
        for name in SENTENCES:
            found[name] = row(off(engine, name))
    except EngineError as error:
        if error.code not in ("library_missing", "model_missing", "model_broken", "model_cache"):
            raise
        print(f"the natural voice is left out: {error.message}", file=sys.stderr)
        return {}
    print(f"\n{'natural voice':26} {'p50 ms':>8} {'p90 ms':>8} {'late ms':>8} {'words':>6}")
    for name, its in found.items():
        print(f"{name:26} " + "{:8} {:8} {:8} {:6}".format(*its.values()))
    return {"natural_words": found}


def row(errors_s: Iterable[float]) -> dict[str, float]:
    """``late_ms`` is the middle of all with their sign: how late they are told."""
    ms = np.array(list(errors_s)) * 1000
    apart = np.abs(ms)
    return {
        "p50_ms": round(float(np.median(apart)), 1),
        "p90_ms": round(float(np.percentile(apart, 90)), 1),
        "late_ms": round(float(np.median(ms)), 1),
        "words": len(ms),
    }


def off(engine: KokoroEngine, name: str, sentences: int | None = None) -> Iterator[float]:
    """Seconds by which the words of a shipped voice are told too late, of those that its sound
    tells of."""
    profile = load_profile(_PROFILES / f"{name}.yaml")
    voice = engine.prepare(ProfileSpec(name, profile.lang, profile.settings))
    for text in SENTENCES[name][:sentences]:
        job = Job(serial=1, lane=0, voice=name, text=text, lang=voice.lang)
        chunks = list(engine.stream(voice, job))
        words = [word for chunk in chunks for word in chunk.words]
        yield from errors(np.concatenate([c.pcm for c in chunks]), words, text, voice.lang)


def errors(pcm: Sound, words: Iterable[Word], text: str, lang: str) -> Iterator[float]:
    """Of each word that the sound tells of."""
    reading = read(text, lang)
    places = {start: at for start, _, at in reading.words}
    levels, hisses = _levels(pcm), _levels(_high(pcm))
    silences = list(_silences(levels))
    for number, word in enumerate(words):
        symbols, at = reading.symbols, places[word.start]
        sound = symbols[at:].lstrip("ˈˌ")[:1]
        before = symbols[:at].rstrip(' ()"“”')[-1:]
        if number == 0:
            begins = [float(np.argmax(levels > _loud(levels))) * _STEP_S]
        elif before in PAUSES:
            begins = [end for end, lasts in silences if lasts >= _PAUSE_S]
        elif sound in _PLOSIVE:
            begins = [end for end, lasts in silences if lasts >= _CLOSURE_S]
        elif sound in _HISS and before not in _UNVOICED:
            begins = list(_rise(hisses, word.at_s))
        else:
            continue
        begins = [begin for begin in begins if abs(word.at_s - begin) < _NEAR_S]
        if len(begins) == 1:
            yield word.at_s - begins[0]


def _levels(pcm: Sound) -> NDArray[np.float64]:
    """dB, every `_STEP_S`."""
    step, window = round(_STEP_S * RATE_HZ), round(_WINDOW_S * RATE_HZ)
    padded = np.pad(pcm.astype(np.float64), (window // 2, window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::step]
    return np.asarray(10 * np.log10((frames**2).mean(1) + 1e-10))


def _high(pcm: Sound) -> Sound:
    """What is above `_HISS_HZ`."""
    bins = np.fft.rfft(pcm)
    bins[np.fft.rfftfreq(len(pcm), 1 / RATE_HZ) < _HISS_HZ] = 0
    return np.fft.irfft(bins, len(pcm)).astype(np.float32)


def _loud(levels: NDArray[np.float64]) -> float:
    return float(np.percentile(levels, 95)) - _SILENT_DB


def _silences(levels: NDArray[np.float64]) -> Iterator[tuple[float, float]]:
    """When each ends, and how long it lasted."""
    silent = np.concatenate(([0], (levels < _loud(levels)).astype(np.int8), [0]))
    edges = np.flatnonzero(np.diff(silent))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        yield float(end) * _STEP_S, float(end - start) * _STEP_S


def _rise(levels: NDArray[np.float64], at_s: float) -> Iterator[float]:
    """When what is loudest around ``at_s`` began, if that was within it."""
    near, at = round(_NEAR_S * 0.75 / _STEP_S), round(at_s / _STEP_S)
    first = max(0, at - near)
    part = levels[first : at + near]
    peak = int(np.argmax(part))
    quiet = np.flatnonzero(part[:peak] < part[peak] - _RISE_DB)
    if len(quiet):
        yield float(first + quiet[-1]) * _STEP_S
