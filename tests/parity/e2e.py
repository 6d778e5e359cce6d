"""Cases of the whole official pipeline: wave file and phones to 16 bit sound, codes on the way."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from koed.engine.gpt_sovits.model import features
from koed.engine.gpt_sovits.model.hubert import Hubert
from koed.engine.gpt_sovits.model.sampling import Sampling
from koed.engine.gpt_sovits.model.sovits import SoundModel
from koed.engine.gpt_sovits.model.speaker_encoder import Speaker as SpeakerNetwork
from tests.parity import ar, sovits, weights
from tests.parity.case import Array, Case, Result, fixtures
from tools.parity.official import PAUSE_SAMPLES, Call, Item, Official, Request, Speaker

PCM_LIMIT = 4  # of 32768
SETTINGS = {
    "speed_factor": "speed",
    "fragment_interval": "pause_s",
    "batch_size": "batch_size",
    "split_bucket": "bucket",
    "parallel_infer": "parallel",
    "return_fragment": "fragments",
    "streaming_mode": "streaming",
    "fixed_length_chunk": "fixed",
    "min_chunk_length": "chunk_codes",
    "overlap_length": "overlap_codes",
    "seed": "seed",
}
"""Official names of a request's settings -> ours."""

Numbers = dict[str, Array]


def cases(folder: Path) -> Iterator[Case]:
    """One case a file; files of one version follow each other and share its models."""
    for path, arrays, meta in fixtures(folder, "e2e"):
        yield Case(f"e2e/{path.stem}", functools.partial(check, folder, arrays, meta))


def check(folder: Path, arrays: Numbers, meta: dict[str, Any]) -> Result:
    """Say what was said, and compare codes, chunks and sound."""
    sound = sovits.model(folder, meta["model"])
    official = Official(ar.model(folder, meta["ar_model"], meta["eos_gain"]), sound)
    names = meta["request"]["text"].split("|")
    items = [
        Item(*read(f"phones_{name}", f"bert_{name}", arrays, meta), meta["norm_text_len"][name])
        for name in names
    ]
    chunks = list(official.say(items, speaker(folder, sound, arrays, meta), request(meta)))
    result = Result()
    result.exact("token_lens", [len(c.codes) for c in official.calls], arrays["token_lens"])
    result.exact("tokens", [n for c in official.calls for n in c.codes], arrays["tokens"])
    refs = 1 + len(meta["aux"])
    for got, want in zip(official.calls, meta["decode_calls"], strict=False):
        for name, value in want.items():
            result.exact(name, _recorded(got, refs)[name] or 0, value or 0)
    result.exact("sola_offsets", official.offsets, meta["sola_offsets"])
    result.exact("chunk_lengths", [len(chunk) for chunk in chunks], meta["chunk_lengths"])
    pcm = np.concatenate(chunks)[:: meta["audio_step"]]
    result.within("audio", pcm, arrays["audio"], PCM_LIMIT)
    return result


def request(meta: dict[str, Any]) -> Request:
    """The recorded request, with a sound model that is given no noise."""
    given = meta["request"]
    names = "top_k", "top_p", "temperature", "repetition_penalty"
    chosen = {ours: given[theirs] for theirs, ours in SETTINGS.items() if theirs in given}
    if "early_stop_num" in meta:
        chosen["early_stop_codes"] = int(meta["early_stop_num"])
    return Request(Sampling(*(given[name] for name in names)), noise_scale=0.0, **chosen)


def speaker(folder: Path, sound: SoundModel, arrays: Numbers, meta: dict[str, Any]) -> Speaker:
    """From the wave files; further ones add to the style, of which the main one is a part."""
    main = folder / meta["ref"]
    clips = [main, *further(folder, meta)]
    identities = [identity(folder, clip) for clip in clips] if sound.needs_speaker else []
    style = sound.style([sovits.spectrogram(folder, str(clip)) for clip in clips], identities)
    codes = sound.semantic_codes(heard(folder, main))
    if not meta["request"]["prompt_text"]:
        return Speaker(style, codes, torch.empty(0, dtype=torch.int64), None)
    return Speaker(style, codes, *read("prompt_phones", "prompt_bert", arrays, meta))


def further(folder: Path, meta: dict[str, Any]) -> list[Path]:
    return [folder / "waves" / Path(name).name for name in meta["aux"]]


def read(phones: str, bert: str, arrays: Numbers, meta: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Phones [N] and BERT features [1024, N] under these names."""
    return (
        torch.from_numpy(arrays[phones]).long(),
        torch.from_numpy(weights.array(meta[bert])),
    )


@functools.lru_cache(maxsize=8)
def heard(folder: Path, path: Path) -> Tensor:
    """[1, 768, F] of a reference and its pause, as long as the official one."""
    network = Hubert(weights.state_dict(folder, "chinese_hubert_base"))
    return network(pad(features.for_prompt(features.read(path)), (0, PAUSE_SAMPLES)))


@functools.lru_cache(maxsize=8)
def identity(folder: Path, path: Path) -> Tensor:
    """[1, 20480]: who speaks in a reference"""
    network = SpeakerNetwork(weights.state_dict(folder, "sv_eres2netv2w24s4ep4"))
    return network(features.for_style(features.read(path)))


def _recorded(call: Call, refs: int) -> dict[str, Any]:
    """A call under the names of the recordings."""
    return {
        "tokens": len(call.codes),
        "phones": call.phones,
        "speed": call.speed,
        "refs": refs,
        "result_length": call.kept_codes,
        "overlap_frames": call.blended_frames,
        "out_samples": call.samples,
    }
