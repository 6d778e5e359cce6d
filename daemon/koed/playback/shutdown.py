"""The end of a stream: a line that is nearly over is heard out, any other fades."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from koed.audio.output import Output
from koed.playback.dispatch import Dispatch
from koed.playback.inputs import Empty, Silence

LAST_WORDS_S = 0.7
"""A line of which no more is left to be heard is spoken to its end."""
HUNG_S = 3.0
"""So long a device may take for it, by the clock on the wall."""
AFTER_FADE_S = 0.03
"""So much is still rendered after the last fade."""

Turn = Callable[[float], None]
"""Of the main loop; waits so many seconds at most."""


def bow_out(dispatch: Dispatch, outputs: Mapping[str, Output], fade_s: float, turn: Turn) -> None:
    deadline = time.monotonic() + HUNG_S
    began = {name: output.mixer.clock_frames for name, output in outputs.items()}
    player = dispatch.player
    while True:
        # again and again: a line may come while the last one ends
        dispatch.ask(Empty(None, None, "shutdown"))
        # of sound, not of time: a busy machine plays late, and that is no reason to cut a line
        left_s = LAST_WORDS_S - _played_s(began, outputs)
        speaking = player.lineup.queue.speaking()
        if not speaking or left_s < 0 or not player.ends_within(left_s):
            break
        if time.monotonic() > deadline:
            break
        turn(0.02)
    for name in outputs:
        dispatch.ask(Silence(name, "shutdown"))
    _fade(fade_s + AFTER_FADE_S, outputs, turn)
    dispatch.ask(Empty(None, None, "shutdown"))


def _played_s(began: Mapping[str, int], outputs: Mapping[str, Output]) -> float:
    """Seconds of sound that the quickest device has taken since."""
    return max(
        (
            (output.mixer.clock_frames - began[name]) / output.mixer.rate_hz
            for name, output in outputs.items()
        ),
        default=0.0,
    )


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
