"""A server that speaks the documented messages of VTube Studio's API, for tests and measurements.

The program itself runs on Windows and macOS only. Facts: https://github.com/DenchiSoft/VTubeStudio.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

KNOWN = frozenset({"MouthOpen", "MouthSmile", "FaceAngleX"})
DENIED, UNKNOWN_PARAMETER, NOT_LOGGED_IN, BAD_NAME = 50, 453, 8, 352


@dataclass(slots=True)
class Heard:
    """A parameter that was set, and when (monotonic)."""

    at_s: float
    values: dict[str, float]


@dataclass(slots=True)
class Studio:
    """Runs on a thread of its own from `start` to `close`. ``allow`` is what the user clicks;
    None: nothing, the question stays open."""

    allow: bool | None = True
    tokens: set[str] = field(default_factory=set)
    asked: int = 0
    """How often the user was asked."""
    logins: int = 0
    heard: list[Heard] = field(default_factory=list)
    parameters: set[str] = field(default_factory=lambda: set(KNOWN))
    broken: list[str] = field(default_factory=list)
    """What came that the documentation does not allow."""
    port: int = 0
    _loop: asyncio.AbstractEventLoop | None = None
    _over: asyncio.Event | None = None
    _thread: threading.Thread | None = None
    _guests: set[ServerConnection] = field(default_factory=set)

    @property
    def address(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, at the port of the last time if there was one."""
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        if not ready.wait(40):
            raise RuntimeError("the server did not start")

    def close(self) -> None:
        """End as a program that is quit: every connection is closed."""
        assert self._loop is not None
        assert self._over is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def value(self, name: str = "MouthOpen") -> float:
        """What was said last."""
        return next((h.values[name] for h in reversed(self.heard) if name in h.values), 0.0)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        async with serve(self._talk, "127.0.0.1", self.port) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            ready.set()
            await self._over.wait()

    async def _talk(self, guest: ServerConnection) -> None:
        known = False
        try:
            async for frame in guest:
                at_s = time.monotonic()
                message = json.loads(frame)
                self._check(message)
                kind, data = message["messageType"], message.get("data", {})
                if kind == "AuthenticationTokenRequest":
                    answer = await self._ask_user()
                elif kind == "AuthenticationRequest":
                    known = data["authenticationToken"] in self.tokens
                    self.logins += known
                    answer = "AuthenticationResponse", {"authenticated": known, "reason": ""}
                elif not known:
                    answer = _error(NOT_LOGGED_IN, "authenticate first")
                else:
                    answer = self._carry_out(kind, data, at_s)
                await guest.send(_frame(message["requestID"], *answer))
        except ConnectionClosed:
            pass

    def _check(self, message: dict[str, Any]) -> None:
        wanted = ("VTubeStudioPublicAPI", "1.0")
        if (message.get("apiName"), message.get("apiVersion")) != wanted:
            self.broken.append(f"envelope: {message}")
        number = message.get("requestID", "")
        if not (isinstance(number, str) and 0 < len(number) <= 64 and number.isalnum()):
            self.broken.append(f"requestID: {number!r}")

    async def _ask_user(self) -> tuple[str, dict[str, Any]]:
        self.asked += 1
        while self.allow is None:
            await asyncio.sleep(0.02)
        if not self.allow:
            return _error(DENIED, "User has denied API access for your plugin.")
        token = secrets.token_hex(32)
        self.tokens.add(token)
        return "AuthenticationTokenResponse", {"authenticationToken": token}

    def _carry_out(
        self, kind: str, data: dict[str, Any], at_s: float
    ) -> tuple[str, dict[str, Any]]:
        if kind == "ParameterCreationRequest":
            name = data["parameterName"]
            if not (4 <= len(name) <= 32 and name.isalnum()):
                return _error(BAD_NAME, f"{name} is no name for a parameter")
            self.parameters.add(name)
            return "ParameterCreationResponse", {"parameterName": name}
        if kind == "InjectParameterDataRequest":
            values = {one["id"]: one["value"] for one in data["parameterValues"]}
            unknown = sorted(set(values) - self.parameters)
            if unknown:
                return _error(UNKNOWN_PARAMETER, f"parameter {unknown[0]} not found")
            self.heard.append(Heard(at_s, values))
            return "InjectParameterDataResponse", {}
        return _error(1, f"unknown request {kind}")


def _error(number: int, message: str) -> tuple[str, dict[str, Any]]:
    return "APIError", {"errorID": number, "message": message}


def _frame(request: str, kind: str, data: dict[str, Any]) -> str:
    return json.dumps(
        {
            "apiName": "VTubeStudioPublicAPI",
            "apiVersion": "1.0",
            "timestamp": round(time.time() * 1000),
            "requestID": request,
            "messageType": kind,
            "data": data,
        }
    )
