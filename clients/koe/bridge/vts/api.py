"""The messages of VTube Studio's public API 1.0, as values.

Facts: https://github.com/DenchiSoft/VTubeStudio. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PLUGIN = {"pluginName": "koed", "pluginDeveloper": "koed contributors"}
ERROR = "APIError"
DENIED = 50
"""The user said no."""
ASKING = 51
"""The user is being asked already."""
CONTROLLED = 454
"""Another plugin has hold of the parameter."""


class VtsError(Exception):
    """What VTube Studio answered in place of a result."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


@dataclass(frozen=True, slots=True)
class VtsAnswer:
    request: str
    """``requestID`` of what it answers."""
    kind: str
    data: Mapping[str, Any]

    @property
    def error(self) -> VtsError | None:
        if self.kind != ERROR:
            return None
        number = self.data.get("errorID")
        message = str(self.data.get("message", ""))[:300]
        return VtsError(number if isinstance(number, int) else -1, message)


def request(number: int, kind: str, data: Mapping[str, Any]) -> str:
    """The text frame of request ``number``."""
    envelope = {
        "apiName": "VTubeStudioPublicAPI",
        "apiVersion": "1.0",
        "requestID": str(number),
        "messageType": kind,
        "data": data,
    }
    return json.dumps(envelope)


def answer(frame: str | bytes) -> VtsAnswer | None:
    """None for what is no answer."""
    try:
        found = json.loads(frame)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("messageType"), str):
        return None
    data = found.get("data")
    return VtsAnswer(
        str(found.get("requestID", ""))[:64],
        found["messageType"],
        data if isinstance(data, dict) else {},
    )


def injection(values: Mapping[str, float]) -> dict[str, Any]:
    """Data of an ``InjectParameterDataRequest``: the parameters are set, not added to. The face is
    not said to be found: the tracking of head and eyes goes on."""
    return {
        "faceFound": False,
        "mode": "set",
        "parameterValues": [{"id": name, "value": round(v, 4)} for name, v in values.items()],
    }


def parameter(name: str, explanation: str) -> dict[str, Any]:
    """Data of a ``ParameterCreationRequest`` for a parameter from 0 to 1."""
    return {
        "parameterName": name,
        "explanation": explanation,
        "min": 0,
        "max": 1,
        "defaultValue": 0,
    }
