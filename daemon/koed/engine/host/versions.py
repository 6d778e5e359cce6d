"""What is said when stage and worker speak different versions of the wire. Pure."""

from __future__ import annotations

import re

from koed.engine import wire
from koed.engine.host.worker_state import Failure

_TOLD = re.compile(
    r"version (\d{1,9}) of (?:the|koed's) engine wire(?:, this stage version (\d{1,9}))?"
)


def common(message: wire.Here | wire.Refused) -> int:
    """In which version to say hello (again) to a worker that told its own; 0 = there is none."""
    told, refused = _told(message)
    return told if told in wire.SPOKEN and told != refused else 0


def _told(message: wire.Here | wire.Refused) -> tuple[int, int]:
    """The version that a worker speaks, and the one that it refuses; 0 = it says nothing of it."""
    if isinstance(message, wire.Here):
        return message.version, 0
    told = _TOLD.search(message.message)
    return (int(told[1]), int(told[2] or 0)) if told else (0, 0)


def refused(message: wire.Here | wire.Refused, where: str) -> Failure:
    """Why there is no talking to the worker ``where``. What a refusal says of versions becomes the
    same line with the cure, whatever words the koed over there had for it."""
    told, _ = _told(message)
    if told or isinstance(message, wire.Here):
        text = wire.differ(where, told, wire.VERSION)
    else:
        text = f"the worker {where} refuses: {message.message}"
    return Failure("worker_unreachable", text)
