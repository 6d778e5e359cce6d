"""What a scene and the state of the stream ask of koed. Pure."""

from __future__ import annotations

import fnmatch
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from koe.protocol import ModeName, When
from koed.config.obs import OTHERWISE, ObsConfig, SceneRule

STRICTNESS: tuple[ModeName, ...] = typing.get_args(ModeName)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is asked for while ``scene`` is on air."""

    scene: str
    live: bool
    rule: str
    """The scene's name or the pattern that fits, ``otherwise``, or empty: no rule."""
    voice: str | None
    when: When
    output: str | None
    mode: ModeName | None
    """Of the scene, before the state of the stream has its say."""
    modes: Mapping[str, ModeName | None]
    """By output, the stricter of both; None = nobody asks for one."""


def rule_for(scene: str, config: ObsConfig) -> tuple[str, SceneRule]:
    """The exact name first, then the first pattern that fits, then ``otherwise``."""
    if scene in config.scenes:
        return scene, config.scenes[scene]
    for pattern, rule in config.scenes.items():
        if fnmatch.fnmatchcase(scene, pattern):
            return pattern, rule
    if config.otherwise is not None:
        return OTHERWISE, config.otherwise
    return "", SceneRule()


def stricter(modes: Iterable[ModeName | None]) -> ModeName | None:
    """The strictest that is asked for; None if nobody asks."""
    asked = [mode for mode in modes if mode is not None]
    return max(asked, key=STRICTNESS.index, default=None)


def decide(scene: str, live: bool, config: ObsConfig, outputs: Iterable[str]) -> Decision:
    name, rule = rule_for(scene, config)
    of_stream = config.live if live else config.offline
    modes = {
        output: stricter((of_stream, rule.mode if rule.output in (None, output) else None))
        for output in outputs
    }
    return Decision(scene, live, name, rule.voice, rule.when, rule.output, rule.mode, modes)


def mode_changes(before: Decision | None, after: Decision) -> dict[str, ModeName]:
    """The modes to set, by output. Where nobody asks any more, all may speak again; where the same
    is asked for as before, a mode that the user chose meanwhile is left alone, but for that of a
    scene which comes on air and itself decides: it holds whatever was chosen in another scene."""
    comes = before is None or before.scene != after.scene
    asked = before.modes if before else {}
    return {
        output: mode or "speak"
        for output, mode in after.modes.items()
        if mode != asked.get(output) or (comes and mode is not None and mode == _own(after, output))
    }


def _own(decision: Decision, output: str) -> ModeName | None:
    """What the scene's own rule asks for."""
    return decision.mode if decision.output in (None, output) else None
