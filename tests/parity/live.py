"""Cases of what is heard: the engine that speaks on air, from clip and text to the last chunk.

The other areas judge its stages, and the official pipeline that `tools.parity` makes of them. Here
`GptSovitsEngine` prepares, loads and streams with its guards on, at the default settings but where
a recording was made with others. Its codes are to be the recorded ones (or those of the stages,
where none are), and its chunks the parts of official decodes that `plan` names. Noise is recorded,
or follows from the seed by rule.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from koed.engine.base import ProfileSpec
from koed.engine.gpt_sovits import engine as engine_module
from koed.engine.gpt_sovits import voice as voices
from koed.engine.gpt_sovits.decoding.decode import MOST_CODES
from koed.engine.gpt_sovits.engine import GptSovitsEngine
from koed.engine.gpt_sovits.model import hubert
from koed.engine.gpt_sovits.model.generator import Span
from koed.engine.gpt_sovits.models import Base, Name
from koed.engine.gpt_sovits.store.hub import (
    HUBERT,
    S1_PRO,
    S1_V1,
    S1_V2,
    S2_PRO,
    S2_PRO_PLUS,
    S2_V1,
    S2_V2,
    SPEAKER,
)
from koed.engine.gpt_sovits.text_features import TextFeatures
from koed.testing import tiny
from tests.engine.gpt_sovits.heard import (
    against,
    codes_of,
    drawn,
    hear,
    hold,
    judge,
    packed,
    speaker,
    verdict,
)
from tests.parity import sovits, weights
from tests.parity.case import Array, Case, Result, fixtures
from tools.parity import official

FILES = {
    "v1": (S1_V1, "s1_v1", S2_V1, "s2_v1", ""),
    "v2": (S1_V2, "s1_v2", S2_V2, "s2_v2", ""),
    "v2Pro": (S1_PRO, "s1_v2", S2_PRO, "s2_v2Pro", "05"),
    "v2ProPlus": (S1_PRO, "s1_v2", S2_PRO_PLUS, "s2_v2ProPlus", "06"),
}
"""Version -> of each model the file and the manifest, and how the second file is marked."""
PCM_STEP = 4 / 32768
END_GAIN = 2.0
"""Of the end mark's row in all recordings that end by themselves."""
TEXTS = {"v1": (27, 34, 1, 2), "v2": (44, 33, 1, None), "v2Pro": (37, 23, 13, 11)}
"""Version -> numbers of recorded sentences for the reference and to be said, a seed with which it
is said, and one with which it ends too early: in v1 with 36 codes, of 37 that it must have."""
CODES = "sampled_s1_v2_7", "sampled_s1_v2_8", "eos_s1_v2_4"
"""Those of v1 are made of numbers that are no phones."""
SOUND = "base", "noise0.5", "naive", "aux_refs", "noprompt"
"""One segment by one, each whole. Only v2 and v2ProPlus were recorded from end to end."""
PROMPT = 20
"""Phones of a recording that are taken for the transcript's; it does not say."""


class Studio:
    """An engine on files of full size, written when a version is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._home = tempfile.TemporaryDirectory(prefix="koed-parity-")
        self.home = Path(self._home.name)
        self.engine = GptSovitsEngine(self.home, device="cpu", budget_bytes=1)
        self._write(f"{HUBERT}/pytorch_model.bin", self._state("chinese_hubert_base"))
        self._write(SPEAKER, self._state("sv_eres2netv2w24s4ep4"))

    def base(self, version: str) -> Base:
        s1, s1_manifest, s2, s2_manifest, mark = FILES[version]
        if not (self.home / s1).exists():
            state = self._state(s1_manifest)
            state["model.ar_predict_layer.weight"][-1] *= END_GAIN
            self._pair(s1, s1_manifest, state)
        if not (self.home / s2).exists():
            self._pair(s2, s2_manifest, self._state(s2_manifest), mark)
        return self.engine.models.get(Name(self.name(version), "auto"))

    def name(self, version: str) -> str:
        """It depends on which other files are there."""
        models = self.engine.models.store.scan().models
        path = self.home / FILES[version][2]
        return next(model.name for model in models if model.sovits.path == path)

    def _state(self, manifest: str) -> dict[str, Array]:
        keys = weights.manifest(self.folder, manifest)["keys"]
        return {key: weights.fill(key, e["shape"], e["dtype"]) for key, e in keys.items()}

    def _pair(self, path: str, manifest: str, state: dict[str, Array], mark: str = "") -> None:
        config = weights.manifest(self.folder, manifest)["config"]
        self._write(path, {"weight": state, "config": config, "info": ""}, mark)

    def _write(self, path: str, value: dict[str, Any], mark: str = "") -> None:
        tiny.save(self.home / path, value, mark)


@functools.lru_cache(maxsize=1)
def studio(folder: Path) -> Studio:
    return Studio(folder)


def cases(folder: Path) -> Iterator[Case]:
    """By version, so that its models are loaded once: whole lines, codes, sound, recorded runs."""
    sentences = folder / "text" / "phones.json"
    for version, (_, s1, _, s2, _) in FILES.items():
        if not all((folder / "manifests" / f"{name}.json").is_file() for name in (s1, s2)):
            continue
        if version in TEXTS and sentences.is_file():
            *_, seed, refused = TEXTS[version]
            yield Case(f"live/{version}_text", functools.partial(_text, folder, version, seed))
            if refused is not None:
                run = functools.partial(_text, folder, version, refused, "early_end")
                yield Case(f"live/{version}_refused", run)
        for area in "ar", "sovits", "e2e":
            for path, arrays, meta in fixtures(folder, area):
                if _chosen(version, path.stem, meta):
                    run = functools.partial(RUNS[area], folder, version, arrays, meta)
                    yield Case(f"live/{area}_{path.stem}", run)


def _chosen(version: str, name: str, meta: dict[str, Any]) -> bool:
    """Whether a recording is of this version, ends by itself, and is one segment by segment."""
    if meta["model"].startswith("s1_"):
        return meta["model"] == FILES[version][1] and version in ("v1", "v2") and name in CODES
    return meta["model"] == version and name.removeprefix(f"{version}_") in SOUND


def _text(folder: Path, version: str, seed: int, refused: str = "") -> Result:
    """All of it: a wave file, two sentences and a seed; ``refused``: what the guards say of it."""
    items = json.loads((folder / "text" / "phones.json").read_text("utf-8"))["items"]
    said, text = (items[number] for number in TEXTS[version][:2])
    base, engine, result = studio(folder).base(version), studio(folder).engine, Result()
    clip = folder / "waves" / "ref_a.wav"
    given = {"audio": clip.read_bytes(), "transcript": said["text"], "lang": said["lang"]}
    model = {"model": studio(folder).name(version)}
    voice = engine.prepare(ProfileSpec("live", said["lang"], model, given))
    if refused:
        result.exact("refused", verdict(engine, voice, text["text"], text["lang"], seed), refused)
        return result
    who = speaker(base, clip, said["text"], said["lang"])
    heard = hear(engine, voice, text["text"], text["lang"], seed)
    symbols = "v1" if version == "v1" else "v2"
    result.exact("prompt_phones", who.phones, said[symbols]["ids"])
    result.exact("phones", heard.phones, text[symbols]["ids"])
    reading = base.read(text["text"], text["lang"])
    result.exact("codes", heard.codes, codes_of(base, who, reading, drawn(heard.seeds[-1])))
    judge(result, heard, base, who, hold(len(heard.phones), who), seed)
    return result


def _codes(folder: Path, version: str, arrays: dict[str, Array], meta: dict[str, Any]) -> Result:
    """Recorded phones and noise to recorded codes."""
    base, result = studio(folder).base(version), Result()
    phones = torch.from_numpy(arrays["x0"]).long()
    bert = torch.from_numpy(weights.array(meta["bert"][0]))
    codes = torch.from_numpy(arrays["prompt"]).long()
    style = base.sound.style([torch.from_numpy(weights.randn(1, (1, 1025, 40))).abs()])
    who = official.Speaker(style, codes, phones[:PROMPT], bert[:, :PROMPT])
    recorded = arrays["y"][len(codes) :].tolist()
    given = meta["params"]
    names = "top_k", "top_p", "temperature", "repetition_penalty"
    most = given["early_stop_num"] + 1
    guards = "none" if len(recorded) == most else "strict"  # a limit is theirs
    changed = {name: given[name] for name in names} | {"guards": guards}
    rows = (
        torch.from_numpy(weights.array(meta["noise"])) if "noise" in meta else torch.ones(400, 1025)
    )
    text = TextFeatures(phones[PROMPT:], bert[:, PROMPT:], ((0, 1, 0.0),))
    with _reads(base, lambda *_: text), mock.patch.object(engine_module, "MOST_CODES", most):
        voice = packed(base, who, changed)
        heard = hear(studio(folder).engine, voice, "A", noise=lambda _: rows.__getitem__)
    result.exact("codes", heard.codes, recorded)
    judge(result, heard, base, who, hold(len(heard.phones), who) if guards == "strict" else 0, 1)
    return result


def _sound(folder: Path, version: str, arrays: dict[str, Array], meta: dict[str, Any]) -> Result:
    """Recorded codes, style and noise to recorded sound."""
    base, result = studio(folder).base(version), Result()
    codes, phones = arrays["codes"].tolist(), torch.from_numpy(arrays["phones"]).long()
    specs = [sovits.spectrogram(folder, ref) for ref in meta["refs"]]
    style = base.sound.style(specs, [sovits.tensor(rule) for rule in meta["sv_emb"] or []])
    noise = sovits.tensor(meta["noise"])[0] if meta["noise"] else torch.zeros(192, 2 * len(codes))
    who = official.Speaker(style, torch.arange(40), torch.arange(20), None)
    scale = meta["noise_scale"]
    cut: Callable[[int, Span], Tensor] = lambda _, span: noise[:, span.lo : span.hi]  # noqa: E731
    with (
        _reads(base, lambda *_: TextFeatures(phones, None, ((0, 1, 0.0),))),
        mock.patch.object(base, "codes", side_effect=lambda *_: iter(codes)),
        mock.patch.object(base.sound, "noise", cut),
    ):
        heard = hear(studio(folder).engine, packed(base, who, {"noise_scale": scale}), "A")
    judge(result, heard, base, who, hold(len(phones), who), noise, scale)
    against(result, heard, arrays["wave"], hold(len(phones), who))
    return result


def _run(folder: Path, version: str, arrays: dict[str, Array], meta: dict[str, Any]) -> Result:
    """A wave file and recorded phones to recorded codes and 16 bit sound."""
    base, result, given = studio(folder).base(version), Result(), meta["request"]
    engine = studio(folder).engine

    def read(text: str, *_: Any) -> TextFeatures:
        name = {"P": "prompt_phones"}.get(text, f"phones_{text}")
        rule = meta[name.replace("phones", "bert")]
        bert = torch.from_numpy(weights.array(rule))
        return TextFeatures(torch.from_numpy(arrays[name]).long(), bert, ((0, 1, 0.0),))

    clips = [folder / meta["ref"], *(folder / "waves" / Path(name).name for name in meta["aux"])]
    reference: dict[str, Any] = {"audio": clips[0].read_bytes(), "transcript": given["prompt_text"]}
    if meta["aux"]:
        reference["timbre"] = [{"audio": clip.read_bytes()} for clip in clips]
    limited = int(meta.get("early_stop_num", 2700)) + 1 if not given["prompt_text"] else MOST_CODES
    changed = {"model": studio(folder).name(version), "top_k": 1, "noise_scale": 0.0}
    changed["guards"] = "none"  # which would refuse: chance has no sentences
    with (
        _reads(base, read),
        mock.patch.object(hubert, "PAUSE_SAMPLES", official.PAUSE_SAMPLES),
        mock.patch.object(engine_module, "MOST_CODES", limited),
    ):
        voice = engine.prepare(ProfileSpec("run", "en", changed, reference))
        heard = [hear(engine, voice, text) for text in given["text"].split("|")]
    result.exact("tokens", [code for line in heard for code in line.codes], arrays["tokens"])
    result.exact("token_lens", [len(line.codes) for line in heard], arrays["token_lens"])
    prepared = voices.unpack(voice, engine.models.digest, "cpu")
    who = official.Speaker(prepared.style, prepared.codes, prepared.phones, prepared.bert)
    recorded, step, at = arrays["audio"].astype(np.float32) / 32768, meta["audio_step"], 0
    for line in heard:
        whole = judge(result, line, base, who, 0, 1, 0.0)
        peak = max(1.0, float(np.abs(whole).max()))  # they are brought down to full scale
        end = at + len(line.pcm)
        against(result, line, peak * recorded[at // step : end // step], 0, step, peak * PCM_STEP)
        at = end + official.PAUSE_SAMPLES
    result.exact("samples", len(recorded), at // step)
    return result


def _reads(base: Base, read: Callable[..., TextFeatures]) -> Any:
    return mock.patch.object(base, "read", read)


RUNS = {"ar": _codes, "sovits": _sound, "e2e": _run}
