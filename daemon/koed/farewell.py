"""The end of a stream: a line that is nearly over is heard out, any other fades."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from koed.audio.output import Output
from koed.stage import Stage

LAST_WORDS_S = 0.7
"""A line that ends within this time is spoken to its end."""
AFTER_FADE_S = 0.03
"""So much is still rendered after the last fade."""

Turn = Callable[[float], None]
"""Of the main loop; waits so many seconds at most."""


def bow_out(stage: Stage, outputs: Mapping[str, Output], turn: Turn) -> None:
    deadline = time.monotonic() + LAST_WORDS_S
    while True:
        # again and again: a line may come while the last one ends
        stage.drop_all(stage.speaker.clear(reason="shutdown"))
        left_s = deadline - time.monotonic()
        if not stage.speaker.speaking() or left_s < 0 or not _ends_within(stage, left_s):
            break
        turn(0.02)
    for name in outputs:
        stage.silence_output(name, "shutdown")
    _fade(stage.config.audio.fade_ms / 1000 + AFTER_FADE_S, outputs, turn)
    stage.drop_all(stage.speaker.clear(reason="shutdown"))


def _ends_within(stage: Stage, seconds: float) -> bool:
    return all(
        not p.begun or (p.generated and p.left_s(*channel.mixer.position(p.lane)) <= seconds)
        for channel in stage.channels.values()
        for p in channel.performances()
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
