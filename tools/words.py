"""`koed bench words`: how far the times of words that the neural voice tells are off; those of the
natural voice are measured in `natural_words`.

Nobody can tell when a word of the neural voice really begins without trained weights and speech
labelled by hand. Measured is what rests on it instead: two synthesisers know when their own words
begin (flite, OpenJTalk; sentences that nothing was fitted to), and `times.Times` is told of that
speech what it would be told of its own: text, chunks as they come, and attention made up from the
truth, more or less sharp, with noise on it and phones that draw it all the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koed.engine.embedded import flite, openjtalk
from koed.engine.embedded.script import as_ascii, write
from koed.engine.embedded.sound import Manner
from koed.engine.gpt_sovits.symbols import table
from koed.engine.gpt_sovits.timing import durations
from koed.engine.gpt_sovits.timing import words as places
from koed.engine.gpt_sovits.timing.schedule import Times, score
from koed.g2p.phones import Reading, phones
from tools import natural_words

CODE_S, ROW_S = 0.04, 0.02
FIRST, LOOKAHEAD, GROWTH, MOST = 7, 6, 1.7, 50
"""The chunks of `gpt_sovits.stream.Pace`."""
SHARPNESS = (0.0, 1.0, 2.0, 4.0)
_NEAR = 0.7  # phones: how far attention reaches around the right one
_NOISE, _DRAWN = 0.5, 0.7  # of logits, as the same for 60 ms; of a phone, all the time

SENTENCES = {
    "en": (
        "Good evening everyone, and welcome back to the stream.",
        "I thought we had already beaten this boss, but here he is again.",
        "Thank you so much for the raid, I hope you all had fun over there!",
        "Let me move the camera a little, so that you can see the map.",
        "If you have a question, put it into the chat and I will read it.",
        "She opened the old wooden door, and nobody was inside.",
        "We need three potions, two torches and a very long rope.",
        "That was close; one more hit and the whole run would have been over.",
        "My brother painted this picture when he was only seven years old.",
        "Tomorrow we start at nine, because the tournament begins at ten.",
        "Why does this jump never work when somebody is watching me?",
        "The weather was so bad that the train stopped in the mountains.",
        "Please remember to drink some water, I am going to do the same.",
        "There is a secret passage behind the waterfall on the left.",
        "Honestly, the soundtrack of this game is better than the game itself.",
        "He said nothing for a while, and then he began to laugh.",
    ),
    "ja": (
        "皆さん、こんばんは、今日も来てくれてありがとう。",
        "このダンジョンは難しいから、気をつけて進みましょう。",
        "さっきのコメント、読むのが遅くなってごめんなさい。",
        "今日は朝から天気が良くて、とても気持ちがいいですね。",
        "新しい服を買ったので、後で見せたいと思います。",
        "宝箱の中には、小さな鍵が一つだけ入っていた。",
        "来週の土曜日に、大会の決勝戦があります。",
        "少し休憩して、お茶を飲んでから続けましょう。",
        "あの山の向こうに、きれいな湖があるそうです。",
        "昨日は遅くまで起きていたから、まだ眠いです。",
        "誰かがドアを叩いたけれど、外には誰もいなかった。",
        "この歌を聞くと、子供の頃を思い出します。",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence as a synthesiser says it. Times count from its first sound."""

    text: str
    words: tuple[tuple[int, int, float], ...]
    """First and one past the last character, and when it begins."""
    length_s: float


@dataclass(frozen=True, slots=True)
class Method:
    """What the times are told."""

    places: bool = True
    """Which phones a word begins with; otherwise shared by what is written."""
    durations: bool = True
    """How long phones last; otherwise all the same."""
    sharpness: float | None = None
    """Of the attention; None = there is none."""


METHODS: dict[str, Method] = {
    "letters, evenly": Method(places=False, durations=False),
    "phones, evenly": Method(durations=False),
    "phones by length": Method(),
    **{f"attention, sharpness {s:g}": Method(sharpness=s) for s in SHARPNESS},
}


def measure(seed: int = 0) -> dict[str, Any]:
    """Tables, printed; and ``{"words": {lang: {method: {mean_ms, p95_ms, streamed_mean_ms,
    streamed_p95_ms}}}}``, and what `natural_words` finds."""
    out: dict[str, Any] = {}
    print(f"{'':26} {'all known: mean':>16} {'p95 ms':>8} {'streamed: mean':>16} {'p95 ms':>8}")
    for lang, say in (("en", _English()), ("ja", _Japanese())):
        said = [say(text) for text in SENTENCES[lang]]
        read = [phones(s.text, lang, table("v2")) for s in said]
        out[lang] = {}
        for name, method in METHODS.items():
            row = {}
            for key, streamed in (("", False), ("streamed_", True)):
                off = _errors(said, read, method, streamed, np.random.default_rng(seed))
                row[f"{key}mean_ms"] = round(float(off.mean()) * 1000, 1)
                row[f"{key}p95_ms"] = round(float(np.percentile(off, 95)) * 1000, 1)
            out[lang][name] = row
            print(f"{lang} {name:23} " + "{:16} {:8} {:16} {:8}".format(*row.values()))
    return {"words": out} | natural_words.measure()


def _errors(
    said: list[Said], read: list[Reading], method: Method, streamed: bool,
    draw: np.random.Generator,
) -> NDArray[np.float64]:  # fmt: skip
    """[words] seconds, absolute. The pace is that of the sentence before, as of a reference."""
    out: list[float] = []
    for number, (sentence, found) in enumerate(zip(said, read, strict=True)):
        before = number - 1
        pace = said[before].length_s / _weights(read[before], method).sum()
        told = _told(sentence, found, method, pace, streamed, draw)
        for first, _, at_s in sentence.words:
            nearest = max((w for w in told if w[0] <= first), default=told[0])
            if nearest[0] == first:
                out.append(abs(nearest[1] - at_s))
    return np.array(out)


def _told(
    said: Said, read: Reading, method: Method, pace: float, streamed: bool,
    draw: np.random.Generator,
) -> list[tuple[int, float]]:  # fmt: skip
    """First character of each word, and when it is told to begin."""
    weights = _weights(read, method)
    exact = places.words(said.text, read.pieces)
    words = exact if method.places else places.shared(said.text, len(weights))
    times = Times(score(words, (), weights, pace))
    shares = None
    if method.sharpness is not None:
        shares = attention(_truth(said, exact, weights), len(weights), method.sharpness, draw)
    total, done, size = round(said.length_s / CODE_S), 0, FIRST
    found = []
    while done < total:
        known = total if not streamed else min(total, done + size + LOOKAHEAD)
        done = total if known == total else done + size
        ended = known == total
        rows = shares[: 2 * known] if shares is not None else None
        times.reached((total if ended else done) * CODE_S, ended, rows, ROW_S)
        told, _ = times.take((total if ended else done) * CODE_S, 0.0, ended)
        found += [(word.start, word.at_s) for word in told]
        size = min(MOST, round(size * GROWTH))
    return found


def _weights(read: Reading, method: Method) -> NDArray[np.float64]:
    if not method.durations:
        return np.ones(len(read.phones))
    return durations.weights([(piece.phones, piece.lang) for piece in read.pieces])


def _truth(
    said: Said, exact: tuple[places.Place, ...], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[F] the phone (1.5 = half through the second) of each row: true where words begin, and in
    between by length."""
    begins = {first: phone for first, _, phone in exact}
    known = [(begins[first], at_s) for first, _, at_s in said.words if first in begins]
    marks = np.array([(0.0, 0.0), *known, (float(len(weights)), said.length_s)])
    edges = np.concatenate([[0.0], np.cumsum(np.maximum(weights, 1e-3))])
    numbers = np.arange(len(edges))
    rows = (np.arange(round(said.length_s / CODE_S) * 2) + 0.5) * ROW_S
    at = np.interp(rows, marks[:, 1], np.interp(marks[:, 0], numbers, edges))
    return np.asarray(np.interp(at, edges, numbers))


def attention(
    truth: NDArray[np.float64], phones: int, sharpness: float, draw: np.random.Generator
) -> NDArray[np.float64]:
    """[F, phones] as a trained encoder might attend: around the phone that is true."""
    away = truth[:, None] - 0.5 - np.arange(phones)[None, :]
    coarse = draw.normal(0.0, _NOISE, (len(truth) // 3 + 1, phones))
    logits = 2 * sharpness * np.exp(-0.5 * (away / _NEAR) ** 2)
    logits += np.repeat(coarse, 3, axis=0)[: len(truth)] + draw.normal(0.0, _DRAWN, phones)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


# --- who knows when the own words begin ------------------------------------------------------


class _English(flite.Flite):
    """flite, asked for the labels of an utterance instead of its sound."""

    def __call__(self, text: str) -> Said:
        self.load("slt")
        made = list(self._utter(flite._Run(write(text, as_ascii)), "slt", Manner()))
        marks = made[0].marks
        length = sum(len(piece.pcm) for piece in made)
        return _said(text, marks, length, flite.RATE_HZ)


class _Japanese(openjtalk.OpenJTalk):
    """OpenJTalk; silence around the sentence is not made."""

    def __call__(self, text: str) -> Said:
        made = list(self.speak(text, Manner()))
        marks = [mark for piece in made for mark in piece.marks]
        return _said(text, marks, sum(len(piece.pcm) for piece in made), openjtalk.RATE_HZ)


def _said(text: str, marks: Any, length: int, rate_hz: int) -> Said:
    first = marks[0].at
    words = tuple((m.start, m.end, (m.at - first) / rate_hz) for m in marks)
    return Said(text, words, (length - first) / rate_hz)
