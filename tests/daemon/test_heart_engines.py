"""What a line does to its engine costs no other line a word, and a voice that cannot be had costs
the line that changes to it none."""

from __future__ import annotations

from typing import Any

import pytest

from koed.testing.rig import rig
from tests.daemon.heart import words_heard
from tests.rigs import witness
from tests.rigs.daemon import tone
from tests.rigs.witness import outcome, say

pytestmark = pytest.mark.slow

LINE = "this line is long enough to sound for a while as an engine ends beside it"
OWN = "this is a line that lasts until its voice was changed and that will be heard to its end"
OUTPUTS = {"main": {}, "side": {"sink": "koed_side", "microphone": "koed_side_mic"}}
CONFIG: dict[str, Any] = {
    "voice": "low",
    "outputs": OUTPUTS,
    "engine": {"lookahead_s": 0.3, "stall_s": 1.0, "failover_wait_s": 60.0},
}
PROFILES: dict[str, dict[str, Any]] = {
    "low": tone(400),
    "dies": tone(1000, crash_on="boom", crash_how="exit", trouble_at_chunk=5),
    "hangs": tone(1000, hang_on="a"),
    "human": {"engine": "embedded", "lang": "en", "settings": {"voice": "slt"}},
}


@pytest.mark.parametrize("voice", ["dies", "hangs"])
def test_a_line_that_ends_a_shared_engine_costs_only_itself(voice: str) -> None:
    with rig(CONFIG, PROFILES) as daemon:
        daemon.wait_ready()
        watch = witness.watch(daemon)
        first = say(daemon, LINE, output="side")
        watch.wait("utterance.progress", first)
        bad = say(daemon, "and a boom", voice=voice, output="main")
        after = say(daemon, "the next one", output="main")
        assert outcome(watch, bad) == "failed"
        assert [outcome(watch, line) for line in (first, after)] == ["finished", "finished"]
        assert words_heard(watch, first) == LINE.split()
        watch.close()


def test_a_line_goes_on_in_its_old_voice_if_the_new_one_hangs() -> None:
    with rig(CONFIG, PROFILES) as daemon:
        daemon.wait_ready()
        watch = witness.watch(daemon)
        said = say(daemon, OWN, voice="human")
        watch.wait("utterance.progress", said)
        daemon.client.set_voice("hangs", "now")
        event: Any = watch.wait("engine.fallback", said)
        assert (event.voice, event.fallback) == ("hangs", "human")
        assert outcome(watch, said) == "finished"
        assert words_heard(watch, said)[-1] == "end"
        watch.close()
