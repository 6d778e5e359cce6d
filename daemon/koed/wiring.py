"""One assembly of the voice, for the air and for files: what `koed run` and `koed render` share."""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from koed.config import shipped
from koed.config.daemon import Config, cache_dir, resolve
from koed.config.profile import Profile, load_profile
from koed.config.profile_folder import ProfileFolder
from koed.engine import registry
from koed.engine.host.pool import EngineHosts
from koed.engine.host.supervisor import EngineHost
from koed.engine.jobs import Jobs
from koed.events import Bus
from koed.phrases.book import PhraseBook
from koed.phrases.disk_cache import DiskCache
from koed.phrases.renderer import PhraseRenderer
from koed.playback.dispatch import Dispatch, Outlet
from koed.playback.lineup import serials
from koed.playback.player import Player
from koed.playback.recorder import Recorder
from koed.voices.catalog import Preparer, VoiceBook

LANES = 2
"""Of an output: one where lines follow each other, one above it."""


SPARES, SPARE_ENGINE = ("ken", "robo"), "embedded"
"""Voices that koed brings, the first whose name is free, and what speaks them."""


@dataclass(frozen=True, slots=True)
class Assembly:
    engines: EngineHosts
    book: VoiceBook
    phrases: PhraseBook
    player: Player
    dispatch: Dispatch


def spare_voice(there: Mapping[str, Profile]) -> Profile | None:
    """One that koed brings, where all profiles are of models of a few languages: somebody is to say
    what they have no words for. None if that is not needed, or espeak-ng is not there, which knows
    the languages."""
    engines = {profile.engine for profile in there.values()}
    if SPARE_ENGINE in engines or not any(map(registry.is_neural, engines)):
        return None
    if shutil.which("espeak-ng") is None:
        return None
    free = (name for name in SPARES if name not in there)
    return next(map(_shipped, free), None)


@functools.cache
def _shipped(name: str) -> Profile:
    return load_profile(shipped.folder() / f"{name}.yaml")


def assemble(
    config: Config,
    context: zmq.Context[Any],
    runtime_dir: Path,
    outlets: Mapping[str, Outlet],
    bus: Bus,
    wake: Callable[[], None] = lambda: None,
    recorder: Recorder | None = None,
) -> Assembly:
    """``outlets``: where each output's sound goes. ``wake`` makes the main loop turn. ``recorder``
    notes what the player is told."""
    clock = time.monotonic
    hosts: dict[str, EngineHost] = {}
    jobs = Jobs(hosts)
    lanes = {name: 1 + LANES * number for number, name in enumerate(outlets)}
    lane_of_phrases = 1 + LANES * len(outlets)

    def host_of(profile: Profile) -> tuple[str, Preparer]:
        return engines.host_of(profile)

    folder = ProfileFolder(
        resolve(config, "profiles"), outputs=tuple(config.outputs), spare=spare_voice
    )
    book = VoiceBook(folder, host_of, bus)
    engines = EngineHosts(
        context, runtime_dir, cache_dir() / "voices", config.engine, hosts, jobs, book, bus, clock,
        config.engines,
    )  # fmt: skip
    phrases = PhraseBook(
        config,
        book,
        hosts,
        bus,
        DiskCache(cache_dir() / "phrases", int(config.phrase_cache.disk_mb * 1e6), wake),
        lambda done: PhraseRenderer(
            jobs, lane_of_phrases, serials("phrase"), config.engine.lookahead_s, done
        ),
        busy=lambda: any(True for _ in player.lineup.on_stage()),
        current=lambda: player.lineup.voice,
    )
    if recorder is None:
        player = Player(config, lanes, phrases.take)
        dispatch = Dispatch(player, outlets, jobs, book, bus, clock)
    else:
        player = Player(config, lanes, recorder.watch(phrases.take))
        dispatch = Dispatch(player, outlets, jobs, book, bus, clock, recorder.note)
    return Assembly(engines, book, phrases, player, dispatch)
