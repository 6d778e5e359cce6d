"""`koed bench memory`: does the neural worker grow over thousands of utterances?

A real worker speaks on the tiny checkpoint set: five languages, several voices of three base
models, lines that are cut off, that change their voice in the middle, that cannot be spoken, and
voices that are unloaded and loaded again. Its resident memory is read after each of them; and now
and then the worker is left alone for a moment, as between two lines of a stream, and what it holds
at rest is read.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from koed.config.daemon import EngineConfig
from koed.engine.base import Capabilities, Job, ProfileSpec
from koed.engine.host.supervisor import EngineHost
from koed.engine.worker.scheduler import REST_S
from koed.errors import KoedError

ENGINE = "gpt_sovits"
WARM_UP = 0.1
"""Share of the utterances after which the memory is what it should stay."""
PARTS = 100
"""After each the worker rests. What is told of a part is what the worker then holds, and the mean
while it spoke, with what lines leave in the heap until it is tidied up
(`koed.engine.worker.heap`)."""
SMOOTHED = 10
"""Parts whose mean is compared, after warm-up and at the end."""
LANES = 2
PATIENCE_S = 300.0
AT_REST_S = REST_S + 1.0
"""The worker tidies up after `REST_S`; that takes it some hundredths of a second."""
RELOADS = 40
"""So many utterances after each other, then a voice is unloaded and loaded again."""

SAID = "Hello there, this is what I said when the clip was made."
V1, V2, PRO = "s2g488k", "gsv-v2final-pretrained", "v2pro"
VOICES: dict[str, tuple[str, str, float]] = {
    "anna": (V2, "en", 140.0),
    "bela": (V2, "ja", 230.0),
    "chen": (V2, "zh", 170.0),
    "dora": (PRO, "ko", 200.0),
    "emil": (V1, "en", 120.0),
}
"""Name -> base model, language and pitch of the reference. Those of one model can take over from
each other in the middle of a line."""
TAKES_OVER = {"anna": "bela", "bela": "chen", "chen": "anna"}
UNGUARDED = "emil"
"""It babbles on as it likes. The others are guarded, as voices are by default, so that trying again
and failing are among what is done."""

SHORT = ("--end-gain", "4")
"""Models that soon come to an end: most of the time would go into sound that nobody hears."""

WORDS: dict[str, tuple[str, ...]] = {
    "en": ("good", "evening", "stream", "welcome", "thanks", "42", "raid", "wonderful", "GPU"),
    "ja": ("こんにちは", "配信", "ありがとう", "3時", "元気", "です", "ね", "歌", "ゲーム"),
    "zh": ("你好", "谢谢", "直播", "今天", "100", "朋友", "晚上", "欢迎", "唱歌"),
    "ko": ("안녕하세요", "방송", "감사합니다", "오늘", "7", "친구", "노래", "저녁"),
    "yue": ("多謝", "今晚", "直播", "朋友", "唱歌", "你好", "大家", "20"),
}
MARKS = {"en": ".", "ja": "。", "zh": "。", "ko": ".", "yue": "。"}


def run(utterances: int) -> dict[str, Any]:
    """Speak and print a table. Raises `KoedError` if the worker ends or hangs."""
    with tempfile.TemporaryDirectory(prefix="koed-bench-") as name:
        folder = Path(name)
        _make_models(folder / "data" / "koed" / "models")
        with _environment(XDG_DATA_HOME=str(folder / "data")), _host(folder) as soak:
            soak.prepare()
            began = time.monotonic()
            result = summary(soak.speak(utterances))
            result["took_s"] = round(time.monotonic() - began, 1)
            result |= {"outcomes": dict(soak.outcomes), "mended": dict(soak.mended_jobs)}
            result["restarts"] = soak.host.restarts
    _table(result)
    return {"memory": result}


@dataclass(slots=True)
class Readings:
    """Resident MB: before the first utterance, and of each part at rest and after each line."""

    start_mb: float
    held_mb: list[float] = field(default_factory=list)
    spoken_mb: list[list[float]] = field(default_factory=list)


def summary(readings: Readings) -> dict[str, Any]:
    """What the worker holds, and how much that grew, after the parts in which it warmed up."""
    means = [statistics.fmean(part) for part in readings.spoken_mb]
    warm = int(WARM_UP * len(means))
    before, after = _at_both_ends(readings.held_mb[warm:])
    before_mean, after_mean = _at_both_ends(means[warm:])
    return {
        "utterances": sum(map(len, readings.spoken_mb)),
        "start_mb": round(readings.start_mb, 1),
        "warm_mb": round(before, 1),
        "end_mb": round(after, 1),
        "peak_mb": round(max(map(max, readings.spoken_mb)), 1),
        "growth_percent": round(100.0 * (after / before - 1.0), 2),
        "warm_mean_mb": round(before_mean, 1),
        "end_mean_mb": round(after_mean, 1),
        "mean_growth_percent": round(100.0 * (after_mean / before_mean - 1.0), 2),
        "parts": [
            [round(held, 1), round(mean, 1)]
            for held, mean in zip(readings.held_mb, means, strict=True)
        ],
    }


def _at_both_ends(values: list[float]) -> tuple[float, float]:
    return statistics.fmean(values[:SMOOTHED]), statistics.fmean(values[-SMOOTHED:])


def _table(result: dict[str, Any]) -> None:
    print(f"{'utterances':>10} {'held MB':>12} {'mean MB':>12}")
    parts = result["parts"]
    step = max(1, len(parts) // 10)
    for number in range(step, len(parts) + 1, step):
        held, mean = parts[number - 1]
        print(f"{result['utterances'] * number // len(parts):10} {held:12.1f} {mean:12.1f}")
    print(
        f"held after warm-up {result['warm_mb']} MB, at the end {result['end_mb']} MB: "
        f"{result['growth_percent']:+.2f} %; mean {result['warm_mean_mb']} MB, then "
        f"{result['end_mean_mb']} MB: {result['mean_growth_percent']:+.2f} %; "
        f"{result['outcomes']} in {result['took_s']:.0f} s"
    )


# --- what is said ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance: ``kind`` is plain, cut (after its first chunk) or restyled (there, too)."""

    number: int
    voice: str
    text: str
    lang: str
    kind: str
    speed: float = 1.0


def turns(utterances: int, seed: int = 0) -> Iterator[Turn]:
    """Short lines in all languages, always the same for a seed.

    So short that the guards mostly let pass what a model says that has learned nothing.
    """
    draw = random.Random(seed)
    for number in range(utterances):
        voice = draw.choice(list(VOICES))
        # A v1 model knows zh, ja and en only.
        langs = ("en", "ja", "zh") if VOICES[voice][0] == V1 else tuple(WORDS)
        lang = draw.choice(langs)
        space = " " if lang in ("en", "ko") else ""
        text = space.join(draw.choices(WORDS[lang], k=draw.randint(1, 2))) + MARKS[lang]
        if draw.random() < 0.01:
            text = "…"  # nothing to speak
        kind = draw.choices(("plain", "cut", "restyled"), (0.7, 0.15, 0.15))[0]
        if voice not in TAKES_OVER and kind == "restyled":
            kind = "plain"
        yield Turn(number, voice, text, lang, kind, draw.choice((1.0, 1.0, 0.9, 1.2)))


def reference(pitch_hz: float, seconds: float = 3.2, rate_hz: int = 32_000) -> bytes:
    """A wav: harmonics that come and go, a little noise."""
    at = np.arange(round(seconds * rate_hz)) / rate_hz
    loud = 0.5 + 0.5 * np.sin(2 * np.pi * 2.7 * at)
    tone = sum(np.sin(2 * np.pi * pitch_hz * k * at) / k for k in range(1, 12))
    hiss = np.random.default_rng(3).standard_normal(len(at))
    pcm = 0.15 * tone * np.where(loud > 0.25, loud, 0.0) + 1e-4 * hiss
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.clip(pcm, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def profiles() -> dict[str, ProfileSpec]:
    """The voices, as the worker gets them."""
    out = {}
    for name, (model, lang, pitch_hz) in VOICES.items():
        settings = {"model": model, "guards": "none" if name == UNGUARDED else "strict"}
        spoken = {"audio": reference(pitch_hz), "transcript": SAID, "lang": "en"}
        out[name] = ProfileSpec(name, lang, settings, spoken)
    return out


# --- who says it -----------------------------------------------------------------------------


@dataclass(slots=True)
class _Act:
    """A turn while it is spoken."""

    turn: Turn
    serial: int
    heard_s: float = 0.0


@dataclass
class Soak:
    """Keeps `LANES` lanes busy; a `HostListener`, and the owner of all jobs."""

    host: EngineHost = field(init=False)
    outcomes: Counter[str] = field(default_factory=Counter)
    mended_jobs: Counter[str] = field(default_factory=Counter)
    _keys: dict[str, str] = field(default_factory=dict)
    _ready: set[str] = field(default_factory=set)
    _broken: str = ""
    _acts: dict[int, _Act] = field(default_factory=dict)
    """By lane."""
    _serials: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def prepare(self) -> None:
        """Wait until the worker is up and all voices are there."""
        specs = profiles()
        self._keys = {name: self.host.prepare(spec) for name, spec in specs.items()}
        self.host.start()
        self._turn_until(lambda: len(self._ready) == len(specs) and self.host.state == "up")

    def speak(self, utterances: int) -> Readings:
        """Speak so many, and read the worker's memory all the while."""
        todo = turns(utterances)
        step = max(1, utterances // PARTS)
        readings = Readings(self._rss_mb())
        while part := list(itertools.islice(todo, step)):
            readings.spoken_mb.append(self._speak_part(part))
            readings.held_mb.append(self._held_mb())
            over, held_mb = self.outcomes.total(), readings.held_mb[-1]
            print(f"  {over:6} {held_mb:8.1f} MB", file=sys.stderr, flush=True)
        return readings

    def _speak_part(self, part: list[Turn]) -> list[float]:
        """Resident MB after each."""
        todo, readings = iter(part), list[float]()
        over = self.outcomes.total()
        while len(readings) < len(part):
            for lane in set(range(1, LANES + 1)) - set(self._acts):
                if (turn := next(todo, None)) is not None:
                    self._begin(lane, turn)
            before = over  # some may have ended while a voice was loaded again
            self._turn_until(lambda: self.outcomes.total() > before)  # noqa: B023 - called at once
            over = self.outcomes.total()
            readings += [self._rss_mb()] * (over - before)
            if over // RELOADS > before // RELOADS:
                self._reload(over // RELOADS)
        return readings

    def _held_mb(self) -> float:
        """Resident MB when the worker has had nothing to do for a while."""
        until = time.monotonic() + AT_REST_S
        self._turn_until(lambda: time.monotonic() >= until)
        return self._rss_mb()

    def _begin(self, lane: int, turn: Turn) -> None:
        act = self._acts[lane] = _Act(turn, next(self._serials))
        self._issue(lane, act, turn.voice)

    def _issue(self, lane: int, act: _Act, voice: str, restyle_of: int = 0) -> None:
        turn = act.turn
        self.host.speak(
            Job(
                act.serial, lane, self._keys[voice], turn.text, turn.lang, turn.speed,
                seed=turn.number, restyle_of=restyle_of, start_s=act.heard_s if restyle_of else 0.0,
            )
        )  # fmt: skip
        self.host.grant(lane, 0.0)

    def _reload(self, number: int) -> None:
        """Unload a voice and load it again (from the cache on disk)."""
        name = list(VOICES)[number % len(VOICES)]
        if any(name in (a.turn.voice, TAKES_OVER.get(a.turn.voice)) for a in self._acts.values()):
            return
        self.host.forget(self._keys[name])
        self._ready.discard(name)
        self.host.prepare(profiles()[name])
        self._turn_until(lambda: name in self._ready)

    def _over(self, lane: int, outcome: str) -> None:
        """As on the stage: what has been heard may go."""
        self.outcomes[outcome] += 1
        del self._acts[lane]
        self._keep()

    def _keep(self) -> None:
        self.host.keep({act.serial for act in self._acts.values()})

    def _turn_until(self, condition: Any) -> None:
        """Do the work of the stage's loop until ``condition``."""
        poller = zmq.Poller()
        for socket in self.host.sockets:
            poller.register(socket, zmq.POLLIN)
        began, tick_at = time.monotonic(), 0.0
        while not condition():
            now = time.monotonic()
            if self._broken or now - began > PATIENCE_S:
                raise KoedError("bench_worker", self._broken or "the worker does not go on")
            if poller.poll(round(1000 * max(0.0, min(0.1, tick_at - now)))):
                self.host.receive()
            if time.monotonic() >= tick_at:
                tick_at = self.host.tick(time.monotonic())

    def _rss_mb(self) -> float:
        pages = int(Path(f"/proc/{self.host.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    # --- what the worker says --------------------------------------------------------------

    def engine_up(
        self, engine: str, ready_s: float, pid: int, capabilities: Capabilities
    ) -> None: ...  # fmt: skip

    def engine_down(
        self, engine: str, code: str, message: str, retry_s: float, lost: list[int]
    ) -> None:
        self._broken = f"the worker ended: {message}"

    def voice_ready(
        self, engine: str, name: str, key: str, loudness_lufs: float, cached: bool, prepare_s: float
    ) -> None:
        self._ready.add(name)

    def voice_failed(
        self, engine: str, name: str, key: str, code: str, message: str, hint: str
    ) -> None:
        self._broken = f"the voice {name}: {message}"

    def owner_of(self, serial: int) -> Soak:
        return self

    def _found(self, serial: int) -> tuple[int, _Act] | None:
        """The lane and the act whose job this is, unless another one goes on in its place."""
        return next(((lane, a) for lane, a in self._acts.items() if a.serial == serial), None)

    def chunk(self, serial: int, pcm: NDArray[np.float32], rate_hz: int, *marks: Any) -> None:
        found = self._found(serial)
        if found is None:
            return
        lane, act = found
        first, act.heard_s = act.heard_s == 0.0, act.heard_s + len(pcm) / rate_hz
        self.host.grant(lane, 0.0)
        if first and act.turn.kind == "cut":
            self._over(lane, "cut")
        elif first and act.turn.kind == "restyled":
            act.serial = next(self._serials)
            self._issue(lane, act, TAKES_OVER[act.turn.voice], restyle_of=serial)
            self._keep()

    def mended(self, serial: int, code: str) -> None:
        self.mended_jobs[code] += 1

    def done(self, serial: int) -> None:
        found = self._found(serial)
        if found is not None:
            lane, act = found
            restyled = act.turn.kind == "restyled"
            self._over(lane, "restyled" if restyled else "finished")

    def lost(self, serials: Collection[int], code: str) -> None: ...

    def failed(self, serial: int, code: str, message: str) -> None:
        found = self._found(serial)
        if code in ("engine_bug", "device_lost", "oom"):
            self._broken = f"{code}: {message}"
        elif found is not None:
            self._over(found[0], code)


@contextlib.contextmanager
def _host(folder: Path) -> Iterator[Soak]:
    """A worker that is never swapped for its memory."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    settings = EngineConfig(
        memory_mb=1 << 20, lookahead_s=60.0, start_s=PATIENCE_S, stall_s=PATIENCE_S
    )
    soak = Soak()
    soak.host = EngineHost(
        ENGINE, ENGINE, context, folder / "run", settings, soak, cache_dir=folder / "cache"
    )
    try:
        yield soak
    finally:
        soak.host.stop(deadline_s=2.0)
        context.destroy(linger=0)


def _make_models(folder: Path) -> None:
    """In a process of its own: this one stays without torch."""
    made = subprocess.run(
        [sys.executable, "-m", "koed.testing.tiny", str(folder), *SHORT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        why = (made.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise KoedError(
            "library_missing",
            f"the neural engine is not installed: {why}",
            "install koed with the extra gpt-sovits",
        )


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Of the worker, which inherits ours. One thread: its models are tiny. No GPU: the tiny set
    says nothing about one."""
    wanted = {**values, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
