"""What costs a moment of sound is counted where people look, and told once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from koe.protocol import Event, Trouble
from koed.app import App
from koed.config.daemon import Config, load


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "koed.yaml").write_text("audio: {device: 'null'}\nreplay: false\n")
    config: Config = load(tmp_path / "koed.yaml")
    app = App(config, tmp_path / "run")
    yield app
    app.bell.close()
    app.context.destroy(linger=0)


@pytest.mark.parametrize(
    ("kind", "words"), [("mixer", "ZeroDivisionError"), ("samples", "no numbers")]
)
def test_a_fault_of_the_sound_path_is_counted_and_told_once(
    app: App, kind: str, words: str
) -> None:
    told: list[Event] = []
    app.bus.listen(told.append)
    mixer = app.outputs["main"].mixer
    app._gauge(1.0)
    assert app.status()["outputs"]["main"]["faults"] == {"mixer": 0, "device": 0, "samples": 0}
    assert not told
    for number in (2, 3):
        if kind == "mixer":
            mixer.faults, mixer.fault = number, "ZeroDivisionError()"
        else:
            mixer.non_finite_samples = number
        app._gauge(1.0)
        assert app.status()["outputs"]["main"]["faults"][kind] == number
        assert app.counters.value("koed_faults", output="main", kind=kind) == number
    (trouble,) = told
    assert isinstance(trouble, Trouble)
    assert trouble.code == "audio_fault"
    assert words in trouble.message


def test_a_lane_that_stood_still_is_counted(app: App) -> None:
    app.player.watchdog.stuck = 2
    app._gauge(1.0)
    assert app.status()["queue"]["stuck"] == 2
    assert app.counters.value("koed_stuck") == 2
