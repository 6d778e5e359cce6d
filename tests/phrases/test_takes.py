"""The name of a sound that was rendered ahead: what is another sound has another one."""

from __future__ import annotations

from koed.config.delivery import Delivery
from koed.phrases.takes import take_key


def test_what_the_engine_is_told_is_in_the_key_and_the_volume_is_not() -> None:
    plain, loud, high = (
        take_key("k", "v", Delivery(1.5, 0.7, 5, 7, **more), ())  # type: ignore[arg-type]
        for more in ({}, {"volume": 3.0}, {"pitch": 3.0})
    )
    assert plain == loud == "e636437378b6ebd0327d402aa356afef"  # as before there were such fields
    assert high != plain
