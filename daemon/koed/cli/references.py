"""Who is named in koed.yaml beside the profiles themselves, for `koed check`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from koed.config import hotkeys
from koed.config.daemon import Config
from koed.config.phrases import PhraseConfig
from koed.errors import did_you_mean


def voices(config: Config) -> Iterator[tuple[str, str]]:
    """(where it stands, name) of every voice that a section asks for; keys are in `hotkeys`."""
    yield "voice", config.voice
    for scene, rule in config.obs.rules:
        if rule.voice is not None:
            yield f"obs: scene {scene!r}", rule.voice
    for name in config.obs.voices:
        yield "obs.voices", name
    of_viewers = config.chat.voices
    for name in of_viewers.among:
        yield "chat.voices.among", name
    for person, name in of_viewers.assigned.items():
        yield f"chat.voices.assigned: {person}", name
    for platform, name in of_viewers.platforms.items():
        yield f"chat.voices.platforms: {platform}", name
    for phrase, wanted in config.phrases.items():
        if isinstance(wanted, PhraseConfig):
            for name in wanted.voices or ():
                yield f"phrases.{phrase}", name


def missing(config: Config, there: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """(where, what is wrong, what to do) for whatever is asked for by a name that is not there.

    ``there``: the voices with a profile that can be read.
    """
    for where, name in voices(config):
        if name not in there:
            likely = did_you_mean(name, there)
            yield (
                where,
                f"{name} has no profile",
                likely or f"there are: {', '.join(sorted(there))}",
            )
    for what in hotkeys.missing(config.hotkeys, there, config.phrases, config.outputs):
        yield "hotkeys", what, "koe hotkeys --check shows all keys"
