"""A daemon with the neural voice (a tiny model that babbles): what its device or its text model
does wrong in the middle of a line is mended or spoken by another, and told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from koed.testing import tiny
from koed.testing.rig import Rig, Watch, rig
from tests.rigs import witness
from tests.rigs.daemon import tone
from tests.rigs.witness import say
from tools.memory import SAID, V2, reference

PATCH = Path(__file__).parent / "patched"
LINE = "this one is long enough to be made in several pieces and nothing of it may be lost today"


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    tiny.make(home / "koed" / "models")
    (home / "profiles").mkdir()
    (home / "profiles" / "said.wav").write_bytes(reference(140.0))
    return home


@pytest.fixture(scope="module")
def neural(home: Path) -> Iterator[Rig]:
    spoken = {"audio": "said.wav", "transcript": SAID}
    babble = {
        "engine": "gpt_sovits", "lang": "en", "reference": spoken,
        "settings": {"model": V2, "guards": "none"}, "fallback": "low",
    }  # fmt: skip
    strict = babble | {"settings": {"model": V2, "guards": "strict", "retry_ms": 10000}}
    environ = {
        "XDG_DATA_HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(PATCH),
        "KOED_TEST_FAULT": str(home / "fault"),
    }  # fmt: skip
    config = {
        "voice": "babble", "queue": {"line_pause_s": 0.0},
        "text": {"first_segment_chars": 120},
        "engine": {"lookahead_s": 60.0, "stall_s": 60.0, "failover_wait_s": 180.0},
    }  # fmt: skip
    profiles = {
        "babble": babble,
        "strict": strict,
        "alone": dict(babble),
        "low": tone(400, char_ms=5),
    }
    del profiles["alone"]["fallback"]
    for name, profile in profiles.items():
        (home / "profiles" / f"{name}.yaml").write_text(yaml.safe_dump(profile))
    with rig(config, shipped=home / "profiles", environ=environ) as running:
        running.wait_ready(300.0)
        yield running


@pytest.fixture
def watch(neural: Rig) -> Iterator[Watch]:
    watching = witness.watch(neural)
    yield watching
    neural.client.stop()
    watching.close()


def struck(neural: Rig, watch: Watch, home: Path, *faults: str, voice: str) -> int:
    """The line that the faults came upon: babble is sometimes over before they can."""
    (home / "fault").write_text("\n".join(faults))
    for _ in range(20):
        said = say(neural, LINE, voice=voice)
        assert witness.outcome(watch, said, 180.0) == "finished", neural.log()
        if len((home / "fault").read_text().split()) < len(faults):
            (home / "fault").write_text("")
            return said
    raise AssertionError("no line was long enough")


def test_memory_that_runs_out_costs_nothing_of_the_line(
    neural: Rig, watch: Watch, home: Path
) -> None:
    pid = witness.worker(neural, "gpt_sovits")
    said = struck(neural, watch, home, "oom", voice="babble")
    retry: Any = watch.wait("engine.retry", said)
    assert (retry.engine, retry.voice, retry.code) == ("gpt_sovits", "babble", "oom")
    assert witness.words(watch, said) == LINE.split()
    assert not witness.told(watch, "engine.fallback", utterance=said)
    assert "models may take" in neural.log()  # the budget became smaller
    assert witness.worker(neural, "gpt_sovits") == pid


def test_a_bug_of_the_engine_is_mended_too(neural: Rig, watch: Watch, home: Path) -> None:
    said = struck(neural, watch, home, "bug", voice="alone")
    retry: Any = watch.wait("engine.retry", said)
    assert (retry.code, retry.message) == ("engine_bug", "KeyError: 'pitch'")
    assert witness.words(watch, said) == LINE.split()


@pytest.mark.parametrize("fault", ["lost", "error"])
def test_a_lost_device_ends_the_worker_and_another_goes_on(
    neural: Rig, watch: Watch, home: Path, fault: str
) -> None:
    pid = witness.worker(neural, "gpt_sovits")
    said = struck(neural, watch, home, fault, voice="alone")
    down: Any = watch.wait("engine.down")
    assert down.code == "worker_exited"
    assert "the GPU failed: CUDA error" in down.message
    assert witness.words(watch, said) == LINE.split()
    assert witness.worker(neural, "gpt_sovits") != pid


def retries(watch: Watch, said: int) -> list[str]:
    return [event.code for event in witness.told(watch, "engine.retry", utterance=said)]


def test_what_the_guards_refuse_is_made_again_before_it_is_heard(
    neural: Rig, watch: Watch, home: Path
) -> None:
    before = neural.client.status()["counts"].get("engine.retry", 0)
    (home / "fault").write_text("leak runaway")
    said = say(neural, LINE, voice="strict")
    assert witness.outcome(watch, said, 180.0) == "finished"
    codes = retries(watch, said)
    assert codes[:2] == ["speech_leak", "speech_runaway"]
    assert witness.words(watch, said) == LINE.split()
    assert neural.client.status()["counts"]["engine.retry"] == before + len(codes)


def test_what_stays_wrong_is_spoken_by_the_fallback(neural: Rig, watch: Watch, home: Path) -> None:
    before = neural.client.status()["counts"].get("engine.fallback", 0)
    (home / "fault").write_text("leak leak leak leak")
    said = say(neural, LINE, voice="strict")
    assert witness.outcome(watch, said, 180.0) == "finished"
    assert retries(watch, said) == ["speech_leak"] * 3
    fallback: Any = watch.wait("engine.fallback", said)
    assert (fallback.voice, fallback.fallback) == ("strict", "low")
    assert "went wrong 4 times: it repeats the words of the reference" in fallback.reason
    assert witness.words(watch, said) == LINE.split()
    assert neural.client.status()["counts"]["engine.fallback"] == before + 1


def test_a_sentence_that_the_voice_cannot_say_is_said_by_one_that_koed_brings(
    neural: Rig, watch: Watch
) -> None:
    """The profile names no fallback, and nobody else here speaks Russian."""
    said = say(neural, f"{LINE}. привет. {LINE}.", voice="alone")
    assert witness.outcome(watch, said, 180.0) == "finished"
    assert [word for word in witness.words(watch, said) if word.isascii()] == LINE.split() * 2
    fallback: Any = watch.wait("engine.fallback", said)
    assert (fallback.voice, fallback.fallback) == ("alone", "ken")
    alone = say(neural, "привет", voice="alone")
    assert witness.outcome(watch, alone, 180.0) == "finished"
