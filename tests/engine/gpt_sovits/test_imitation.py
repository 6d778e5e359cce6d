"""``official_quirks: all`` in the live engine: it says what the official pipeline makes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from koed.engine.base import Job, ProfileSpec, Voice
from koed.engine.gpt_sovits.engine import GptSovitsEngine
from koed.engine.gpt_sovits.models import Name
from koed.engine.gpt_sovits.official import Item, Official, Request, Speaker
from koed.engine.gpt_sovits.voice import unpack
from koed.errors import EngineError
from koed.testing import tiny
from tests.engine.gpt_sovits.small import TRANSCRIPT, clip, wav

V2 = "gsv-v2final-pretrained"
TEXT = "At 10:30 p.m. this is a longer sentence that takes some time to be said."


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GptSovitsEngine]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made = GptSovitsEngine(tiny.make(tmp_path_factory.mktemp("models")), device="cpu")
    yield made
    made.close()
    torch.set_num_threads(threads)


def prepared(engine: GptSovitsEngine, quirks: str, **reference: object) -> Voice:
    said = {"audio": wav(clip()), "transcript": TRANSCRIPT, "lang": "en", **reference}
    settings = {"model": V2, "official_quirks": quirks, "guards": "none"}
    return engine.prepare(ProfileSpec("v", "en", settings, said))


def job(voice: Voice, seed: int, speed: float = 1.0) -> Job:
    return Job(1, 1, voice.key, TEXT, "en", speed, seed)


@pytest.fixture(scope="module")
def voice(engine: GptSovitsEngine) -> Voice:
    return prepared(engine, "all")


@pytest.mark.parametrize("speed", [1.0, 1.2])
def test_the_live_engine_says_it_to_the_sample(
    engine: GptSovitsEngine, voice: Voice, speed: float
) -> None:
    seed = 4  # babble of some length
    chunks = [chunk.pcm for chunk in engine.stream(voice, job(voice, seed, speed))]
    base = engine.models.get(Name(V2, "auto"))
    of = unpack(voice, engine.models.digest, "cpu")
    reading = base.read(TEXT, "en", True)
    official = Official(base.t2s, base.sound).say(
        [Item(reading.phones, None, 1)],
        Speaker(of.style, of.codes, of.phones, None),
        Request(speed=speed, streaming=True, seed=seed, pause_s=0.0),
    )
    wanted = [pcm for pcm in official if len(pcm)]
    assert len(wanted) >= 2
    assert [len(pcm) for pcm in chunks if len(pcm)] == [len(pcm) for pcm in wanted]
    sound = np.concatenate(chunks)
    assert np.array_equal(np.round(sound * 32768), np.concatenate(wanted))


def test_further_clips_weigh_as_much_as_the_reference(
    engine: GptSovitsEngine, voice: Voice
) -> None:
    other = {"audio": wav(clip(pitch_hz=230.0)), "weight": 5.0}
    alone = unpack(voice, engine.models.digest, "cpu").style.ge
    both = prepared(engine, "all", timbre=[other])
    second = prepared(engine, "none", timbre=[other])
    mean = (alone + unpack(second, engine.models.digest, "cpu").style.ge) / 2
    assert torch.allclose(unpack(both, engine.models.digest, "cpu").style.ge, mean, atol=1e-6)


def test_a_clip_of_noise_is_not_looked_at(engine: GptSovitsEngine) -> None:
    noise = np.random.default_rng(1).standard_normal(4 * 32000).astype(np.float32) * 0.1
    assert prepared(engine, "all", audio=wav(noise)).state["settings"]["official_quirks"] == "all"
    with pytest.raises(EngineError) as caught:
        prepared(engine, "none", audio=wav(noise))
    assert caught.value.code == "reference_unfit"


def test_it_cannot_change_its_voice_within_a_segment_and_can_be_stopped(
    engine: GptSovitsEngine, voice: Voice
) -> None:
    stream = engine.stream(voice, job(voice, 1))
    next(stream)
    with pytest.raises(EngineError) as caught:
        engine.restyle(stream, voice, job(voice, 1))
    assert caught.value.code == "restyle_lost"
    stream.close()
    assert next(stream, None) is None
