"""What a running daemon owns: its signals and whether it ends with its terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from koe.protocol import Event, StateChanged, event_from_map
from koed.events import Bus
from koed.service.runtime import Bell, Signals
from tests.rigs.waiting import wait_for

TELL = """
import sys
from koed.service.runtime import on_terminal
open(sys.argv[1], "w").write(str(on_terminal()))
"""


@pytest.mark.parametrize(
    ("terminal", "shell", "told"),
    [
        ((), "", "False"),
        ((0,), "", "True"),
        ((2,), "", "True"),
        ((1,), "", "False"),
        ((0, 2), "trap '' HUP;", "False"),  # as nohup does
    ],
)
def test_it_knows_whether_it_ends_with_its_terminal(
    terminal: tuple[int, ...], shell: str, told: str, tmp_path: Path
) -> None:
    master, slave = pty.openpty()
    stdin, stdout, stderr = (slave if n in terminal else subprocess.DEVNULL for n in range(3))
    command = f'{shell} exec "$0" "$@"'
    try:
        subprocess.run(
            ["sh", "-c", command, sys.executable, "-c", TELL, str(tmp_path / "told")],
            stdin=stdin, stdout=stdout, stderr=stderr, timeout=60, check=True,
            # these tests themselves may run below nohup
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )  # fmt: skip
    finally:
        os.close(master)
        os.close(slave)
    assert (tmp_path / "told").read_text() == told


@pytest.mark.parametrize("ends", [True, False])
def test_hangup_ends_what_runs_on_a_terminal_and_else_reloads(ends: bool) -> None:
    bell = Bell()
    signals = Signals(bell, hangup_ends=ends)
    with signals.caught():
        os.kill(os.getpid(), signal.SIGHUP)
        wait_for(lambda: signals.stop or signals.take_reload(), what="the signal is taken")
    assert signals.stop == ("SIGHUP" if ends else None)
    bell.close()


def test_each_event_tells_of_which_start_it_is() -> None:
    bus, heard = Bus(boot="b1"), list[Event]()
    bus.listen(heard.append)
    bus.publish(StateChanged(state="ready"))
    assert heard[0].to_map()["boot"] == "b1"
    old = {name: value for name, value in heard[0].to_map().items() if name != "boot"}
    assert event_from_map(old).boot == ""  # of a daemon of before
