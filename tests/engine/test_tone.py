"""The tone voice: exact by construction, so each property is tested to the sample."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from koed.engine.base import Chunk, Job, ProfileSpec, Voice
from koed.engine.registry import create
from koed.engine.settings import Choice, fingerprint, read
from koed.engine.tone import RATE_HZ, ToneEngine
from koed.errors import EngineError

TEXT = "hello there, world"


def voice(name: str = "a", **settings: Any) -> Voice:
    return ToneEngine().prepare(ProfileSpec(name, "en", settings))


def job(text: str = TEXT, **fields: Any) -> Job:
    return Job(serial=1, lane=1, voice="", text=text, lang="en", **fields)


def spoken(voice: Voice, job: Job) -> list[Chunk]:
    return list(ToneEngine().stream(voice, job))


def joined(chunks: list[Chunk]) -> np.ndarray:
    return np.concatenate([chunk.pcm for chunk in chunks])


def hz_of(pcm: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * RATE_HZ / len(pcm))


@pytest.mark.parametrize("chunk_ms", [1, 7, 20, 33.3, 1000])
def test_chunked_equals_whole(chunk_ms: float) -> None:
    whole = joined(spoken(voice(hz=440, chunk_ms=1000, char_ms=50), job()))
    assert np.array_equal(
        joined(spoken(voice(hz=440, chunk_ms=chunk_ms, char_ms=50), job())), whole
    )


def test_a_character_lasts_whole_cycles_and_speed_shortens_it() -> None:
    one, two = (joined(spoken(voice(hz=400), job("x" * n))) for n in (1, 2))
    assert len(two) == 2 * len(one) == 2 * 0.06 * RATE_HZ
    assert len(joined(spoken(voice(hz=400), job("x", speed=2.0)))) == len(one) / 2


@pytest.mark.parametrize("wave", ["sine", "triangle", "square"])
def test_no_click_at_a_joint_and_no_silence_inside(wave: str) -> None:
    pcm = joined(spoken(voice(hz=437, wave=wave, amplitude=0.5), job()))
    again = np.concatenate([pcm, pcm])
    step = np.abs(np.diff(pcm)).max()
    assert abs(again[len(pcm)] - again[len(pcm) - 1]) <= step
    assert np.all(again != 0.0)
    assert np.abs(pcm).max() == pytest.approx(0.5, rel=0.02)


def test_voices_are_told_by_frequency() -> None:
    assert hz_of(joined(spoken(voice(hz=300), job()))) == pytest.approx(300, abs=3)
    assert hz_of(joined(spoken(voice(hz=1000), job()))) == pytest.approx(1000, abs=3)
    assert voice("hana").state["hz"] != voice("rin").state["hz"]


def test_words_are_exact_and_in_the_chunk_where_they_begin() -> None:
    at = 0
    found = []
    for chunk in spoken(voice(hz=400, char_ms=60), job("  ab cd\nab")):
        found += [(w.start, w.end, w.at_s) for w in chunk.words]
        assert all(at <= round(w.at_s * RATE_HZ) < at + len(chunk.pcm) for w in chunk.words)
        at += len(chunk.pcm)
    assert found == [(2, 4, 0.12), (5, 7, 0.3), (8, 10, 0.48)]


def test_mouths_are_spelled_and_a_restyled_stream_tells_the_one_it_sets_in_with() -> None:
    engine, said = ToneEngine(), job("map no")
    chunks = spoken(voice(hz=400, char_ms=50), said)
    assert [(m.shape, round(m.at_s, 3)) for c in chunks for m in c.mouths] == [
        ("closed", 0.0), ("a", 0.05), ("closed", 0.1), ("rest", 0.15), ("o", 0.25),
    ]  # fmt: skip
    one = voice(hz=400, char_ms=50)
    rest = engine.restyle(engine.stream(one, said), one, job("map no", restyle_of=1, start_s=0.07))
    assert [(m.shape, round(m.at_s, 3)) for c in rest for m in c.mouths] == [
        ("a", 0.07), ("closed", 0.1), ("rest", 0.15), ("o", 0.25),
    ]  # fmt: skip
    assert not [m for c in spoken(voice(hz=400, mouths="none"), said) for m in c.mouths]


def test_restyle_goes_on_at_the_very_sample_in_the_other_voice() -> None:
    engine = ToneEngine()
    low, high = voice(hz=400), voice(hz=1000)
    stream = engine.stream(low, job())
    next(stream)
    start_s = 0.5
    rest = list(engine.restyle(stream, high, job(restyle_of=1, start_s=start_s)))
    whole = joined(spoken(high, job()))
    assert np.array_equal(joined(rest), whole[round(start_s * RATE_HZ) :])
    words = [TEXT[w.start : w.end] for chunk in rest for w in chunk.words]
    assert words == ["world"]
    assert next(stream, None) is None


def test_failure_comes_at_the_chunk_that_was_asked_for() -> None:
    stream = ToneEngine().stream(voice(fail_on="there", trouble_at_chunk=3), job())
    for _ in range(3):
        next(stream)
    with pytest.raises(EngineError, match="there") as error:
        next(stream)
    assert error.value.code == "tone_failed"
    assert spoken(voice(fail_on="absent"), job())


def test_hanging_blocks_and_delay_waits() -> None:
    stream = ToneEngine().stream(voice(hang_on="hello"), job())
    thread = threading.Thread(target=next, args=(stream,), daemon=True)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()


@pytest.mark.parametrize(("how", "code"), [("abort", -6), ("exit", 70)])
def test_crashing_ends_the_process(how: str, code: int) -> None:
    program = (
        "from koed.engine.base import Job, ProfileSpec\n"
        "from koed.engine.tone import ToneEngine\n"
        f"spec = ProfileSpec('a', 'en', {{'crash_on': 'boom', 'crash_how': {how!r}}})\n"
        "voice = ToneEngine().prepare(spec)\n"
        "list(ToneEngine().stream(voice, Job(1, 1, '', 'boom', 'en')))\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == code


def test_memory_is_held_until_close() -> None:
    engine = ToneEngine()
    list(engine.stream(voice(allocate_mb_per_chunk=1, hz=400), job("ab")))
    assert sum(block.nbytes for block in engine._hoard) == 6 * 2**20
    engine.close()
    assert not engine._hoard


def test_bad_settings_are_all_named_at_once() -> None:
    with pytest.raises(EngineError) as error:
        voice(amplitud=1.0, chunk_ms=-5, wave="sin", fail_on=3)
    assert error.value.code == "bad_setting"
    for part in ("did you mean 'amplitude'", "from 1 to 1000", "did you mean 'sine'", "fail_on"):
        assert part in error.value.message
    with pytest.raises(EngineError):
        voice(hz=5)


def test_a_value_that_is_removed_makes_no_prepared_voice_anew() -> None:
    before = {"way": Choice("new", ("new", "old"))}
    now = {"way": Choice("new", ("new", "old"), removed=("old",))}
    assert fingerprint(now) == fingerprint(before) != fingerprint({"way": Choice("new", ("new",))})
    with pytest.raises(EngineError) as error:
        read(now, {"way": "old"}, "tone")
    assert "it is one of 'new'; 'old' was removed" in error.value.message


def test_an_empty_text_has_no_chunk() -> None:
    assert spoken(voice(), job("")) == []


def test_an_unknown_engine_is_named() -> None:
    assert create("tone").name == "tone"
    with pytest.raises(EngineError) as error:
        create("embeded")
    assert error.value.code == "unknown_engine"
    assert "'embedded'" in error.value.hint
