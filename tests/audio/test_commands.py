"""Orders from one thread to another."""

from __future__ import annotations

import threading

from koed.audio.commands import Orders


def test_orders_are_obeyed_once_in_their_order_and_no_more_than_counted() -> None:
    orders, done = Orders(), []
    assert not orders
    for number in range(3):
        orders.add(done.append, number)
    count = len(orders)
    orders.add(done.append, 3)
    assert count == 3
    orders.obey(count)
    assert done == [0, 1, 2]
    assert len(orders) == 1
    orders.obey(1)
    assert done == [0, 1, 2, 3]
    assert not orders
    orders.obey(0)
    assert done == [0, 1, 2, 3]


def test_one_that_came_before_the_wait_ends_it() -> None:
    orders = Orders()
    orders.add(print)
    orders.wait(60.0)
    orders.wait(60.0)


def test_one_that_comes_ends_the_wait() -> None:
    orders, over = Orders(), threading.Event()

    def sleep() -> None:
        while not orders:
            orders.wait(60.0)
        over.set()

    threading.Thread(target=sleep, daemon=True).start()
    assert not over.wait(0.05)
    orders.add(print)
    assert over.wait(20.0)
