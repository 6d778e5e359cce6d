"""Cases of the sound model: codes, phones and references to every stage and the wave."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from koed.engine.gpt_sovits.model import features
from koed.engine.gpt_sovits.model.sovits import SoundModel
from koed.engine.gpt_sovits.model.style_encoder import Style
from tests.parity import weights
from tests.parity.case import Array, Case, Result, fixtures


def cases(folder: Path) -> Iterator[Case]:
    """One case a file: every stage that it recorded."""
    for path, arrays, meta in fixtures(folder, "sovits"):
        run = functools.partial(check, folder, arrays, meta)
        yield Case(f"sovits/{path.stem}", run)


@functools.lru_cache(maxsize=1)
def model(folder: Path, version: str) -> SoundModel:
    """The full-size model with the weights of the manifest ``s2_VERSION``."""
    return SoundModel.from_state(weights.state_dict(folder, f"s2_{version}"))


def check(folder: Path, arrays: dict[str, Array], meta: dict[str, Any]) -> Result:
    result, sound = Result(), model(folder, meta["model"])
    specs = [spectrogram(folder, ref) for ref in meta["refs"]]
    speakers = [tensor(rule) for rule in meta["sv_emb"] or []]
    with seen(sound) as stages:
        style = sound.style(specs, speakers)
        style_of_each = torch.cat(stages.pop("ref_enc"))
        wave = spoken(sound, arrays, meta, style, result)
    quantized = sound.quantizer.decode(_ids(arrays["codes"]))[0, ::16, ::2]
    result.close("quantized", quantized, arrays["quantized_every16"])
    result.close("ref_enc", style_of_each, arrays["ref_enc"])
    result.close("ge", style.ge[0, :, 0], arrays["ge"])
    result.close("encoder_ssl", stages["encoder_ssl"][0][0, ::4], arrays["encoder_ssl_every4"])
    result.close("encoder_text", stages["encoder_text"][0][0, ::4], arrays["encoder_text_every4"])
    result.close("mrte", stages["mrte"][0][0][0, ::4], arrays["mrte_every4"])
    y = sound.enc_p.at_speed(stages["encoder2"][0], meta["speed"])
    result.close("enc_p_y", y[0, ::2], arrays["enc_p_y_every2"])
    result.close("z", stages["flow"][0][0], arrays["z"])
    result.wave("wave", wave, arrays["wave"])
    return result


def spoken(
    sound: SoundModel, arrays: dict[str, Array], meta: dict[str, Any], style: Style, result: Result
) -> Tensor:
    """The wave [S] of the recorded codes and phones; judges the latent's distribution."""
    codes, phones = _ids(arrays["codes"]), _ids(arrays["phones"])
    encoded = sound.encode(codes, phones, style, meta["speed"])
    result.close("m_p", encoded.m[0], arrays["m_p"])
    result.close("logs_p", encoded.logs[0], arrays["logs_p"])
    noise = tensor(meta["noise"])[0] if meta["noise"] else torch.zeros_like(encoded.m[0])
    return sound.decode(encoded, noise, style, meta["noise_scale"])


def spectrogram(folder: Path, reference: str | dict[str, Any]) -> Tensor:
    """[1, 1025, F] of a wave file or by rule"""
    if isinstance(reference, str):
        return features.spectrogram(features.for_style(features.read(folder / reference)))
    return tensor(reference)


def tensor(rule: dict[str, Any]) -> Tensor:
    return torch.from_numpy(weights.array(rule))


@contextlib.contextmanager
def seen(sound: SoundModel) -> Iterator[dict[str, list[Any]]]:
    """What left each stage of ``sound`` while the context was open."""
    stages: dict[str, list[Any]] = {}
    parts: dict[str, nn.Module] = {
        "ref_enc": sound.ref_enc,
        "flow": sound.flow,
        **{n: getattr(sound.enc_p, n) for n in ("encoder_ssl", "encoder_text", "mrte", "encoder2")},
    }

    def keep(name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        stages.setdefault(name, []).append(output)

    hooks = [part.register_forward_hook(functools.partial(keep, n)) for n, part in parts.items()]
    try:
        yield stages
    finally:
        for hook in hooks:
            hook.remove()


def _ids(array: Array) -> Tensor:
    return torch.from_numpy(array).long()
