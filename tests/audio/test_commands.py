"""Commands from one thread to another."""

from __future__ import annotations

import threading

from koed.audio.commands import Commands


def test_commands_are_run_once_in_their_order_and_no_more_than_counted() -> None:
    commands, done = Commands(), []
    assert not commands
    for number in range(3):
        commands.add(done.append, number)
    count = len(commands)
    commands.add(done.append, 3)
    assert count == 3
    commands.run(count)
    assert done == [0, 1, 2]
    assert len(commands) == 1
    commands.run(1)
    assert done == [0, 1, 2, 3]
    assert not commands
    commands.run(0)
    assert done == [0, 1, 2, 3]


def test_one_that_came_before_the_wait_ends_it() -> None:
    commands = Commands()
    commands.add(print)
    commands.wait(60.0)
    commands.wait(60.0)


def test_one_that_comes_ends_the_wait() -> None:
    commands, over = Commands(), threading.Event()

    def sleep() -> None:
        while not commands:
            commands.wait(60.0)
        over.set()

    threading.Thread(target=sleep, daemon=True).start()
    assert not over.wait(0.05)
    commands.add(print)
    assert over.wait(20.0)
