"""The panic key's silence reaches the sound server, where the last milliseconds wait."""

from __future__ import annotations

import time
from pathlib import Path

from koed.testing.rig import rig
from tests.rigs.sound import SoundServer
from tests.rigs.waiting import wait_for

VOICE = {"engine": "tone", "lang": "en", "settings": {"hz": 400, "char_ms": 40}}
LONG = " ".join(["a line that goes on for quite a while unless it is ended"] * 12)
PATIENCE_S = 40.0


def test_mute_shuts_the_sink_for_a_moment(pulse: SoundServer, tmp_path: Path) -> None:
    config = {"voice": "tone", "audio": {"device": "pulse"}}
    environ = pulse.env | {"XDG_CACHE_HOME": str(tmp_path)}
    with rig(config, {"tone": VOICE}, environ=environ) as daemon:
        daemon.wait_ready()
        recorder = pulse.record("koed_mic")
        daemon.client.say(LONG)
        recorder.wait_for_sound(PATIENCE_S)

        def caught() -> bool:
            daemon.client.unmute()
            daemon.client.mute()
            return muted(pulse)

        # again and again: it is a moment only, and a look may come too late for it
        wait_for(caught, PATIENCE_S, "mute shuts the sink")
        wait_for(lambda: not muted(pulse), PATIENCE_S, "the sink is open again")
        daemon.client.stop()
        daemon.client.unmute()
        since = time.monotonic()
        assert daemon.client.say("heard again", wait=True).outcome == "finished"
        recorder.wait_for_sound(PATIENCE_S, since)


def muted(pulse: SoundServer) -> bool:
    return "yes" in pulse.pactl("get-sink-mute", "koed")
