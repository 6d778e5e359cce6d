"""Lines that need what is not in memory: they say so, others go on, and then they are spoken."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from koed.engine.base import Job, ProfileSpec, Stream, Voice
from koed.engine.gpt_sovits import parts, text_features
from koed.engine.gpt_sovits.engine import GptSovitsEngine
from koed.engine.gpt_sovits.line import LineStream
from koed.engine.gpt_sovits.model.bert import Bert
from koed.errors import EngineError
from koed.testing import tiny
from tests.engine.gpt_sovits.small import TRANSCRIPT, clip, wav

DEADLINE_S = 100.0
REFERENCE = {"audio": wav(clip()), "transcript": TRANSCRIPT, "lang": "en"}
CHINESE = "你好，今天天气很好。"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    tiny.make(made)
    return made


@pytest.fixture
def engine(folder: Path) -> Iterator[GptSovitsEngine]:
    made = GptSovitsEngine(folder, device="cpu", cores=1)
    yield made
    made.close()


def loaded(engine: GptSovitsEngine, lang: str = "en") -> Voice:
    settings = {"model": "gsv-v2final-pretrained", "guards": "none"}
    voice = engine.prepare(ProfileSpec("v", lang, settings, REFERENCE))
    engine.load(voice)
    return voice


def line(engine: GptSovitsEngine, voice: Voice, text: str, lang: str = "", **more: Any) -> Stream:
    return engine.stream(voice, Job(1, 1, voice.key, text, lang, seed=3, **more))


def speaks(stream: Stream) -> bool:
    """Whether sound comes; it is stopped then."""
    began = time.monotonic()
    while not len(next(stream).pcm):
        assert time.monotonic() - began < DEADLINE_S, "it loads for ever"
    stream.close()
    return True


class Gate:
    """Stands before a loader until it is opened."""

    def __init__(self, load: Callable[..., Any]) -> None:
        self._load = load
        self.opened = threading.Event()
        self.passed = 0

    def __call__(self, *args: Any, **more: Any) -> Any:
        assert self.opened.wait(DEADLINE_S)
        self.passed += 1
        return self._load(*args, **more)


def test_a_line_of_a_cold_language_waits_and_no_other_does(
    engine: GptSovitsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(Bert.load)
    monkeypatch.setattr(Bert, "load", gate)
    voice = loaded(engine)
    chinese = line(engine, voice, CHINESE, "zh")
    assert [next(chinese).loading for _ in range(3)] == [True] * 3
    assert speaks(line(engine, voice, "Hello there."))
    assert next(chinese).loading
    gate.opened.set()
    assert speaks(chinese)
    again = line(engine, voice, CHINESE, "zh")
    assert not next(again).loading, "it is warm now"
    assert gate.passed == 1


def test_what_a_voice_speaks_by_itself_is_there_when_it_is_loaded(
    engine: GptSovitsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = loaded(engine, "zh")
    monkeypatch.setattr(parts.Parts, "_learn", lambda *args: pytest.fail("too late"))
    assert not next(line(engine, voice, f"{CHINESE} OK!")).loading


def test_a_line_of_a_model_that_had_to_leave_waits_and_no_other_does(
    engine: GptSovitsEngine,
) -> None:
    voice = loaded(engine)
    before = line(engine, voice, "One that has begun.")
    assert not next(before).loading
    cache = engine.models.cache
    cache._values.clear()
    gate = cache._load = Gate(cache._load)
    after = line(engine, voice, "One that comes later.")
    assert next(after).loading
    assert speaks(before)
    gate.opened.set()
    assert speaks(after)


def test_a_model_that_cannot_be_loaded_fails_the_line_alone(engine: GptSovitsEngine) -> None:
    voice = loaded(engine)
    cache, load = engine.models.cache, engine.models.cache._load

    def fail(name: Any) -> Any:
        raise EngineError("model_damaged", "cut off")

    cache._values.clear()
    cache._load = fail
    with pytest.raises(EngineError, match="cut off"):
        speaks(line(engine, voice, "Hello there."))
    cache._load = load
    assert speaks(line(engine, voice, "Hello there."))


def test_a_language_whose_library_is_missing_fails_its_lines_and_is_tried_anew(
    engine: GptSovitsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = loaded(engine)

    def missing(text: str, lang: str, *args: Any, **more: Any) -> object:
        raise EngineError("library_missing", f"no library reads {lang}")

    with monkeypatch.context() as without:
        without.setattr(text_features, "phones", missing)
        with pytest.raises(EngineError, match="no library reads ko"):
            speaks(line(engine, voice, "안녕하세요", "ko"))
        with pytest.raises(EngineError, match="no library reads ja"):
            engine.load(dataclasses.replace(voice, lang="ja"))
    assert speaks(line(engine, voice, "안녕하세요, 반갑습니다", "ko"))


def test_a_line_that_still_loads_begins_anew_in_another_voice(
    engine: GptSovitsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(Bert.load)
    monkeypatch.setattr(Bert, "load", gate)
    voice = loaded(engine)
    loading = line(engine, voice, CHINESE, "zh")
    assert next(loading).loading
    other = engine.restyle(
        loading, voice, Job(2, 1, voice.key, CHINESE, "zh", seed=3, restyle_of=1)
    )
    assert isinstance(other, LineStream)
    gate.opened.set()
    assert speaks(other)
    with pytest.raises(StopIteration):
        next(loading)
