"""The panic key's silence reaches the sound server, where the last milliseconds wait."""

from __future__ import annotations

import threading
from pathlib import Path

from koed.bench.rig import rig
from tests.rigs import SoundServer, wait_for

VOICE = {"engine": "tone", "lang": "en", "settings": {"hz": 400, "char_ms": 40}}


def test_mute_shuts_the_sink_for_a_moment(pulse: SoundServer, tmp_path: Path) -> None:
    config = {"voice": "tone", "audio": {"device": "pulse"}}
    environ = pulse.env | {"XDG_CACHE_HOME": str(tmp_path)}
    seen = threading.Event()
    with rig(config, {"tone": VOICE}, environ=environ) as daemon:
        daemon.wait_ready()
        recorder = pulse.record("koed_mic")
        daemon.client.say("a line that goes on for quite a while unless it is ended")
        recorder.wait_for_sound()
        looking = threading.Thread(target=look, args=(pulse, seen))
        looking.start()
        daemon.client.mute()
        looking.join()
        assert seen.is_set()
        wait_for(lambda: not muted(pulse), what="the sink is open again")
        daemon.client.unmute()
        began = wait_for(lambda: daemon.client.say("heard again", wait=True).outcome)
        assert began == "finished"
        assert recorder.loud_s() > 0.5


def look(pulse: SoundServer, seen: threading.Event) -> None:
    """Ask on and on: it is a moment only."""
    for _ in range(200):
        if muted(pulse):
            seen.set()
            return


def muted(pulse: SoundServer) -> bool:
    return "yes" in pulse.pactl("get-sink-mute", "koed")
