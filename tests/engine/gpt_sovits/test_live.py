"""The live pipeline on tiny models: what is heard is what the stages say, chunk by chunk.

`tests.parity.live` judges the same of models of full size, against recorded numbers. Noise follows
from the seed by rule, so that every machine hears the same lines.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from unittest import mock

import pytest
import torch

from koed.engine.base import ProfileSpec, Voice
from koed.engine.gpt_sovits.decoding.continuous_batch import ContinuousBatch
from koed.engine.gpt_sovits.decoding.cuda_graph import DeviceBatch
from koed.engine.gpt_sovits.decoding.vocoder_graphs import WindowGraphs
from koed.engine.gpt_sovits.engine import GptSovitsEngine
from koed.engine.gpt_sovits.model.sampling import seeded
from koed.engine.gpt_sovits.models import Base, Name
from koed.engine.gpt_sovits.text_features import TextFeatures
from koed.testing import tiny
from tests.engine.gpt_sovits import tape
from tests.engine.gpt_sovits.heard import (
    codes_of,
    drawn,
    hear,
    hear_together,
    hold,
    judge,
    speaker,
    verdict,
)
from tests.engine.gpt_sovits.small import TRANSCRIPT, clip, wav
from tests.parity.case import Result
from tests.parity.weights import randn

CLIP = wav(clip())
V1, PRO = "s2g488k", "v2pro"
FOX, HELLO, NO = "The quick brown fox jumps.", "Hello, world.", "Oh no."
"""20, 10 and 5 phones; at the pace of the clip 60, 30 and 15 codes."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GptSovitsEngine]:
    folder = tiny.make(tmp_path_factory.mktemp("models"), end_gain=1.9)
    made = GptSovitsEngine(folder, device="cpu")
    yield made
    made.close()


@pytest.fixture(scope="module")
def bases(engine: GptSovitsEngine) -> dict[str, Base]:
    """Their BERT is drawn by chance, and as English is read too fast for its features, so do it."""
    found = {name: engine.models.get(Name(name, "auto")) for name in (V1, PRO)}
    plain = {name: base.read for name, base in found.items()}

    def read(name: str, text: str, lang: str) -> TextFeatures:
        reading = plain[name](text, lang)
        bert = randn(len(text), (1024, reading.phones.numel()))
        return dataclasses.replace(reading, bert=torch.from_numpy(bert))

    for name, base in found.items():
        base.read = lambda text, lang, name=name: read(name, text, lang)  # type: ignore
    return found


@pytest.fixture(scope="module")
def voices(engine: GptSovitsEngine, bases: dict[str, Base]) -> dict[str, Voice]:
    reference = {"audio": CLIP, "transcript": TRANSCRIPT, "lang": "en"}
    return {
        name: engine.prepare(ProfileSpec(name, "en", {"model": name}, reference)) for name in bases
    }


@pytest.mark.parametrize(
    ("model", "text", "seed", "attempts"),
    [(V1, HELLO, 10, 1), (V1, NO, 2, 3), (PRO, FOX, 17, 1)],
)
def test_what_is_heard_are_parts_of_official_decodes_of_the_official_codes(
    engine: GptSovitsEngine, bases: dict[str, Base], voices: dict[str, Voice],
    model: str, text: str, seed: int, attempts: int,
) -> None:  # fmt: skip
    base, result = bases[model], Result()
    who = speaker(base, CLIP, TRANSCRIPT, "en")
    heard = hear(engine, voices[model], text, seed=seed)
    assert len(heard.seeds) == attempts
    noise = drawn(heard.seeds[-1])
    result.exact("codes", heard.codes, codes_of(base, who, base.read(text, "en"), noise))
    judge(result, heard, base, who, hold(len(heard.phones), who), seed)
    assert result.failed == []
    assert set(result.worst) == {"codes", "chunk_lengths", "chunks"}


@pytest.mark.parametrize(
    ("text", "seed", "codes", "refused"),
    [
        (HELLO, 8, 13, ""),
        (FOX, 26, 22, "early_end"),
        (HELLO, 6, 110, ""),
        (HELLO, 24, 143, "runaway"),
    ],
)
def test_guards_refuse_what_is_too_short_or_too_long_for_the_pace_of_the_clip(
    engine: GptSovitsEngine, bases: dict[str, Base], voices: dict[str, Voice],
    text: str, seed: int, codes: int, refused: str,
) -> None:  # fmt: skip
    """13 to 120 codes are allowed for ten phones, 27 to 210 for twenty."""
    who = speaker(bases[V1], CLIP, TRANSCRIPT, "en")
    assert len(codes_of(bases[V1], who, bases[V1].read(text, "en"), drawn(seed))) == codes
    assert verdict(engine, voices[V1], text, "en", seed) == refused


def test_a_style_of_several_clips_is_theirs_by_weight(
    engine: GptSovitsEngine, bases: dict[str, Base], voices: dict[str, Voice]
) -> None:
    other = wav(clip(pitch_hz=230.0))
    timbre = [{"audio": CLIP, "weight": 1.0}, {"audio": other, "weight": 3.0}]
    reference = {"audio": CLIP, "transcript": TRANSCRIPT, "lang": "en", "timbre": timbre}
    voice = engine.prepare(ProfileSpec("both", "en", {"model": V1}, reference))
    styles = [speaker(bases[V1], one, TRANSCRIPT, "en").style.ge for one in (CLIP, other)]
    engine.load(voice)
    got = engine._get(voice).style.ge
    assert torch.allclose(got, (styles[0] + 3 * styles[1]) / 4, atol=1e-6)
    assert not torch.allclose(styles[0], styles[1], atol=1e-2)


def test_as_on_a_gpu_two_lines_at_once_are_heard_as_alone(
    engine: GptSovitsEngine, bases: dict[str, Base], voices: dict[str, Voice]
) -> None:
    """Graphs are replayed from tapes; everything around them is as it is there."""
    base, seeds = bases[PRO], (17, 21)
    alone = [hear(engine, voices[PRO], FOX, seed=seed) for seed in seeds]
    with tape.recorded():
        windows = WindowGraphs(base.sound, (26, 50, 90), graphs=True)
        windows.warm_up()
        batch = DeviceBatch(base.t2s, 2, 511, graphs=True)
        batch.warm_up()
        together = ContinuousBatch(batch, 2)
        with (
            mock.patch.object(base, "windows", windows),
            mock.patch.object(base, "together", together),
        ):
            both = hear_together(engine, voices[PRO], FOX, seeds)
    for one, (codes, pcm) in zip(alone, both, strict=True):
        assert codes == one.codes
        assert len(pcm) == len(one.pcm)
        assert abs(pcm - one.pcm).max() <= 1e-4 * abs(one.pcm).max()
    assert sum(graph.replays for graph in batch.captured.values()) >= 30
    assert len(windows._windows) == 3
    assert not len(batch)


def test_noise_of_a_seed_is_another_at_each_step_and_exponential() -> None:
    noise = seeded(5, 1025, torch.device("cpu"))
    rows = torch.stack([noise(step) for step in range(130)])
    assert len({tuple(row[:4].tolist()) for row in rows}) == 130
    assert rows.mean().item() == pytest.approx(1.0, abs=0.02)
    assert rows.std().item() == pytest.approx(1.0, abs=0.03)
    assert torch.equal(rows[70], seeded(5, 1025, torch.device("cpu"))(70))
    assert not torch.equal(rows[70], seeded(6, 1025, torch.device("cpu"))(70))
