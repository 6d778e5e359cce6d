"""The fixtures of `tests.rigs.sound` for the tests in this folder, and outputs that come and go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from koe.protocol import Trouble
from koed.audio.output import Output
from koed.config.daemon import AudioConfig, OutputConfig
from tests.rigs.sound import ToneSource, pulse, sound  # noqa: F401
from tests.rigs.waiting import Stalls, wait_for

OURS_HZ, STREET_HZ, MUSIC_HZ = 440.0, 1500.0, 2500.0
LEAK_S = 0.5
"""Until what a server did is put right: some hundredths of a second, unless the machine is busy.
Without that it lasts for ever."""


class Stage:
    """Outputs of one name after another, as koed is started and ended."""

    def __init__(self, memory: Path, stalls: Stalls) -> None:
        self._memory = memory
        self.chosen = memory / "default-koed_mic"
        """Is there while our microphone is the default one by her choice."""
        self._stalls = stalls
        self.outputs: list[Output] = []
        self.told: list[Trouble] = []

    def start(self, description: str = "koed", sink: str = "koed") -> Output:
        output = Output(
            sink,
            OutputConfig(sink=sink, microphone=f"{sink}_mic", description=description),
            AudioConfig(),
            ToneSource(OURS_HZ),  # type: ignore[arg-type]
            memory=self._memory,
        )
        self.outputs.append(output)
        output.start()
        wait_for(lambda: output.status()["device"] == f"pulse:{sink}", what="it plays")
        return output

    def leak_s(self, times: int = 1) -> float:
        """For how long other sound may be heard when the server gave somebody another device so
        often: koed is this process, and puts nothing right while it stands still."""
        return times * LEAK_S + self._stalls.worst_s

    def codes(self) -> list[str]:
        for output in self.outputs:
            signals = output.signals()
            self.told += [s.event for s in signals if isinstance(s.event, Trouble)]
        return [event.code for event in self.told]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    limits = ("device.STALL_S", "device.OPEN_S", "virtual_mic.APPEAR_S")
    for limit in (*limits, "session.PLACE_S", "session.ANSWER_S", "session.WAKE_S"):
        monkeypatch.setattr(f"koed.audio.{limit}", 20.0)
    with Stalls() as stalls:
        made = Stage(tmp_path / "state", stalls)
        yield made
        for output in made.outputs:
            output.stop(20.0)
