"""One connection to VTube Studio: log in, then say how the mouth is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from websockets.asyncio.client import ClientConnection

from koe.bridge.notes import Notes
from koe.bridge.vts import api
from koe.bridge.vts.token import Tokens

ANSWER_S = 5.0
ASK_AGAIN_S = 3.0
UNANSWERED = 200
"""Values that were said and not acknowledged; beyond, VTube Studio hangs."""


class Hung(Exception):
    """It answers no more."""


class VtsSession:
    """`listen` runs beside everything else and takes the answers."""

    def __init__(self, socket: ClientConnection, notes: Notes) -> None:
        self._socket = socket
        self._notes = notes
        self._number = 0
        self._waiting: dict[str, asyncio.Future[api.VtsAnswer]] = {}
        self._said = 0
        """Values that wait for their acknowledgement."""

    async def listen(self) -> None:
        """Until the connection ends; raises `websockets.ConnectionClosed`."""
        while True:
            answer = api.answer(await self._socket.recv())
            if answer is None:
                continue
            waiter = self._waiting.pop(answer.request, None)
            if waiter is not None:
                if not waiter.done():
                    waiter.set_result(answer)
                continue
            self._said = 0
            if answer.error is not None:
                self._complain(answer.error)

    def _complain(self, error: api.VtsError) -> None:
        text = f"VTube Studio does not move the mouth: {error}"
        if error.number == api.CONTROLLED:
            text += " (end the other plugin, or its lip sync)"
        self._notes.once(text)

    async def ask(
        self, kind: str, data: Mapping[str, Any], wait_s: float | None = ANSWER_S
    ) -> Mapping[str, Any]:
        """The data of the answer; raises `api.VtsError`, or `Hung` if there is none."""
        self._number += 1
        waiter: asyncio.Future[api.VtsAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[str(self._number)] = waiter
        await self._socket.send(api.request(self._number, kind, data))
        try:
            answer = await asyncio.wait_for(waiter, wait_s)
        except TimeoutError:
            raise Hung(f"VTube Studio does not answer a {kind}") from None
        finally:
            self._waiting.pop(str(self._number), None)
        if answer.error is not None:
            raise answer.error
        return answer.data

    async def say(self, values: Mapping[str, float]) -> None:
        """Set parameters, without waiting for the answer; raises `Hung`."""
        if self._said >= UNANSWERED:
            raise Hung("VTube Studio has stopped answering")
        self._said += 1
        self._number += 1
        kind = "InjectParameterDataRequest"
        await self._socket.send(api.request(self._number, kind, api.injection(values)))

    async def log_in(self, tokens: Tokens, address: str) -> None:
        """With the token that is kept, else with one that the user grants in VTube Studio.

        Raises `api.VtsError` ``DENIED`` if he does not.
        """
        token = tokens.get(address)
        if token is not None and await self._authenticated(token):
            return
        token = await self._granted()
        tokens.set(address, token)
        if not await self._authenticated(token):
            tokens.set(address, None)
            raise api.VtsError(api.DENIED, "VTube Studio does not accept its own token")

    async def _authenticated(self, token: str) -> bool:
        data = api.PLUGIN | {"authenticationToken": token}
        found = await self.ask("AuthenticationRequest", data)
        return found.get("authenticated") is True

    async def _granted(self) -> str:
        self._notes.tell(
            "VTube Studio now asks in its window whether koed may control it: click Allow there"
        )
        while True:
            try:
                found = await self.ask("AuthenticationTokenRequest", api.PLUGIN, wait_s=None)
            except api.VtsError as error:
                if error.number != api.ASKING:
                    raise
                await asyncio.sleep(ASK_AGAIN_S)
                continue
            token = found.get("authenticationToken")
            if isinstance(token, str) and 0 < len(token) <= 256:
                return token
            raise api.VtsError(api.DENIED, "VTube Studio gave no token")

    async def create(self, parameters: Mapping[str, str]) -> None:
        """Parameters of our own, name -> explanation; those that are there stay."""
        for name, explanation in parameters.items():
            await self.ask("ParameterCreationRequest", api.parameter(name, explanation))
