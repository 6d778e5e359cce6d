"""The end of a stream: a line that is nearly over is heard out, any other fades."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from koed.audio.output import Output
from koed.playback.dispatch import Dispatch
from koed.playback.inputs import Empty, Silence

LAST_WORDS_S = 0.7
"""A line that ends within this time is spoken to its end."""
AFTER_FADE_S = 0.03
"""So much is still rendered after the last fade."""

Turn = Callable[[float], None]
"""Of the main loop; waits so many seconds at most."""


def bow_out(dispatch: Dispatch, outputs: Mapping[str, Output], fade_s: float, turn: Turn) -> None:
    deadline = time.monotonic() + LAST_WORDS_S
    player = dispatch.player
    while True:
        # again and again: a line may come while the last one ends
        dispatch.ask(Empty(None, None, "shutdown"))
        left_s = deadline - time.monotonic()
        speaking = player.lineup.queue.speaking()
        if not speaking or left_s < 0 or not player.ends_within(left_s):
            break
        turn(0.02)
    for name in outputs:
        dispatch.ask(Silence(name, "shutdown"))
    _fade(fade_s + AFTER_FADE_S, outputs, turn)
    dispatch.ask(Empty(None, None, "shutdown"))


def _fade(fade_s: float, outputs: Mapping[str, Output], turn: Turn) -> None:
    """Until the devices have taken the fades; one that hangs is not waited for."""
    until = {
        name: output.mixer.clock_frames + round(fade_s * output.mixer.rate_hz)
        for name, output in outputs.items()
        if output.playing
    }
    deadline = time.monotonic() + 2 * fade_s
    while time.monotonic() < deadline and any(
        outputs[name].mixer.clock_frames < frames for name, frames in until.items()
    ):
        turn(0.01)
