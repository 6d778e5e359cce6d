"""What a voice sounds like: its lines as loud as on the air, made in this process, and judged."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koed.bench.judges import Judges
from koed.bench.judges.clicks import clicks
from koed.bench.judges.edges import edges
from koed.bench.judges.f0 import pitch
from koed.bench.judges.wer import wer
from koed.config.daemon import Config
from koed.config.profile import Profile
from koed.engine.loudness import integrated_lufs
from koed.in_process import LoadedVoice


@dataclass
class Judged:
    """Of one voice, a value for each line."""

    words: list[tuple[str, str]] = field(default_factory=list)
    """(said, understood); English only."""
    mos: list[tuple[float, float]] = field(default_factory=list)
    """(P.808, overall)."""
    vectors: list[NDArray[np.float32]] = field(default_factory=list)
    lufs: list[float] = field(default_factory=list)
    clicks: int = 0
    before_s: list[float] = field(default_factory=list)
    after_s: list[float] = field(default_factory=list)
    hz: list[float] = field(default_factory=list)
    semitones: list[float] = field(default_factory=list)

    def add(self, text: str, lang: str, pcm: NDArray[np.float32], rate_hz: int,
            judges: Judges | None) -> None:  # fmt: skip
        """A line: ``pcm`` [S]."""
        self.lufs.append(integrated_lufs(pcm, rate_hz))
        self.clicks += len(clicks(pcm, rate_hz))
        before_s, after_s = edges(pcm, rate_hz)
        self.before_s.append(before_s)
        self.after_s.append(after_s)
        if found := pitch(pcm, rate_hz):
            self.hz.append(found.median_hz)
            self.semitones.append(found.range_semitones)
        if judges is None:
            return
        self.mos.append(judges.dnsmos(pcm, rate_hz))
        if lang.split("-")[0] == "en":
            self.words.append((text, judges.words(pcm, rate_hz)))
        if judges.encoder:
            self.vectors.append(judges.speaker(pcm, rate_hz))

    def figures(self) -> dict[str, Any]:
        """For the JSON; what was not judged is not there."""
        found: dict[str, Any] = {}
        if self.words:
            found["wer"] = round(wer(self.words), 4)
        if self.mos:
            p808, ovrl = zip(*self.mos, strict=True)
            found["p808"], found["p808_lowest"] = _mean(p808, 2), round(min(p808), 2)
            found["ovrl"] = _mean(ovrl, 2)
        found["lufs"] = _mean(self.lufs, 1)
        found["clicks"] = self.clicks
        found["silence_ms"] = {
            "before": round(1000 * statistics.median(self.before_s)),
            "after": round(1000 * statistics.median(self.after_s)),
        }
        if self.hz:
            found["f0"] = {
                "hz": round(statistics.median(self.hz)),
                "range_semitones": round(statistics.median(self.semitones), 1),
            }
        return found


def heard(profile: Profile, config: Config, texts: list[str], lang: str,
          judges: Judges | None, step: Callable[[], None]) -> Judged:  # fmt: skip
    """Render and judge; ``step`` is called after each line."""
    found = Judged()
    with LoadedVoice(profile, config) as voice:
        for text in texts:
            spoken = voice.speak(text, lang)
            found.add(text, lang, spoken.pcm, spoken.rate_hz, judges)
            step()
    return found


def distances(found: dict[str, Judged]) -> dict[str, dict[str, float]]:
    """Between voices, 1 - cosine of their mean speaker vectors: 0 is one and the same, two people
    are 0.3 to 0.6 apart. Empty where there are no vectors."""
    means = {name: np.mean(one.vectors, axis=0) for name, one in found.items() if one.vectors}
    units = {name: mean / np.linalg.norm(mean) for name, mean in means.items()}
    return {
        name: {other: round(float(1 - unit @ units[other]), 3) for other in units if other != name}
        for name, unit in units.items()
    }


def _mean(values: Any, digits: int) -> float:
    return round(statistics.fmean(values), digits)
