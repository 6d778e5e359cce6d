"""A daemon with the natural voice: without its model, and with a worker that is killed or stopped
in the middle of a line."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koed.engine.kokoro import weights
from koed.testing.rig import Rig, Watch, rig
from tests.rigs import witness
from tests.rigs.waiting import wait_for

HUMAN = {"engine": "embedded", "lang": "en", "settings": {"voice": "slt"}}
ALONE = {"engine": "kokoro", "lang": "en", "settings": {"voice": "af_heart"}}
MIA = ALONE | {"fallback": "human"}
SHORT = "hello everybody"
LINE = (
    "every one of these words will be heard exactly once although somebody pulls the plug while "
    "the natural voice is speaking and nobody in the chat is going to notice what happened to it"
)

# --- the model -----------------------------------------------------------------------------------

WITHOUT_PACKAGES = """
import sys
if "kokoro" in sys.orig_argv:
    from koed.engine.kokoro import weights
    weights.PACKAGES = ()
"""
WITHOUT_LIBRARY = """
import sys
if "kokoro" in sys.orig_argv:
    sys.modules["onnxruntime"] = None
"""


@pytest.mark.parametrize(
    ("startup", "size", "told", "cure"),
    [
        (WITHOUT_PACKAGES, None, "is not installed", "koed models pull kokoro"),
        (WITHOUT_PACKAGES, 1000, "has 1000 bytes instead of", "koed models pull kokoro"),
        (WITHOUT_PACKAGES, weights.BYTES, "has another SHA-256", "koed models pull kokoro"),
        (WITHOUT_LIBRARY, None, "cannot run onnxruntime", "make run"),
    ],
    ids=["absent", "cut", "swapped", "no-onnxruntime"],
)
def test_without_its_model_the_fallback_speaks_and_the_cure_is_told(
    tmp_path: Path, startup: str, size: int | None, told: str, cure: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(startup)
    if size is not None:
        model = tmp_path / "koed" / "models" / weights.FILE
        model.parent.mkdir(parents=True)
        with model.open("wb") as file:
            file.truncate(size)
    environ = {
        "PYTHONPATH": str(tmp_path), "XDG_DATA_HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }  # fmt: skip
    with rig({"voice": "mia"}, {"mia": MIA, "human": HUMAN}, environ=environ) as running:
        running.wait_ready()
        mia = wait_for(lambda: broken(running, "mia"), what="the reason is told")
        assert told in mia.error
        assert cure in mia.error
        watch = witness.watch(running)
        said = witness.say(running, SHORT)
        assert witness.outcome(watch, said) == "finished"
        fallback: Any = watch.wait("engine.fallback", said)
        assert (fallback.voice, fallback.fallback) == ("mia", "human")
        assert witness.words(watch, said) == SHORT.split()
        assert running.client.status()["engines"]["kokoro"]["restarts"] == 0
        watch.close()


def broken(running: Rig, name: str) -> Any:
    return next((v for v in running.client.voices() if v.name == name and v.error), None)


# --- the worker ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def natural(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    config = {
        "voice": "mia",
        "engine": {"lookahead_s": 0.3, "stall_s": 10.0, "failover_wait_s": 120.0},
    }
    profiles = {"mia": MIA, "alone": ALONE, "human": HUMAN}
    environ = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    with rig(config, profiles, environ=environ) as running:
        running.wait_ready()
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("voice", ["mia", "alone"])
def test_lost_in_mid_sentence_the_line_goes_on_from_the_word(
    natural: Rig, voice: str, how: signal.Signals
) -> None:
    pid = witness.worker(natural, "kokoro")
    wait_for(lambda: ready(natural, voice), 120.0, "the voice is warm")
    watch = witness.watch(natural)
    said = witness.say(natural, LINE, voice=voice)
    wait_for(lambda: heard(watch, said, "words"), 60.0, "the word begins")
    witness.kill(pid, how)
    down: Any = watch.wait("engine.down")
    assert down.code == {signal.SIGKILL: "worker_killed", signal.SIGSTOP: "worker_stalled"}[how]
    assert witness.outcome(watch, said, 180.0) == "finished"
    assert witness.words(watch, said) == LINE.split()
    begun = [event.start for event in witness.told(watch, "utterance.progress", utterance=said)]
    assert len(begun) - len(set(begun)) <= 1  # the torn word is said again
    others = {event.fallback for event in witness.told(watch, "engine.fallback", utterance=said)}
    assert others == ({"human"} if voice == "mia" else set())
    watch.close()


def ready(natural: Rig, voice: str) -> bool:
    return any(v.name == voice and v.ready for v in natural.client.voices())


def heard(watch: Watch, said: int, word: str) -> bool:
    return bool(witness.told(watch, "utterance.progress", utterance=said, text=word))
