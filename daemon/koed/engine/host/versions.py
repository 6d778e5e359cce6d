"""What is said when stage and worker speak different versions of the wire. Pure."""

from __future__ import annotations

import re

from koed.engine import wire
from koed.engine.host.worker_state import Failure

_TOLD = re.compile(r"version (\d{1,9}) of (?:the|koed's) engine wire")


def refused(message: wire.Here | wire.Refused, where: str) -> Failure:
    """Why there is no talking to the worker ``where``. What a refusal says of versions becomes the
    same line with the cure, whatever words the koed over there had for it."""
    if isinstance(message, wire.Here):
        text = wire.differ(where, message.version, wire.VERSION)
    elif told := _TOLD.search(message.message):
        text = wire.differ(where, int(told[1]), wire.VERSION)
    else:
        text = f"the worker {where} refuses: {message.message}"
    return Failure("worker_unreachable", text)
