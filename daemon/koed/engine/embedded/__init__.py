"""The voice of a fresh machine: flite (en), OpenJTalk (ja), the espeak-ng program (the rest)."""

from koed.engine.base import EngineSpec

ENGINE = EngineSpec("koed.engine.embedded.engine:EmbeddedEngine", install="make run installs it")
