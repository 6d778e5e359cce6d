"""`koed enroll`: a recording becomes a voice profile: trimmed, checked, prepared, and shown.

Nothing of the profile can be seen before all of it is good. No torch here: what needs it runs in a
child process (`koed.engine.worker.prepare`).
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from koed.config import daemon as config
from koed.config.profile import check_name, load_profile
from koed.engine.gpt_sovits import transcript
from koed.engine.worker.prepare import prepare_apart
from koed.errors import ConfigError, EngineError
from koed.recordings import quality
from koed.recordings import recording as reference
from koed.recordings.excerpt import Take, cut, take
from koed.recordings.quality import Finding
from koed.recordings.recording import Recording
from koed.voices import languages
from koed.voices.specs import spec

ENGINE = "gpt_sovits"
LONGEST_S = 120.0
"""Of a recording that a reference is taken of."""
PART_OVER_S = 0.05
"""A part may end so much after the recording: times are read off a screen."""
LATER = ("library_missing", "unknown_model", "model_missing", "models_unreadable")
"""What keeps a voice from being prepared now, and is no fault of the recording."""


@dataclass(frozen=True, slots=True)
class StyleWish:
    """A clip of the same person in another mood."""

    name: str
    audio: Path
    text: str
    lang: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asks for."""

    name: str
    audio: Path
    text: str
    lang: str
    model: str = ""
    rights: str = ""
    part: tuple[float, float] | None = None
    """Seconds of the recording; ``text`` is then what is said there."""
    keep_silence: bool = False
    force: bool = False
    prepare: bool = True
    description: str = ""
    styles: tuple[StyleWish, ...] = ()


@dataclass
class Enrolment:
    """What was done."""

    profile: Path
    took: Take
    of_s: float
    transcript: str
    findings: list[Finding]
    remarks: list[str] = field(default_factory=list)
    picture: Path | None = None
    prepared: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "profile": str(self.profile),
            "audio": str(self.profile.with_suffix(".wav")),
            "picture": str(self.picture) if self.picture else None,
            "taken_s": [round(self.took.start_s, 3), round(self.took.end_s, 3)],
            "of_s": round(self.of_s, 3),
            "transcript": self.transcript,
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "remarks": self.remarks,
            "prepared": self.prepared,
        }


def run(loaded: config.Config, args: argparse.Namespace) -> int:
    """The command; raises `KoedError`."""
    wish = Wish(
        args.name, args.audio, args.text, args.lang, args.model, args.rights, _part(args.part),
        args.keep_silence, args.force, not args.no_prepare,
    )  # fmt: skip
    report = enroll(wish, writable(config.resolve(loaded, "profiles")), config.cache_dir())
    print(json.dumps(report.as_json(), ensure_ascii=False) if args.json else _told(report))
    return 0


def enroll(wish: Wish, folder: Path, cache: Path) -> Enrolment:
    """Make the profile ``wish.name`` in ``folder``. Raises `KoedError`: then nothing was made."""
    target = folder / f"{wish.name}.yaml"
    check_name(target)
    wish = dataclasses.replace(wish, lang=_language(wish.lang, wish.text))
    if not wish.force:
        refuse_existing(target, target.with_suffix(".wav"))
    if not wish.text.strip():
        raise ConfigError("no_transcript", "--text is empty", "write what is said in the clip")
    whole = reference.read(wish.audio, LONGEST_S)
    offset_s, end_s = wish.part or (0.0, whole.duration_s)
    if end_s > whole.duration_s + PART_OVER_S:
        raise ConfigError(
            "bad_part",
            f"--part ends at {end_s:g} s, and the recording lasts {whole.duration_s:.2f} s",
            "like --part 2.1:9.8, in seconds of the recording",
        )
    taken = take(cut(whole, offset_s, end_s), wish.text.strip(), wish.keep_silence)
    taken = dataclasses.replace(
        taken, start_s=taken.start_s + offset_s, end_s=taken.end_s + offset_s
    )
    recording = cut(whole, taken.start_s, taken.end_s)
    report = Enrolment(target, taken, whole.duration_s, taken.text, quality.examine(recording))
    report.remarks += quality.check_clip(recording) + _remarks(wish, taken)
    with staged_beside(folder) as stage:
        draft = stage / target.name
        reference.write(draft.with_suffix(".wav"), recording)
        styles = _styles(wish, stage, report)
        draft.write_text(_profile(wish, taken, styles), encoding="utf-8")
        _prepare(wish, draft, cache / "voices", report)
        moods = [f"{wish.name}-{style}.wav" for style in styles]
        publish(draft, target, [*moods, f"{wish.name}.wav"], wish.force)
    _show(whole, report)
    return report


def writable(folder: Path) -> Path:
    """``folder``, unless it belongs to the installed package."""
    if folder.name == "_profiles":
        raise ConfigError(
            "no_profiles",
            "there is no folder for voices of your own: koed uses those that came with it",
            f"mkdir {config.PROFILES}, and copy from {folder} what you want to keep",
        )
    return folder


def _part(text: str) -> tuple[float, float] | None:
    """``2.1:9.8`` -> seconds."""
    if not text:
        return None
    try:
        start_s, end_s = map(float, text.split(":"))
    except ValueError:
        start_s, end_s = 0.0, 0.0
    if not 0.0 <= start_s < end_s < float("inf"):
        raise ConfigError("bad_part", f"--part {text[:40]!r} is no part", "like --part 2.1:9.8")
    return start_s, end_s


def _language(given: str, text: str) -> str:
    """The code; of ``auto`` that of the text. What is no language of these stays as it is."""
    code = languages.of_text(text) if given.strip().lower() == "auto" else given
    return languages.named(code) or given


def refuse_existing(*paths: Path) -> None:
    """Raises `ConfigError` ``profile_exists``."""
    for path in paths:
        if path.exists():
            raise _exists(path)


def _exists(path: Path) -> ConfigError:
    return ConfigError("profile_exists", f"{path} is there already", "another name, or --force")


def _remarks(wish: Wish, taken: Take) -> list[str]:
    said = []
    if taken.guessed:
        said.append(
            f"the recording was too long, and what is said in the part that was taken was found by "
            f"time: listen to {wish.name}.wav and correct the transcript in {wish.name}.yaml"
        )
    if not wish.rights:
        said.append("rights: is empty: write whose voice it is, and that they agreed")
    return said


def _styles(wish: Wish, stage: Path, report: Enrolment) -> dict[str, Any]:
    """``styles:`` of the profile, its clips trimmed and written; an unfit clip is a remark."""
    made: dict[str, Any] = {}
    for style in wish.styles:
        file = f"{wish.name}-{style.name}.wav"
        try:
            whole = reference.read(style.audio, LONGEST_S)
            taken = take(whole, style.text, wish.keep_silence)
            clip = cut(whole, taken.start_s, taken.end_s)
            quality.check_clip(clip)
        except EngineError as error:
            report.remarks.append(f"style {style.name} is left out: {error}")
            continue
        reference.write(stage / file, clip)
        lang = _language(style.lang, style.text)
        said = {"audio": file, "transcript": taken.text, "lang": lang}
        made[style.name] = {"reference": said}
    return made


def _profile(wish: Wish, taken: Take, styles: dict[str, Any]) -> str:
    """The YAML of the profile."""
    values: dict[str, Any] = {"engine": ENGINE, "lang": wish.lang}
    if wish.model:
        values["settings"] = {"model": wish.model}
    values["reference"] = {"audio": f"{wish.name}.wav", "transcript": taken.text}
    if styles:
        values["styles"] = styles
    values |= {"description": wish.description, "rights": wish.rights}
    head = "# Written by koed enroll; docs/your-voice.md says what else can stand here.\n"
    return head + yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=100)


@contextlib.contextmanager
def staged_beside(folder: Path) -> Iterator[Path]:
    """A hidden folder on the same disk: a running daemon must not see half a profile."""
    try:
        stage = Path(tempfile.mkdtemp(prefix=".enroll-", dir=folder))
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            "profiles_unwritable", f"cannot write in {folder}: {error.strerror or error}"
        ) from error


def _prepare(wish: Wish, draft: Path, cache: Path, report: Enrolment) -> None:
    """Compile the voice now: what is wrong with transcript or language shows here."""
    wanted = spec(load_profile(draft))
    if not wish.prepare:
        _check_transcript(wish, report)
        return
    print("preparing the voice ...", file=sys.stderr, flush=True)
    try:
        report.prepared = prepare_apart(wanted, ENGINE, cache)
        report.remarks += [r for r in report.prepared.pop("remarks") if r not in report.remarks]
    except EngineError as error:
        if error.code not in LATER or (wish.model and error.code == "unknown_model"):
            raise
        report.remarks.append(f"not prepared yet: {error}")


def _check_transcript(wish: Wish, report: Enrolment) -> None:
    """What preparing would say of it first."""
    try:
        transcript.check(report.transcript, wish.lang, report.took.end_s - report.took.start_s)
    except EngineError as error:
        if error.code not in LATER:
            raise
        report.remarks.append(f"the transcript was not checked: {error}")


def publish(draft: Path, target: Path, files: Sequence[str], force: bool) -> None:
    """A profile and the ``files`` beside it, which come first: the profile names them.

    Raises `ConfigError` ``profile_exists``.
    """
    for name in (*files, target.name):
        source, path = draft.with_name(name), target.with_name(name)
        if force:
            os.replace(source, path)
            continue
        try:
            os.link(source, path)  # unlike a rename, it never replaces
        except FileExistsError:
            raise _exists(path) from None


# --- what the user gets to see ---------------------------------------------------------------


def _told(report: Enrolment) -> str:
    marks = {"good": "", "poor": "  <- could be better", "unfit": "  <- unfit"}
    lines = [f"{'what':10} {'measured':>22} {'good is':>12}"]
    lines += [
        f"{found.what:10} {found.measured:>22} {found.limit:>12}{marks[found.grade]}"
        for found in report.findings
    ]
    took = report.took
    lines.append(f"taken: {took.start_s:.2f} to {took.end_s:.2f} s of {report.of_s:.2f} s")
    lines.append(f"transcript: {report.transcript}")
    lines += [f"remark: {remark}" for remark in report.remarks]
    if report.prepared:
        lines.append(f"prepared in {report.prepared['took_s']} s")
    lines.append(f"wrote {report.profile}" + (f" and {report.picture}" if report.picture else ""))
    lines.append(f"try it: koe say --voice {report.profile.stem} ...")
    return "\n".join(lines)


def _show(whole: Recording, report: Enrolment) -> None:
    """Draw `NAME.png`, or remark why there is none."""
    path = report.profile.with_suffix(".png")
    try:
        _picture(path, whole, report)
    except ImportError:
        report.remarks.append("no picture: matplotlib is not installed (extra demo)")
    except OSError as error:
        report.remarks.append(f"no picture: {error}")
    else:
        report.picture = path


def _picture(path: Path, whole: Recording, report: Enrolment) -> None:
    """Waveform and spectrogram of the recording, what was left out in grey."""
    import matplotlib as mpl
    import numpy as np

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    took, rate_hz = report.took, whole.rate_hz
    figure, (waves, spectrum) = plt.subplots(
        2, 1, figsize=(12, 6), sharex=True, layout="constrained"
    )
    waves.plot(np.arange(len(whole.samples)) / rate_hz, whole.samples, linewidth=0.3)
    waves.set_ylabel("amplitude")
    with np.errstate(divide="ignore"):  # digital silence has no logarithm
        spectrum.specgram(whole.samples, NFFT=1024, Fs=rate_hz, noverlap=768, vmin=-140)
    spectrum.set_ylim(0, min(12_000, rate_hz / 2))
    spectrum.set_ylabel("Hz")
    spectrum.set_xlabel("seconds")
    for axis in (waves, spectrum):
        axis.set_xlim(0, report.of_s)
        for a, b in ((0.0, took.start_s), (took.end_s, report.of_s)):
            axis.axvspan(a, b, color="grey", alpha=0.6, linewidth=0)
    found = ", ".join(f"{f.what} {f.measured}" for f in report.findings)
    waves.set_title(
        f"{report.profile.stem}: {took.end_s - took.start_s:.2f} s are kept\n{found}", fontsize=9
    )
    figure.savefig(path, dpi=100)
    plt.close(figure)
