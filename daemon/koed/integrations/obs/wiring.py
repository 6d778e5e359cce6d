"""Builds what stands beside the voice for OBS."""

from __future__ import annotations

from collections.abc import Callable, Collection

from koed.config.daemon import Config
from koed.events import Bus
from koed.integrations.obs.captures import Captures
from koed.integrations.obs.companion import Ask, ObsCompanion, ObsPart, SetMode, SetVoice
from koed.integrations.obs.password import password
from koed.integrations.obs.prompter import Prompter
from koed.integrations.obs.session import Session


def companion(
    config: Config,
    bus: Bus,
    wake: Callable[[], None],
    ask: Ask,
    set_voice: SetVoice,
    set_mode: SetMode,
    recorders: Callable[[str], Collection[str]],
) -> ObsCompanion:
    """``wake`` makes the main loop turn; ``recorders`` of an output, by name; the others are
    carried out on the main thread."""
    obs = config.obs
    session = Session(obs.host, obs.port, lambda: password(config), wake, obs.at == "start")
    prompter = Prompter(obs, session)
    microphones = {name: output.microphone for name, output in config.outputs.items()}
    captures = Captures(microphones, recorders, session, bus.publish)
    bus.listen(prompter.hear)
    bus.listen(captures.hear)
    parts: dict[str, ObsPart] = {"captions": prompter, "captures": captures}
    outputs = tuple(config.outputs)
    return ObsCompanion(obs, outputs, session, bus, ask, set_voice, set_mode, parts)
