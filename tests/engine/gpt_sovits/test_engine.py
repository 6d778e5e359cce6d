"""The engine on a tiny set of models: in this process, and in a worker as the stage has it."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from koed.engine import registry
from koed.engine.base import Chunk, Job, ProfileSpec, Voice, Word
from koed.engine.gpt_sovits.decoding.continuous_batch import ContinuousBatch
from koed.engine.gpt_sovits.decoding.cuda_graph import DeviceBatch
from koed.engine.gpt_sovits.decoding.decode import Prompt
from koed.engine.gpt_sovits.engine import GptSovitsEngine
from koed.engine.gpt_sovits.line import LineStream
from koed.engine.gpt_sovits.model.sampling import seeded
from koed.engine.gpt_sovits.model.t2s import T2S
from koed.engine.gpt_sovits.models import (
    FEWEST_ROWS,
    MOST_ROWS,
    ROW_POSITIONS,
    ROWS_SHARE,
    Models,
    Name,
    rows_together,
    translated,
)
from koed.engine.gpt_sovits.store.hub import HUBERT
from koed.engine.worker.main import EXIT_LOST
from koed.errors import EngineError
from koed.testing import tiny
from tests.engine import hosting
from tests.engine.gpt_sovits.small import TRANSCRIPT, clip, wav

TEXT = "This is a longer sentence that should take some time to be said in full."
REFERENCE = {"audio": wav(clip()), "transcript": TRANSCRIPT, "lang": "en"}
OTHER = {"audio": wav(clip(pitch_hz=230.0)), "transcript": TRANSCRIPT, "lang": "en"}
V2, PRO = "gsv-v2final-pretrained", "v2pro"


@pytest.fixture(scope="module")
def data_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("data")
    tiny.make(home / "koed" / "models")
    return home


@pytest.fixture(scope="module")
def engine(data_home: Path) -> Iterator[GptSovitsEngine]:
    made = GptSovitsEngine(data_home / "koed" / "models", device="cpu")
    made.warm_up()
    yield made
    made.close()


def spec(
    name: str = "v", reference: dict[str, object] = REFERENCE, **values: object
) -> ProfileSpec:
    # The tiny model babbles, so that the guards would be right to refuse it.
    settings = {"model": V2, "guards": "none", **values}
    return ProfileSpec(name, "en", settings, reference)


@pytest.fixture(scope="module")
def voice(engine: GptSovitsEngine) -> Voice:
    return engine.prepare(spec())


def job(voice: Voice, text: str = TEXT, seed: int = 2, **more: object) -> Job:
    return Job(1, 1, voice.key, text, "en", seed=seed, **more)  # type: ignore[arg-type]


def spoken(chunks: Iterator[Chunk]) -> tuple[np.ndarray, list[Chunk]]:
    kept = [chunk for chunk in chunks if len(chunk.pcm) or chunk.words]
    return np.concatenate([chunk.pcm for chunk in kept]), kept


# --- in this process -------------------------------------------------------------------------


def test_it_is_registered_and_says_what_it_can() -> None:
    engine = registry.create("gpt_sovits")
    assert engine.name == "gpt_sovits"
    assert engine.capabilities.restyle
    assert set(engine.capabilities.languages) == {"zh", "ja", "en", "ko", "yue"}


def test_text_becomes_several_chunks_with_words_the_same_for_a_seed(
    engine: GptSovitsEngine, voice: Voice
) -> None:
    sound, chunks = spoken(engine.stream(voice, job(voice)))
    assert len(chunks) >= 3
    assert {chunk.rate_hz for chunk in chunks} == {32000}
    assert len(chunks[0].pcm) <= 0.3 * 32000
    words = [word for chunk in chunks for word in chunk.words]
    assert [TEXT[w.start : w.end] for w in words] == TEXT.rstrip(".").split()
    assert np.array_equal(sound, spoken(engine.stream(voice, job(voice)))[0])
    other = spoken(engine.stream(voice, job(voice, seed=3)))[0]
    assert len(other) != len(sound) or not np.array_equal(other, sound)


def test_speed_changes_how_long_it_takes(engine: GptSovitsEngine, voice: Voice) -> None:
    usual, fast = (
        len(spoken(engine.stream(voice, job(voice, speed=speed)))[0]) for speed in (1.0, 1.6)
    )
    assert fast == pytest.approx(usual / 1.6, rel=0.1)


def test_a_job_may_have_settings_of_its_own(engine: GptSovitsEngine, voice: Voice) -> None:
    own = job(voice, "Hello.", settings={"top_k": 1, "noise_scale": 0.0, "model": "none"})
    calm = spoken(engine.stream(voice, own))[0]
    sure = engine.prepare(spec("sure", top_k=1))  # of all those only what is a line's
    assert np.array_equal(calm, spoken(engine.stream(sure, job(sure, "Hello.")))[0])
    usual = spoken(engine.stream(voice, job(voice, "Hello.")))[0]
    assert not np.array_equal(usual[: len(calm)], calm[: len(usual)])


@pytest.mark.parametrize(
    "values", [{"temperature": float("nan")}, {"temperature": 1e9}, {"top_k": 0.5}, {"top_k": "x"}]
)
def test_a_setting_of_a_job_that_may_not_be_costs_the_job(
    engine: GptSovitsEngine, voice: Voice, values: dict[str, object]
) -> None:
    with pytest.raises(EngineError, match="may not be"):
        spoken(engine.stream(voice, job(voice, settings=values)))


def test_several_voices_share_one_base_model(engine: GptSovitsEngine, voice: Voice) -> None:
    second = engine.prepare(spec("w", OTHER))
    engine.load(second)
    assert [name.model for name in engine.models.cache.resident] == [V2]
    assert second.state["tensors"] != voice.state["tensors"]


def test_restyle_goes_on_with_the_same_codes(engine: GptSovitsEngine, voice: Voice) -> None:
    other = engine.prepare(spec("w", OTHER))
    stream = engine.stream(voice, job(voice))
    assert isinstance(stream, LineStream)
    while not len(next(stream).pcm):
        pass
    rest = engine.restyle(stream, other, job(other, restyle_of=1, start_s=0.15))
    sound, _ = spoken(rest)
    whole = spoken(engine.stream(voice, job(voice)))[0]
    assert len(sound) == pytest.approx(len(whole) - 0.15 * 32000, abs=2000)


def test_a_voice_of_another_sound_model_cannot_go_on(engine: GptSovitsEngine, voice: Voice) -> None:
    stranger = engine.prepare(spec("s", model="s2g488k"))
    stream = engine.stream(voice, job(voice))
    next(stream)
    with pytest.raises(EngineError) as caught:
        engine.restyle(stream, stranger, job(stranger))
    assert caught.value.code == "restyle_lost"


def test_a_closed_stream_gives_its_cache_back(engine: GptSovitsEngine, voice: Voice) -> None:
    stream = engine.stream(voice, job(voice))
    assert isinstance(stream, LineStream)
    next(stream)
    assert stream.opened is not None
    idle = stream.opened.base._idle.copy()
    stream.close()
    assert len(stream.opened.base._idle) == len(idle) + 1


def test_guards_refuse_babble_and_count_it(engine: GptSovitsEngine) -> None:
    strict = engine.prepare(spec("strict", guards="strict"))
    codes, text = [], "One two three four five six seven eight nine ten eleven twelve thirteen."
    for seed in range(4):
        try:
            spoken(engine.stream(strict, job(strict, text, seed)))
        except EngineError as error:
            codes.append(error.code)
    assert codes
    assert set(codes) <= {"speech_early_end", "speech_runaway", "speech_stuck"}
    assert engine.refused.total() >= len(codes)


@pytest.mark.parametrize("text", ["", "…", "!!!", "😀"])
def test_text_without_words_is_refused(engine: GptSovitsEngine, voice: Voice, text: str) -> None:
    with pytest.raises(EngineError):
        spoken(engine.stream(voice, job(voice, text)))


def test_settings_and_models_that_are_not_there(engine: GptSovitsEngine) -> None:
    for values, code, words in (
        ({"tempreature": 1.0}, "bad_setting", "temperature"),
        ({"official_quirks": "all"}, "bad_setting", "it is one of 'none'; 'all' was removed"),
        ({"model": "gsv-v2final"}, "unknown_model", V2),
        ({"model": ""}, "unknown_model", PRO),
    ):
        for refuses in (engine.prepare, engine.check):
            with pytest.raises(EngineError) as caught:
                refuses(spec(**values))
            assert caught.value.code == code
            assert words in str(caught.value)


def test_a_profile_in_a_language_without_phones_is_told_by_a_look(engine: GptSovitsEngine) -> None:
    engine.check(spec())
    with pytest.raises(EngineError) as caught:
        engine.check(dataclasses.replace(spec(), lang="fr"))
    assert caught.value.code == "unknown_language"


def test_a_voice_that_lacked_a_file_is_made_when_it_has_come(
    data_home: Path, tmp_path: Path
) -> None:
    """Also if the base model was loaded before."""
    folder, away = tmp_path / "models", tmp_path / "away"
    shutil.copytree(data_home / "koed" / "models", folder)
    (folder / HUBERT).rename(away)
    engine = GptSovitsEngine(folder, device="cpu", cores=1)
    with pytest.raises(EngineError) as caught:
        engine.prepare(spec())
    assert caught.value.code == "model_missing"
    away.rename(folder / HUBERT)
    engine.load(engine.prepare(spec()))
    engine.close()


def test_a_voice_prepared_with_what_was_removed_does_not_speak_otherwise(
    engine: GptSovitsEngine, voice: Voice
) -> None:
    engine.load(voice)
    values = {**voice.state["settings"], "official_quirks": "all"}
    with pytest.raises(EngineError) as caught:
        engine.load(dataclasses.replace(voice, state={**voice.state, "settings": values}))
    assert caught.value.code == "bad_setting"


def test_an_empty_folder_says_how_to_fill_it(tmp_path: Path) -> None:
    engine = GptSovitsEngine(tmp_path, device="cpu")
    engine.warm_up()
    with pytest.raises(EngineError) as caught:
        engine.prepare(spec(model=""))
    assert (caught.value.code, "koed models pull" in caught.value.hint) == ("unknown_model", True)


def test_a_replaced_model_makes_its_voices_stale(data_home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    for part in (tiny.S1_V2, tiny.S2_V2, f"{tiny.HUBERT}/config.json"):
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        (folder / part).write_bytes((data_home / "koed" / "models" / part).read_bytes())
    hubert = f"{tiny.HUBERT}/pytorch_model.bin"
    (folder / hubert).write_bytes((data_home / "koed" / "models" / hubert).read_bytes())
    engine = GptSovitsEngine(folder, device="cpu")
    made = engine.prepare(spec(model=""))
    engine.load(made)
    data = bytearray((folder / tiny.S1_V2).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / tiny.S1_V2).write_bytes(data)
    with pytest.raises(EngineError) as caught:
        engine.load(made)
    assert caught.value.code == "stale_voice"
    engine.close()


def test_a_large_gpu_decodes_more_lines_together(engine: GptSovitsEngine) -> None:
    t2s = engine.models.get(Name(V2, "auto")).t2s
    one_row = t2s.new_state(1, ROW_POSITIONS).cache.nbytes
    for rows, expected in ((1, FEWEST_ROWS), (12, 12), (1000, MOST_ROWS)):
        assert rows_together(t2s, int(rows * one_row / ROWS_SHARE) + one_row) == expected


def test_streams_decoded_together_say_what_each_says_alone(
    engine: GptSovitsEngine, voice: Voice
) -> None:
    base = engine.models.get(Name(V2, "auto"))
    draw = torch.Generator().manual_seed(1)
    prompts = [
        Prompt(torch.randint(1, 300, (count,), generator=draw), torch.arange(20), most=30)
        for count in (9, 30, 17)
    ]
    noises = [seeded(seed, base.t2s.dims.codes, base.t2s.device) for seed in range(3)]
    alone = [list(base.codes(*pair)) for pair in zip(prompts, noises, strict=True)]
    batch = DeviceBatch(base.t2s, 2, 256, graphs=False)
    together = ContinuousBatch(batch, 2)
    first, second = together.say(prompts[0], noises[0]), together.say(prompts[1], noises[1])
    begun = [next(first), next(second), next(second)]
    assert not together.has_room(prompts[2])
    second.close()
    assert together.has_room(prompts[2])
    third = together.say(prompts[2], noises[2])
    mixed: tuple[list[int], list[int]] = ([], [])
    for a, b in itertools.zip_longest(first, third):
        mixed[0].extend([] if a is None else [a])
        mixed[1].extend([] if b is None else [b])
    assert begun[:1] + mixed[0] == alone[0]
    assert begun[1:] == alone[1][:2]
    assert mixed[1] == alone[2]
    assert not len(batch)


def test_caches_of_several_sizes_are_used_again(engine: GptSovitsEngine, voice: Voice) -> None:
    base = engine.models.get(Name(V2, "auto"))
    base._idle.clear()
    with base.state(300), base.state(100):
        pass
    sizes = [state.bias.shape[-1] for state in base._idle]
    assert sorted(sizes) == [256, 512]
    for positions, size in ((300, 512), (100, 256), (300, 512)):
        with base.state(positions) as state:
            assert state.bias.shape[-1] == size
    assert len(base._idle) == 2


# --- memory ----------------------------------------------------------------------------------


def test_out_of_memory_shrinks_the_budget_for_a_while_and_is_an_error_with_a_code(
    engine: GptSovitsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = engine.models.cache
    monkeypatch.setattr(cache, "_ceiling", float("inf"))  # as it was, in the end
    before = cache.budget_bytes
    for error in (torch.OutOfMemoryError("CUDA out of memory"), MemoryError("no more")):
        with pytest.raises(EngineError) as caught, translated(engine.models):
            raise error
        assert caught.value.code == "oom"
    assert cache.budget_bytes < before
    assert cache.resident, "the one that speaks stays"
    with pytest.raises(EngineError) as caught, translated(engine.models):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    assert caught.value.code == "device_lost"
    with pytest.raises(RuntimeError), translated(None):
        raise RuntimeError("a mistake of ours")


def test_a_model_that_finds_no_memory_is_tried_again_when_others_have_left(
    engine: GptSovitsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Models(engine.models.store)
    monkeypatch.setattr(models.cache, "_allowed", lambda used: 1 << 40)
    for name in (V2, "s2g488k"):
        models.get(Name(name, "auto"))
    build, trouble = T2S.__init__, [torch.OutOfMemoryError("CUDA out of memory")]

    def fails_once(self: T2S, *args: Any, **more: Any) -> None:
        if trouble:
            raise trouble.pop()
        build(self, *args, **more)

    monkeypatch.setattr(T2S, "__init__", fails_once)
    models.get(Name(PRO, "auto"))
    assert models.cache.resident[-1].model == PRO
    assert V2 not in [name.model for name in models.cache.resident], "the longest unused"
    models.cache.close()


def test_a_lost_device_ends_the_worker_with_a_reason() -> None:
    program = """
        from koed.engine.worker.main import _end_if_lost
        from koed.errors import EngineError
        _end_if_lost(ValueError("another"))
        _end_if_lost(EngineError("device_lost", "the GPU failed: CUDA error"))
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, check=False
    )
    assert ended.returncode == EXIT_LOST
    assert b"the GPU failed" in ended.stderr


def test_nothing_grows_from_utterance_to_utterance(engine: GptSovitsEngine, voice: Voice) -> None:
    def begin(seed: int) -> None:
        stream = engine.stream(voice, job(voice, "Hello again.", seed))
        while not len(next(stream).pcm):
            pass
        stream.close()

    for seed in range(2):
        begin(seed)
    base = engine.models.get(engine.models.cache.resident[-1])
    states = [id(state) for state in base._idle]
    for seed in range(2, 6):
        begin(seed)
    assert [id(state) for state in base._idle] == states
    assert isinstance(engine.models, Models)


# --- as the stage has it ---------------------------------------------------------------------


def told(words: list[Word], text: str) -> list[str]:
    return [text[word.start : word.end] for word in words]


@pytest.mark.slow
def test_a_worker_speaks_streams_restyles_stops_and_keeps_its_voices(
    tmp_path: Path, data_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(data_home))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    config = {"lookahead_s": 60.0, "stall_s": 30.0, "start_s": 240.0}
    one, two = spec("one"), spec("two", OTHER)
    keys = {s.name: s.key("gpt_sovits") for s in (one, two)}

    def say(serial: int, voice: str, **more: object) -> Job:
        return hosting.job(serial, keys[voice], TEXT, seed=2, **more)

    with hosting.theatre(tmp_path, "gpt_sovits", cache=True, **config) as stage:
        diary, host = stage.diary, stage.host
        for each in (one, two):
            host.prepare(each)
        stage.start()
        stage.until(lambda: len(diary.ready) == 2 or diary.broken or diary.downs, 240.0)
        assert diary.ready == {"one": False, "two": False}, diary
        host.speak(say(1, "one"))
        stage.until(lambda: 1 in diary.seconds, 120.0)
        assert len(diary.pcm[1]) >= 3
        assert told(diary.words[1], TEXT) == TEXT.rstrip(".").split()
        # On in another voice.
        host.speak(say(2, "two", restyle_of=1, start_s=0.5))
        stage.until(lambda: 2 in diary.seconds, 120.0)
        assert diary.heard_s(2) == pytest.approx(diary.heard_s(1) - 0.5, abs=0.1)
        # Stopped after the first chunk.
        host.grant(2, 59.9)
        host.speak(say(3, "one", lane=2))
        stage.until(lambda: 3 in diary.pcm, 120.0)
        host.keep([1, 2])
        heard = len(diary.pcm[3])
        host.grant(2, 0.0)
        host.speak(say(4, "two", lane=2))
        stage.until(lambda: 4 in diary.seconds, 120.0)
        assert len(diary.pcm[3]) == heard
        assert 3 not in diary.seconds
        before = diary.sound(1)
    # A fresh worker prepares nothing again, and speaks as the first one did.
    with hosting.theatre(tmp_path, "gpt_sovits", cache=True, **config) as stage:
        for each in (one, two):
            stage.host.prepare(each)
        stage.start()
        stage.until(lambda: len(stage.diary.ready) == 2, 240.0)
        assert stage.diary.ready == {"one": True, "two": True}
        stage.host.speak(say(1, "one"))
        stage.until(lambda: 1 in stage.diary.seconds, 120.0)
        assert np.array_equal(stage.diary.sound(1), before)
