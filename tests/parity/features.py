"""What is heard in a reference and read in a Chinese text: spec/, ssl/, sv/, bert/.

The log-mels beside the spectrograms belong to v3 and v4, which koed does not speak.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from koed.engine.gpt_sovits.model import features, hubert
from koed.engine.gpt_sovits.model.bert import UNUSED_LAYERS, Bert
from koed.engine.gpt_sovits.model.hubert import Hubert
from koed.engine.gpt_sovits.model.speaker_encoder import Speaker
from tests.parity import weights
from tests.parity.case import Array, Case, Result, fixtures
from tools.parity.official import PAUSE_SAMPLES

RESAMPLED_LIMIT = 1e-3  # of soxr, whose versions differ
LOG_LIMIT = 1e-3  # absolute: near silence a log shows any rounding
MIDDLE_S = 1.25  # where the recorded excerpts from the middle begin

_FIRST = 0x4E00  # the vocabulary of these tests: a character for each id, from here on
_MARKS = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102}
_QUANTIZER = {
    "ssl_proj.weight": (768, 768, 2),
    "ssl_proj.bias": (768,),
    "quantizer.vq.layers.0._codebook.embed": (1024, 768),
}

Numbers = dict[str, Array]
Check = Callable[[Path, Numbers, dict[str, Any], Result], None]


def cases(folder: Path) -> Iterator[Case]:
    """One a fixture file; each network is built once for all of its files."""
    checks: dict[str, Check] = {"spec": _spec, "ssl": _ssl, "sv": _sv, "bert": _bert}
    for area, check in checks.items():
        for path, arrays, meta in fixtures(folder, area):
            yield Case(f"{area}/{path.stem}", functools.partial(_run, check, folder, arrays, meta))


def _run(check: Check, folder: Path, arrays: Numbers, meta: dict[str, Any]) -> Result:
    result = Result()
    check(folder, arrays, meta, result)
    return result


def _spec(folder: Path, want: Numbers, meta: dict[str, Any], result: Result) -> None:
    recording = features.read(folder / meta["wave"])
    styled = features.for_style(recording)
    waves = {
        "a32": (styled, features.MODEL_HZ),
        "a16": (features.for_speaker(styled), features.SPEECH_HZ),
        "librosa16": (features.for_prompt(recording), features.SPEECH_HZ),
    }
    for name, (wave, rate_hz) in waves.items():
        result.exact(f"{name}_len", len(wave), meta[f"{name}_len"])
        limit = RESAMPLED_LIMIT if name == "librosa16" else 1e-4
        for place, start in ("head", 0), ("mid", int(MIDDLE_S * rate_hz)), ("tail", None):
            if (excerpt := want.get(f"{name}_{place}")) is not None:
                first = len(wave) - len(excerpt) if start is None else start
                result.close(name, wave[first : first + len(excerpt)], excerpt, limit)
    spectrogram = features.spectrogram(styled)
    result.exact("spec_shape", spectrogram.shape, meta["spec_shape"])
    result.close("spec", spectrogram[0, :, ::8], want["spec_every8"])
    result.close("spec_sum", spectrogram.double().sum()[None], want["spec_sum"])


def _ssl(folder: Path, want: Numbers, meta: dict[str, Any], result: Result) -> None:
    table = {k: torch.from_numpy(weights.fill(k, shape)) for k, shape in _QUANTIZER.items()}
    weight, bias, codebook = table.values()
    if "wave" not in meta:
        ssl = torch.from_numpy(weights.array(meta["ssl"]))
        projected = hubert.project(ssl, weight, bias)[0].T
        result.close("ssl_proj", projected[: len(want["ssl_proj"])], want["ssl_proj"])
        result.exact("codes", hubert.codes(ssl, weight, bias, codebook), want["codes"])
        return
    wave = pad(features.for_prompt(features.read(folder / meta["wave"])), (0, PAUSE_SAMPLES))
    result.exact("n_samples", len(wave), meta["n_samples"])
    network = _network(folder, "hubert")
    ssl = network(wave)
    result.exact("T", ssl.shape[-1], meta["T"])
    with torch.inference_mode():
        inner = network.body(wave[None], output_hidden_states=True).hidden_states
        heard = network.body.feature_extractor(wave[None])[0]
    projected = hubert.project(ssl, weight, bias)[0].T
    tensors: dict[str, Tensor] = {
        "conv_feat_every16": heard[:, ::16],
        "hidden_0_every16": inner[0][0, ::16],
        "hidden_6_every16": inner[6][0, ::16],
        "last_every8": ssl[0].T[::8],
        "ssl_proj_every8": projected[::8],
    }
    for name in sorted(tensors.keys() & want.keys()):
        result.close(name, tensors[name], want[name])
    result.exact("codes", hubert.codes(ssl, weight, bias, codebook), want["codes"])


def _sv(folder: Path, want: Numbers, meta: dict[str, Any], result: Result) -> None:
    wave = features.for_style(features.read(folder / meta["wave"]))
    energies = features.fbank(features.for_speaker(wave))
    result.exact("T", len(energies), meta["T"])
    result.within("fbank", energies[::4], want["fbank_every4"], LOG_LIMIT)
    speaker = _network(folder, "speaker")
    with torch.inference_mode():
        first = torch.relu(speaker.network.conv1(energies.T[None, None]))
        first = speaker.network.layer1(first)[0]
    result.close("layer1", first[:8, ::8, ::16], want["layer1_slice"])
    result.close("emb", speaker(wave)[0], want["emb"])


def _bert(folder: Path, want: Numbers, meta: dict[str, Any], result: Result) -> None:
    ids = [int(i) for i in want["input_ids"]]
    network = _network(folder, "bert")
    text = "".join(chr(_FIRST + i) for i in ids[1:-1])
    if "hidden_m3" in want:
        hidden = network.encode([network.tokens(text)])[0]
        result.close("hidden", hidden, want["hidden_m3"][1:-1])
    # Beside a longer text, so that padding is judged too.
    word2ph = [int(n) for n in want["word2ph"]]
    longer = (text + text[:5], [1] * (len(text) + 5))
    result.close("feature", network.features([(text, word2ph), longer])[0], want["feature"])


@functools.lru_cache(maxsize=1)  # BERT fills more than a gigabyte
def _network(folder: Path, name: str) -> Any:
    """One of the three networks, full size, with synthetic weights."""
    if name == "hubert":
        return Hubert(_weights(folder, "chinese_hubert_base"))
    if name == "speaker":
        return Speaker(_weights(folder, "sv_eres2netv2w24s4ep4"))
    unused = tuple(f".layer.{23 - i}." for i in range(UNUSED_LAYERS))
    vocabulary = {chr(_FIRST + i): i for i in range(21128)} | _MARKS
    return Bert(_weights(folder, "chinese_roberta_wwm_ext_large", unused), vocabulary)


def _weights(folder: Path, name: str, unused: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """As `weights.state_dict`, but not kept: a network holds them already."""
    keys = weights.manifest(folder, name)["keys"]
    return {
        key: torch.from_numpy(np.asarray(weights.fill(key, entry["shape"], entry["dtype"])))
        for key, entry in keys.items()
        if not any(part in key for part in unused)
    }
