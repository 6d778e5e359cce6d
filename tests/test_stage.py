"""The stage on a real worker, without a device."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from koe.protocol import Event, UtteranceFinished
from koed.audio.sinks import WavSink
from koed.config import load
from koed.engine.base import Job
from koed.engine.host import EngineHost
from koed.render import OUTPUT, Renderer
from koed.speaker import Line

LOW = {"engine": "tone", "lang": "en", "settings": {"hz": 400, "char_ms": 10}}
SEGMENTS = "Here is a first sentence of some length, and here it ends. And a second one."


def test_the_engine_lets_go_of_what_was_heard_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker keeps what it made for as long as the voice may still be changed in it."""
    told: list[tuple[str, int]] = []
    speak, floor = EngineHost.speak, EngineHost.floor

    def watched_speak(host: EngineHost, job: Job) -> None:
        told.append(("speak", job.serial))
        speak(host, job)

    def watched_floor(host: EngineHost, lane: int, serial: int) -> None:
        told.append(("floor", serial))
        floor(host, lane, serial)

    def note(event: Event) -> None:
        if isinstance(event, UtteranceFinished):
            told.append(("finished", event.utterance))

    monkeypatch.setattr(EngineHost, "speak", watched_speak)
    monkeypatch.setattr(EngineHost, "floor", watched_floor)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "low.yaml").write_text(yaml.safe_dump(LOW))
    (tmp_path / "koed.yaml").write_text(yaml.safe_dump({"profiles": "profiles", "voice": "low"}))
    renderer = Renderer(load(tmp_path / "koed.yaml"), tmp_path / "run")
    renderer.bus.listen(note)
    try:
        renderer.book.refresh()
        sink = WavSink(str(tmp_path / "out.wav"), renderer.config.audio.rate_hz)
        renderer.speak(Line(7, SEGMENTS, "low", OUTPUT), sink)
    finally:
        renderer.close()
    *spoken, let_go, finished = told
    assert len(spoken) > 1
    assert spoken == [("speak", serial) for serial in range(1, len(spoken) + 1)]
    assert (let_go, finished) == (("floor", len(spoken) + 1), ("finished", 7))
