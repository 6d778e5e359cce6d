"""`koed obs rules`: what each scene of the running OBS would do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from koe.protocol import ModeName
from koed.config.daemon import Config, resolve
from koed.config.profile_folder import ProfileFolder
from koed.errors import did_you_mean
from koed.integrations.obs import rules
from koed.integrations.obs.link import Link
from koed.integrations.obs.rules import Decision


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One scene; ``live`` and ``offline`` are what it asks for in either state of the stream."""

    on_air: bool
    live: Decision
    offline: Decision

    def to_map(self) -> dict[str, Any]:
        rule = self.live
        return {
            "scene": rule.scene,
            "on_air": self.on_air,
            "rule": rule.rule,
            "voice": rule.voice,
            "when": rule.when if rule.voice else None,
            "output": rule.output,
            "modes_live": dict(rule.modes),
            "modes_offline": dict(self.offline.modes),
        }


def show(config: Config, link: Link, as_json: bool) -> int:
    """Print the scenes from top to bottom as OBS shows them; 1 if a rule names no usable voice."""
    answer = link.call("GetSceneList")
    scenes = [str(scene["sceneName"]) for scene in reversed(answer["scenes"])]
    on_air = answer.get("currentProgramSceneName")
    rows = [_row(config, scene, scene == on_air) for scene in scenes]
    idle = _idle_rules(config, rows, scenes)
    broken = _broken_voices(config)
    if as_json:
        listed = [row.to_map() for row in rows]
        print(json.dumps({"scenes": listed, "idle": idle, "broken": broken}, ensure_ascii=False))
        return int(bool(broken))
    for line in _table([_cells(row) for row in rows]):
        print(line)
    for rule, hint in idle.items():
        print(f"rule {rule!r} fits no scene of this OBS{'; ' if hint else ''}{hint}")
    for rule, why in broken.items():
        print(f"rule {rule!r}: {why}")
    return int(bool(broken))


def _row(config: Config, scene: str, on_air: bool) -> PreviewRow:
    live, offline = (
        rules.decide(scene, state, config.obs, config.outputs) for state in (True, False)
    )
    return PreviewRow(on_air, live, offline)


def _idle_rules(config: Config, rows: list[PreviewRow], scenes: list[str]) -> dict[str, str]:
    """Rules that no scene comes to, each with what may have been meant."""
    used = {row.live.rule for row in rows}
    return {rule: did_you_mean(rule, scenes) for rule in config.obs.scenes if rule not in used}


def _broken_voices(config: Config) -> dict[str, str]:
    folder = resolve(config, "profiles")
    scan = ProfileFolder(folder, outputs=tuple(config.outputs)).scan()
    return {
        name: f"voice {rule.voice} is broken: {scan.broken[rule.voice].message}"
        if rule.voice in scan.broken
        else f"there is no voice {rule.voice!r} in {folder}"
        for name, rule in config.obs.rules
        if rule.voice is not None and rule.voice not in scan.profiles
    }


def _cells(row: PreviewRow) -> list[str]:
    decision = row.live
    voice = decision.voice or "-"
    if decision.voice and decision.when != "next":
        voice += f" ({decision.when})"
    if decision.output:
        voice += f" on {decision.output}"
    return [
        "*" if row.on_air else "",
        decision.scene,
        decision.rule or "-",
        voice,
        _modes(decision.modes),
        _modes(row.offline.modes),
    ]


def _modes(modes: Mapping[str, ModeName | None]) -> str:
    if len(set(modes.values())) == 1:
        return next(iter(modes.values())) or "-"
    return ", ".join(f"{output}: {mode or '-'}" for output, mode in modes.items())


def _table(rows: list[list[str]]) -> list[str]:
    rows = [["", "scene", "rule", "voice", "mode live", "mode offline"], *rows]
    rows = [["".join(c if c.isprintable() else "?" for c in cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
