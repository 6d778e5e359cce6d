"""What is asked of the natural voice's pitch, range and energy, and what is heard of it.

A line is spoken plainly and once more as asked, frame by frame in the same time; its sound is the
judge. ``python -m tools prosody docs/pictures`` prints the table and draws docs/natural.md's
picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from koed.bench.judges import f0
from koed.engine.base import Job, ProfileSpec, Voice
from koed.engine.kokoro.engine import KokoroEngine
from koed.engine.kokoro.model import RATE_HZ
from koed.errors import KoedError

Sound = NDArray[np.float32]

_EN = (
    "Thank you so much for the gifted subs, you are really too kind to me today!",
    "Where did you find that old map, and who gave you the key?",
    "I was walking home along the river when it began to rain.",
    "Well played!",
)
_JA = (
    "こんばんは、今日も配信に来てくれて、本当にありがとうございます。",
    "また明日、この時間に来てください。お菓子も忘れずに。",
    "紅茶に砂糖を入れて、ケーキと食べましょう。",
    "すごいね。",
)
_ZH = (
    "大家晚上好，欢迎来到今天的直播，谢谢你们。",
    "这个地图是谁给你的，你在哪里找到的？",
    "小心一点，那个箱子可能是一个陷阱。",
    "太厉害了。",
)
VOICES = {
    "af_heart": ("en-us", _EN), "bf_emma": ("en-gb", _EN), "am_michael": ("en-us", _EN),
    "jf_alpha": ("ja", _JA), "jm_kumo": ("ja", _JA), "zf_xiaoxiao": ("zh", _ZH),
}  # fmt: skip
"""Language and lines, the last one short: that is decoded at once, the others in pieces."""
ASKED = (
    *({"pitch": semitones} for semitones in (-6.0, -3.0, 3.0, 6.0)),
    *({"range": of} for of in (0.4, 1.5)),
    *({"energy": db} for db in (-6.0, -3.0, 3.0, 6.0)),
)
SHOWN: dict[str, dict[str, float]] = {
    "plain": {},
    "pitch +3": {"pitch": 3.0},
    "range 0.4": {"range": 0.4},
}
_FAR = 9.0
"""Semitones from the middle of a line to what is taken for an octave misheard."""


class Heard(NamedTuple):
    """Of a line, beside the same line spoken plainly."""

    pitch: float
    """Semitones, median of the frames with a voice."""
    range: float
    """How many times as wide its melody is."""
    energy: float
    """dB, of the frames with a voice."""


def say(engine: KokoroEngine, voice: Voice, text: str, asked: Mapping[str, float]) -> Sound:
    job = Job(serial=1, lane=0, voice="", text=text, lang=voice.lang, settings=dict(asked))
    return np.concatenate([chunk.pcm for chunk in engine.stream(voice, job)])


def melody(pcm: Sound) -> NDArray[np.float64]:
    """Hz, every `f0.HOP_S`; NaN where there is no voice, or it was heard an octave off."""
    hz = f0.track(pcm, RATE_HZ)
    hz[hz == 0] = np.nan
    hz[np.abs(12 * np.log2(hz / np.nanmedian(hz))) > _FAR] = np.nan
    return hz


def heard(plain: Sound, other: Sound) -> Heard:
    """Both of one line and in the same time."""
    size = min(len(plain), len(other))
    before, after = (12 * np.log2(melody(pcm[:size])) for pcm in (plain, other))
    both = np.isfinite(before + after)
    powers = [_power(pcm[:size])[both].mean() for pcm in (plain, other)]
    return Heard(
        pitch=float(np.median(after[both] - before[both])),
        range=float(after[both].std() / before[both].std()),
        energy=float(10 * np.log10(powers[1] / powers[0])),
    )


def _power(pcm: Sound) -> NDArray[np.float64]:
    """Of the frames of `f0.track`."""
    size, hop = round(f0.FRAME_S * RATE_HZ), round(f0.HOP_S * RATE_HZ)
    frames = np.lib.stride_tricks.sliding_window_view(pcm.astype(np.float64), size)[::hop]
    return np.asarray((frames**2).mean(axis=1))


def measure(voices: Mapping[str, Any] = VOICES) -> None:
    """A table, printed: of each thing asked what was heard, the mean of a voice's lines."""
    engine = KokoroEngine()
    print(f"{'asked':12}" + "".join(f"{name:>24}" for name in voices))
    found: dict[str, list[str]] = {_name(asked): [] for asked in ASKED}
    for name, (lang, lines) in voices.items():
        voice = engine.prepare(ProfileSpec(name, lang, {"voice": name}))
        plain = [say(engine, voice, text, {}) for text in lines]
        for asked in ASKED:
            each = [
                heard(before, say(engine, voice, text, asked))
                for before, text in zip(plain, lines, strict=True)
            ]
            of = Heard._fields.index(next(iter(asked)))
            its = [row[of] for row in each]
            told = f"{np.mean(its):+.2f} ({min(its):+.1f} to {max(its):+.1f})"
            found[_name(asked)].append(told)
    for what, row in found.items():
        print(f"{what:12}" + "".join(f"{told:>24}" for told in row), flush=True)


def _name(asked: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value:g}" for name, value in asked.items())


def draw(path: Path) -> None:
    """The pitch of one sentence in three manners, as an SVG."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise KoedError(
            "library_missing", f"a picture needs matplotlib: {error}", "pip install 'koed[demo]'"
        ) from error
    mpl.use("Agg")
    mpl.rcParams |= {"svg.hashsalt": "koed", "svg.fonttype": "none"}
    from matplotlib import pyplot as plt

    engine = KokoroEngine()
    voice = engine.prepare(ProfileSpec("heart", "en-us", {"voice": "af_heart"}))
    figure, axis = plt.subplots(figsize=(8, 3), layout="constrained")
    for name, asked in SHOWN.items():
        hz = melody(say(engine, voice, _EN[0], asked))
        axis.plot(np.arange(len(hz)) * f0.HOP_S, hz, label=name)
    axis.set(title=_EN[0], xlabel="s", ylabel="F0, Hz", yscale="log", ylim=(120, 400))
    ticks = [150, 200, 300, 400]
    axis.set_yticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.legend(ncols=len(SHOWN), loc="lower left", fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
