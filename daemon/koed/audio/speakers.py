"""The speakers of whoever sits here: the default sink of the sound server, if it is not koed's."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from koed.audio.device import PulseDevice
from koed.audio.sound_server import OWNER, SoundServer
from koed.audio.welcome import Clip
from koed.errors import DeviceError

BLOCKS_A_SECOND = 20
"""Nobody waits for the next word: large blocks bear a busy machine."""
POLL_S = 0.05
NOTHING = "auto_null"
"""What both servers call the sink that they make where there is none."""


def find() -> str:
    """Name of the sink. Raises `DeviceError`: ``no_speakers``, ``speakers_on_air`` where all that
    is played there goes into the stream, or why there is no server."""
    server = SoundServer()
    try:
        server.connect()
        name = server.call(lambda p: p.server_info()).default_sink_name
        sinks = {sink.name: sink for sink in server.call(lambda p: p.sink_list())}
    finally:
        server.close()
    sink = sinks.get(name)
    if sink is None or name == NOTHING:
        raise DeviceError("no_speakers", "there are no speakers here")
    if sink.proplist.get("koed.owner") == OWNER:
        raise DeviceError(
            "speakers_on_air",
            f"the default output of this desktop is koed's own sink {name}: it is on air",
            "choose your speakers in the sound settings",
        )
    return str(name)


def play(pcm: NDArray[np.float32], rate_hz: int, sink: str) -> None:
    """Play ``pcm`` [S] mono in -1..1 to its end. Raises `DeviceError`."""
    source = Clip(pcm, rate_hz)
    device = PulseDevice(rate_hz, rate_hz // BLOCKS_A_SECOND, sink)
    device.open(source)
    try:
        device.release()
        while not source.over:
            time.sleep(POLL_S)
            if error := device.trouble():
                raise error
        time.sleep(device.latency_s + 1 / BLOCKS_A_SECOND)
    finally:
        device.close()
