"""The picture of docs/natural.md: pitch that is heard, in three settings, and of three words that
differ in nothing else. ``python -m tools.natural_pitch docs/pictures/natural-pitch.png``
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from koed.bench.judges import f0
from koed.engine.base import Job, ProfileSpec
from koed.engine.kokoro.engine import KokoroEngine
from koed.engine.kokoro.model import RATE_HZ

LINE = "Thank you so much for the gifted subs, you are really too kind!"
SETTINGS: dict[str, dict[str, float]] = {
    "as it is": {}, "pitch: 3": {"pitch": 3.0}, "range: 0.4": {"range": 0.4},
}  # fmt: skip
WORDS = {"hashi ga: chopsticks": "箸が。", "hashi ga: bridge": "橋が。", "hashi ga: edge": "端が。"}
COLOURS = ("#335577", "#c05020", "#4a9a6a")


def draw(path: Path) -> None:
    """About 40 kB."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    engine = KokoroEngine()
    english = engine.prepare(ProfileSpec("mia", "en", {"voice": "af_heart"}))
    japanese = engine.prepare(ProfileSpec("yuki", "ja", {"voice": "jf_alpha"}))
    figure, axes = plt.subplots(
        1, 2, figsize=(9, 2.6), layout="constrained", width_ratios=(3, 1.2), sharey=True
    )

    def curve(axis: Any, voice: Any, text: str, lang: str, colour: str, **values: Any) -> None:
        job = Job(serial=1, lane=0, voice=voice.key, text=text, lang=lang, **values)
        pcm = np.concatenate([chunk.pcm for chunk in engine.stream(voice, job)])
        hz = f0.track(pcm, RATE_HZ)
        middle = np.median(hz[hz > 0])
        hz[(hz < middle / 1.8) | (hz > middle * 1.8)] = np.nan  # octave errors of the judge
        axis.plot(np.arange(len(hz)) * f0.HOP_S, hz, color=colour, linewidth=1.6)

    for colour, (name, settings) in zip(COLOURS, SETTINGS.items(), strict=True):
        curve(axes[0], english, LINE, "en", colour, settings=settings)
        axes[0].plot([], [], color=colour, label=name)
    for colour, (name, text) in zip(COLOURS, WORDS.items(), strict=True):
        curve(axes[1], japanese, text, "ja", colour)
        axes[1].plot([], [], color=colour, label=name)
    axes[0].set_title(f"mia: {LINE}", fontsize=8)
    axes[1].set_title("yuki", fontsize=8)
    axes[0].set_ylabel("F0 heard, Hz", fontsize=8)
    for axis in axes:
        axis.set_yscale("log")
        axis.set_yticks([100, 150, 200, 300, 400], ["100", "150", "200", "300", "400"])
        axis.minorticks_off()
        axis.set_xlabel("s", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.legend(fontsize=7, frameon=False)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
