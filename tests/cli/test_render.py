"""The voice on a real worker, without server and device."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
import yaml

from koe.protocol import Event, UtteranceFinished
from koed.audio.sinks import WavSink
from koed.config.daemon import load
from koed.engine.base import Job
from koed.engine.host.supervisor import EngineHost
from koed.offline import OUTPUT, Renderer
from koed.playback.queue import Line

LOW = {"engine": "tone", "lang": "en", "settings": {"hz": 400, "char_ms": 10}}
SEGMENTS = "Here is a first sentence of some length, and here it ends. And a second one."


def test_the_engine_keeps_each_job_until_it_was_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker keeps what it made for as long as the voice may still be changed in it."""
    spoken: list[int] = []
    kept: list[set[int]] = []
    finished: list[int] = []
    speak, keep = EngineHost.speak, EngineHost.keep

    def watched_speak(host: EngineHost, job: Job) -> None:
        spoken.append(job.serial)
        speak(host, job)

    def watched_keep(host: EngineHost, serials: Collection[int]) -> None:
        kept.append(set(serials))
        keep(host, serials)

    def note(event: Event) -> None:
        if isinstance(event, UtteranceFinished):
            finished.append(event.utterance)

    monkeypatch.setattr(EngineHost, "speak", watched_speak)
    monkeypatch.setattr(EngineHost, "keep", watched_keep)
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
    assert len(spoken) > 1
    assert len(set(spoken)) == len(spoken)
    for serial in spoken:
        named = [serial in serials for serials in kept]
        first, last = named.index(True), len(named) - named[::-1].index(True)
        assert all(named[first:last]), "kept without a break"
    assert kept[-1] == set()
    assert finished == [7]


def test_the_first_line_is_cut_as_every_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How much an engine plans at once is known when it is up, not before."""
    spoken: list[str] = []
    speak = EngineHost.speak

    def watched_speak(host: EngineHost, job: Job) -> None:
        spoken.append(job.text)
        speak(host, job)

    monkeypatch.setattr(EngineHost, "speak", watched_speak)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plain = {"engine": "embedded", "lang": "en", "settings": {"voice": "slt"}}
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "low.yaml").write_text(yaml.safe_dump(plain))
    (tmp_path / "koed.yaml").write_text(yaml.safe_dump({"profiles": "profiles", "voice": "low"}))
    renderer = Renderer(load(tmp_path / "koed.yaml"), tmp_path / "run")
    try:
        renderer.book.refresh()
        for number in (1, 2):
            sink = WavSink(str(tmp_path / "out.wav"), renderer.config.audio.rate_hz)
            renderer.speak(Line(number, "Good evening, and welcome.", "low", OUTPUT), sink)
    finally:
        renderer.close()
    assert spoken == ["Good evening, and welcome."] * 2
