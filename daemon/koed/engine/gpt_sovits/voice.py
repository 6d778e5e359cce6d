"""A profile compiled once: a clip becomes codes, phones and a style, and these a frozen `Voice`.

Timbre and manner of speaking may come from different clips: the reference itself (with its
transcript) is what the text model continues, and the style is that of the clips under ``timbre``,
blended by weight, if there are any.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from koed.engine.base import ProfileSpec, Voice
from koed.engine.gpt_sovits import guards
from koed.engine.gpt_sovits.model import features
from koed.engine.gpt_sovits.model.features import Recording
from koed.engine.gpt_sovits.model.hubert import with_pause
from koed.engine.gpt_sovits.model.sovits import SAMPLE_RATE_HZ, SoundModel
from koed.engine.gpt_sovits.model.style_encoder import Style
from koed.engine.gpt_sovits.text_features import TextFeatures
from koed.engine.gpt_sovits.transcript import check_language, check_pace, unreadable
from koed.engine.loudness import integrated_lufs
from koed.errors import EngineError
from koed.recordings.quality import check_clip

log = logging.getLogger(__name__)

FORMAT = 1
MOST_CLIPS = 16
CALIBRATION_SEED = 0
LOUDNESS = (-60.0, 0.0)
"""LUFS of a voice that is one; outside, the model is not what it should be."""


class Base(Protocol):
    """What compiling asks of a base model and of what stands beside it."""

    digest: str
    sound: SoundModel

    def hubert(self, wave: Tensor) -> Tensor:
        """[S] at 16 kHz -> [1, 768, F] at 50 Hz"""

    def speaker(self, wave: Tensor) -> Tensor:
        """[S] at 32 kHz -> [1, 20480]"""

    def read(self, text: str, lang: str) -> TextFeatures: ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """The state of a `Voice`, as tensors on the model's device."""

    digest: str
    """Content hashes of the models that made it; see `fits`."""
    settings: Mapping[str, Any]
    codes: Tensor
    """[T] int64: what the reference says; empty = the text model is given no example."""
    phones: Tensor
    """[N] int64 of the transcript."""
    bert: Tensor | None
    """[1024, N] float32; None = zeros."""
    style: Style

    @property
    def codes_per_phone(self) -> float:
        return guards.pace(self.phones.numel(), self.codes.numel())


def compile_voice(spec: ProfileSpec, settings: Mapping[str, Any], base: Base, name: str) -> Voice:
    """``name`` is the engine's. Takes a second or so for each clip.

    Raises `EngineError` ``reference_*`` that says what to do, or what a network raises.
    """
    reference = spec.reference
    if reference.get("table"):
        raise EngineError(
            "bad_reference", "a table is a voice of the engine kokoro, not of gpt_sovits",
            "write engine: kokoro, or reference: {audio: ..., transcript: ...}",
        )  # fmt: skip
    if not reference.get("audio"):
        raise EngineError(
            "reference_missing",
            f"the voice {spec.name} has no reference",
            "name 3 to 10 s of speech and what is said there: reference: {audio: ..., transcript: "
            "...}",
        )
    main = features.read(reference["audio"])
    features.check_prompt(main)
    for remark in check_clip(main):
        log.warning("voice %s: %s", spec.name, remark)
    prepared = Prepared(
        base.digest,
        settings,
        *_prompt(main, reference, spec, base),
        _style(main, spec, base),
    )
    lufs = calibrate(base.sound, prepared)
    return Voice(spec.name, spec.key(name), spec.lang, lufs, pack(prepared))


def _prompt(
    clip: Recording, reference: Mapping[str, Any], spec: ProfileSpec, base: Base
) -> tuple[Tensor, Tensor, Tensor | None]:
    """What the text model continues: codes, phones, BERT features."""
    empty = torch.empty(0, dtype=torch.int64)
    transcript = str(reference.get("transcript", "")).strip()
    if not transcript:
        log.warning("voice %s has no transcript: the text model goes without example", spec.name)
        return empty, empty, None
    lang = reference.get("lang") or spec.lang
    check_language(transcript, lang)
    try:
        reading = base.read(transcript, lang)
    except EngineError as error:
        raise unreadable(error) from error
    check_pace(reading.phones.numel() / clip.duration_s)
    heard = base.hubert(with_pause(features.for_prompt(clip)))
    return base.sound.semantic_codes(heard).cpu(), reading.phones, reading.bert


def _style(main: Recording, spec: ProfileSpec, base: Base) -> Style:
    """Of the reference, or of the clips under ``timbre`` by their weight."""
    entries = spec.reference.get("timbre") or ()
    if len(entries) > MOST_CLIPS:
        raise EngineError("reference_clips", f"{len(entries)} clips; {MOST_CLIPS} are allowed")
    clips, weights = [main], [1.0]
    if entries:
        clips = [features.read(entry["audio"]) for entry in entries]
        weights = [float(entry.get("weight", 1.0)) for entry in entries]
    if not all(math.isfinite(w) and w >= 0 for w in weights) or not sum(weights) > 0:
        raise EngineError(
            "reference_weight",
            f"clips cannot have the weights {weights}",
            "give each 0 or more, and at least one more than 0",
        )
    waves = [features.for_style(clip) for clip in clips]
    speakers = [base.speaker(wave) for wave in waves] if base.sound.needs_speaker else []
    return base.sound.style([features.spectrogram(wave) for wave in waves], speakers, weights)


def hear_speaker(spec: ProfileSpec, base: Base) -> Tensor:
    """[1, 20480]: what the speaker network, which Pro models need, hears in the main clip."""
    return base.speaker(features.for_style(features.read(spec.reference["audio"])))


def calibrate(sound: SoundModel, prepared: Prepared) -> float:
    """LUFS of the voice at the model's own level: it says what its reference says.

    So no text model is needed, and the sentence is of the right language. Without a transcript it
    says a second of its codes in order.
    """
    codes, phones = prepared.codes, prepared.phones
    if not codes.numel() or not phones.numel():
        codes, phones = torch.arange(25) % sound.dims.codes, torch.tensor([1])
    wave = sound.synthesize(codes, phones, prepared.style, CALIBRATION_SEED).float().cpu().numpy()
    lufs = float(integrated_lufs(wave, SAMPLE_RATE_HZ))
    if not math.isfinite(lufs) or not LOUDNESS[0] <= lufs <= LOUDNESS[1]:
        raise EngineError(
            "voice_silent",
            f"the voice came out at {lufs:.0f} LUFS",
            "try another clip; if it stays so, the SoVITS file is not fit for speech",
        )
    return lufs


# --- to and from plain values ----------------------------------------------------------------


def pack(prepared: Prepared) -> dict[str, Any]:
    """Plain values for msgpack: the tensors are one safetensors file."""
    tensors = {
        "codes": prepared.codes,
        "phones": prepared.phones,
        "ge": prepared.style.ge,
        "ge512": prepared.style.ge512,
    }
    if prepared.bert is not None:
        tensors["bert"] = prepared.bert
    blob = safetensors.torch.save({k: v.cpu().contiguous().clone() for k, v in tensors.items()})
    return {
        "format": FORMAT,
        "model": prepared.digest,
        "settings": dict(prepared.settings),
        "tensors": blob,
    }


def unpack(voice: Voice, digest: Callable[[str], str], device: torch.device | str) -> Prepared:
    """``digest``: name of a base model -> content hashes of what makes its voices now.

    Raises `EngineError` ``stale_voice`` if the state is of another format or another base model.
    """
    state = voice.state
    try:
        if state["format"] != FORMAT:
            raise _stale(voice, "is of another format")
        settings = dict(state["settings"])
        if not fits(str(state["model"]), digest(settings["model"])):
            raise _stale(voice, "was made with a model that has changed")
        tensors = safetensors.torch.load(state["tensors"])
        style = Style(tensors["ge"].to(device), tensors["ge512"].to(device))
        codes, phones = tensors["codes"].to(device), tensors["phones"].to(device)
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise _stale(voice, f"is damaged ({type(error).__name__})") from error
    bert = tensors.get("bert")
    return Prepared(
        state["model"], settings, codes, phones, None if bert is None else bert.to(device), style
    )


def fits(made_with: str, now: str) -> bool:
    """Whether a voice is still what it would become: hashes with ``/`` between them.

    What is not there now cannot have changed, and is not needed to speak.
    """
    then, today = made_with.split("/"), now.split("/")
    return len(then) == len(today) and all(
        a == b or not b for a, b in zip(then, today, strict=True)
    )


def _stale(voice: Voice, why: str) -> EngineError:
    return EngineError("stale_voice", f"the prepared voice {voice.name} {why}", "it is made anew")
