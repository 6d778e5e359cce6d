"""A daemon whose first voice is a natural one: it speaks before that voice can."""

from __future__ import annotations

import signal

from koe.protocol import WireError
from koed.testing.rig import Rig, rig
from tests.rigs import witness
from tests.rigs.daemon import tone
from tests.rigs.waiting import wait_for


def worker(running: Rig) -> int:
    """Process id; 0 while there is none."""
    try:
        return int(running.client.status()["engines"]["kokoro"]["pid"] or 0)
    except (WireError, KeyError):
        return 0


def test_another_voice_speaks_until_the_natural_one_can() -> None:
    mia = {"engine": "kokoro", "lang": "en", "settings": {"voice": "af_heart"}, "fallback": "low"}
    config = {"voice": "mia", "greeting": "Good evening."}
    with rig(config, {"mia": mia, "low": tone(400, char_ms=5)}) as running:
        pid = wait_for(lambda: worker(running), what="the worker")
        witness.kill(pid, signal.SIGSTOP)  # it could be warm in a moment
        running.wait_ready()
        watch = witness.watch(running)

        early = witness.say(running, "Hello there.")
        assert witness.outcome(watch, early) == "finished"
        (told,) = witness.told(watch, "engine.fallback")
        assert (told.utterance, told.voice, told.fallback) == (early, "mia", "low")
        assert told.reason == "it is being prepared"

        witness.kill(pid, signal.SIGCONT)
        greeting = wait_for(
            lambda: [e for e in witness.told(watch, "utterance.started") if e.utterance != early],
            120.0, "the greeting",
        )  # fmt: skip
        assert greeting[0].voice == "mia"
        assert witness.outcome(watch, greeting[0].utterance) == "finished"
        assert len(witness.told(watch, "engine.fallback")) == 1
        watch.close()
