"""`koed bench voices`: profiles beside each other, judged and timed. Prints a table; progress and
the time that is left go to standard error."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koed.bench.judges import Judges
from koed.bench.judges.packages import EXTRA
from koed.bench.judges.speaker import INSTALL
from koed.bench.voices import picture, report
from koed.bench.voices.lines import lines
from koed.bench.voices.sound import Judged, distances, heard
from koed.bench.voices.worker import worker_figures
from koed.config import shipped
from koed.config.daemon import Config, resolve
from koed.config.profile import Profile, load_profile
from koed.config.profile_folder import ProfileFolder
from koed.errors import EngineError, KoedError, did_you_mean
from koed.testing.rig import rig

SENTENCES = 25
TIMED = 12
"""Of the sentences, at most: they are heard in real time."""
KINDS = {"embedded": "embedded", "kokoro": "natural", "gpt_sovits": "neural"}
FLITE = "engine: embedded\nlang: en\nsettings: {voice: slt}\n"
"""Plain, as a yardstick."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured."""

    voices: tuple[str, ...] = ()
    """Empty = all profiles."""
    sentences: int = SENTENCES
    lang: str = ""
    """Empty = that of each profile."""
    picture: Path | None = None


def run(config: Config, options: Options) -> dict[str, Any]:
    """``{voices: {NAME: figures}, reference: {flite: figures}, missed: [NAME.figure]}``."""
    if not 1 <= options.sentences <= 1000:
        raise KoedError("bad_count", "--sentences takes 1 to 1000")
    profiles = _chosen(config, options.voices)
    judges = _judges()
    langs = {name: options.lang or spoken(profile) for name, profile in profiles.items()}
    texts = {name: lines(lang, options.sentences) for name, lang in langs.items()}
    timed = min(options.sentences, TIMED)
    progress = _Progress(len(profiles) * (options.sentences + timed) + options.sentences)
    found = {
        name: heard(profile, config, texts[name], langs[name], judges, progress.of(name))
        for name, profile in profiles.items()
    }
    plain = _flite()
    flite = heard(plain, config, lines("en", options.sentences), "en", judges, progress.of("flite"))
    figures = {name: _about(profiles[name], langs[name], one) for name, one in found.items()}
    _add_distances(figures, found)
    offered = {shipped.VARIABLE: os.environ.get(shipped.VARIABLE, "natural")}
    for name, profile in profiles.items():
        folder = resolve(config, "profiles")
        with rig({"voice": name}, shipped=folder, environ=offered) as running:
            running.wait_ready()
            figures[name] |= worker_figures(
                running, name, profile.engine, texts[name][:timed], langs[name], progress.of(name)
            )
    reference = {"flite": _about(plain, "en", flite)}
    _told(figures, reference, judges)
    if options.picture:
        picture.write(options.picture, figures, reference)
    return {"voices": figures, "reference": reference, "missed": report.missed(figures)}


def _chosen(config: Config, names: tuple[str, ...]) -> dict[str, Profile]:
    """By name. Raises `KoedError` ``unknown_voice``, or what is wrong with one that was named."""
    scan = ProfileFolder(resolve(config, "profiles"), outputs=tuple(config.outputs)).scan()
    for name in names:
        if name in scan.broken:
            raise scan.broken[name]
        if name not in scan.voices:
            hint = did_you_mean(name, scan.voices) or "koed voices"
            raise KoedError("unknown_voice", f"there is no voice {name[:40]!r}", hint)
    chosen = {name: scan.voices[name] for name in names or sorted(scan.voices)}
    return {name: profile for name, profile in chosen.items() if profile.remote is None}


def _flite() -> Profile:
    with tempfile.TemporaryDirectory(prefix="koed-") as folder:
        path = Path(folder) / "flite.yaml"
        path.write_text(FLITE, encoding="utf-8")
        return load_profile(path)


def _judges() -> Judges | None:
    """None where the extra is not installed; what is wrong with it is said."""
    try:
        judges = Judges.load(threads=max(1, (os.cpu_count() or 1) // 2))
    except EngineError as error:
        if error.code != "library_missing":
            raise
        print(f"words and quality are not judged: {error.message}; {EXTRA}", file=sys.stderr)
        return None
    if judges.encoder is None:
        print(f"voices are not compared with each other: {INSTALL}", file=sys.stderr)
    return judges


def spoken(profile: Profile) -> str:
    """As the voice speaks, British if it is; one that speaks whatever comes speaks English here."""
    return "en" if profile.lang in ("", "auto") else profile.lang


def _about(profile: Profile, lang: str, one: Judged) -> dict[str, Any]:
    kind = KINDS.get(profile.engine, profile.engine)
    return {"lang": lang.split("-")[0], "kind": kind, "engine": profile.engine, **one.figures()}


def _add_distances(figures: dict[str, dict[str, Any]], found: dict[str, Judged]) -> None:
    for name, others in distances(found).items():
        if others:
            nearest = min(others, key=lambda other: others[other])
            figures[name]["distances"] = others
            figures[name]["nearest"] = {"voice": nearest, "distance": others[nearest]}


def _told(
    figures: dict[str, dict[str, Any]],
    reference: dict[str, dict[str, Any]],
    judges: Judges | None,
) -> None:
    print(report.table(figures | reference))
    if judges:
        print(
            "WER: words of English that Whisper tiny.en did not understand. No offline judge hears"
            " the words of other languages: there P.808 and OVRL (DNSMOS) tell of the sound alone."
        )
    for name in report.missed(figures):
        print(f"missed: {name}")


class _Progress:
    """Lines done, and about how long the others take."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._began = total, 0, time.monotonic()

    def of(self, name: str) -> Callable[[], None]:
        def step() -> None:
            self._done += 1
            passed_s = time.monotonic() - self._began
            left_s = passed_s / self._done * (self._total - self._done)
            text = f"{name}: line {self._done} of {self._total}, about {left_s / 60:.1f} min left"
            print(text, file=sys.stderr, flush=True)

        return step
