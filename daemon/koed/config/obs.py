"""The ``obs:`` section of koed.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from koe.protocol import ModeName, When
from koed.config.obs_looks import CaptionConfig, LookConfig, SetupConfig
from koed.config.phrases import VoiceName
from koed.config.schema import Match, Range

Name = Annotated[str, Match(r"[a-z0-9_-]{1,32}", "1 to 32 of a-z, 0-9, _ and -")]
Host = Annotated[str, Match(r"[A-Za-z0-9_.:%-]{1,255}", "a host name or an address")]
Port = Annotated[int, Range(1, 65535)]
PathText = Annotated[str, Match(r"[^\x00-\x1f\x7f]+", "a path without control characters")]
SceneName = Annotated[
    str, Match(r"[^\x00-\x1f\x7f]{1,200}", "a scene's name, or a pattern such as 'Game *'")
]
OTHERWISE = "otherwise"


@dataclass(frozen=True, slots=True)
class SceneRule:
    """What a scene asks for; what it does not name stays as it is."""

    voice: VoiceName | None = None
    """The current voice from then on."""
    when: When = "next"
    """next = lines from then on; line = also the waiting ones; now = in mid-sentence."""
    output: Name | None = None
    """For this output alone; none = all."""
    mode: ModeName | None = None
    """For as long as the scene is on air."""


@dataclass(frozen=True, slots=True)
class ObsConfig:
    enabled: bool | None = None
    """Whether koed looks for OBS; null = yes as soon as scenes, otherwise, live, offline, captions
    or voices are set below."""
    host: Host = "127.0.0.1"
    port: Port = 4455
    password_file: PathText | None = None
    """Only you may read it (mode 0600); the environment's KOED_OBS_PASSWORD comes before it."""
    read_obs_settings: bool = False
    """koed may take the password from OBS's own settings on this machine."""
    at: Literal["start", "end"] = "start"
    """When a scene counts: as the transition to it begins, or when it is through."""
    scenes: dict[SceneName, SceneRule] = field(default_factory=dict)
    """By name or pattern (* ? [abc]). The exact name comes first, then the first pattern."""
    otherwise: SceneRule | None = None
    """For a scene that none of them fits."""
    live: ModeName | None = None
    """Mode while OBS streams. Of this and the scene's, the stricter one holds."""
    offline: ModeName | None = None
    """Mode while it does not, for instance chat_muted."""
    control: bool = True
    """Whoever has OBS's password may drive koed through OBS (CustomEvent with a key koed)."""
    broadcast: bool = True
    """koed tells in OBS (CustomEvent with a key koed_event) what it does."""
    captions: dict[Name, CaptionConfig] = field(default_factory=dict)
    """By output; ``captions: {main: {}}`` = with the settings that koed chose: source koed caption,
    width 42, lines 2, ..."""
    voices: dict[Name, LookConfig] = field(default_factory=dict)
    """How a voice looks: name, colour and figure."""
    setup: SetupConfig = field(default_factory=SetupConfig)

    @property
    def rules(self) -> list[tuple[str, SceneRule]]:
        """All of them, each with its scene, its pattern or `OTHERWISE`."""
        last = [] if self.otherwise is None else [(OTHERWISE, self.otherwise)]
        return [*self.scenes.items(), *last]

    @property
    def wanted(self) -> bool:
        if self.enabled is not None:
            return self.enabled
        named = (self.otherwise, self.live, self.offline)
        tables = self.scenes or self.voices or self.captions
        return bool(tables) or any(part is not None for part in named)
