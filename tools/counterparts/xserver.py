"""A real X server without a screen (Xvfb), with real key events (xdotool) and a clipboard (xclip).

with XServer() as server:
    server.key("ctrl+F9"); server.down("F8"); server.up("F8")
    server.clipboard("text")
    server.kill(); server.start()   # again, at the same display
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

from koed.errors import KoedError

START_S = 20.0


class XServer:
    """``env`` is what a client needs in its environment."""

    def __init__(self) -> None:
        self.display = ""
        self._server: subprocess.Popen[bytes] | None = None
        self._typist: subprocess.Popen[str] | None = None
        self._owners: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def env(self) -> dict[str, str]:
        return {"DISPLAY": self.display, "XDG_SESSION_TYPE": "x11", "WAYLAND_DISPLAY": ""}

    def start(self) -> None:
        """Start it, at the display it had before if any; returns when it can be connected to.

        A server that chooses for itself takes the lowest number, also that of one just killed, and
        a client that waits for the dead one would meet it: ours are drawn from far above.
        """
        self.display = self.display or f":{random.randrange(100, 30_000)}"
        reading, writing = os.pipe()
        try:
            self._server = subprocess.Popen(
                [
                    "Xvfb", self.display, "-displayfd", str(writing),
                    "-screen", "0", "640x480x24", "-nolisten", "tcp", "-noreset",
                ],
                pass_fds=[writing], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        finally:
            os.close(writing)
        with os.fdopen(reading) as told:
            started = bool(told.readline().strip())  # ends when the server does
        if not started:
            raise KoedError("bench_display", f"Xvfb did not start at {self.display}")

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None
            # a server that was killed leaves its marks, and would not get its display again
            number = self.display.removeprefix(":")
            for mark in (Path(f"/tmp/.X{number}-lock"), Path(f"/tmp/.X11-unix/X{number}")):
                mark.unlink(missing_ok=True)
        self._leave()

    def _leave(self) -> None:
        self._leave_typist()
        for owner in self._owners:
            owner.kill()
            owner.wait()
        self._owners.clear()

    def _leave_typist(self) -> None:
        typist, self._typist = self._typist, None
        if typist is not None:
            typist.kill()
            typist.wait()
            if typist.stdin is not None:
                with contextlib.suppress(OSError):
                    typist.stdin.close()

    def close(self) -> None:
        self._leave()
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            try:
                self._server.wait(5.0)
            except subprocess.TimeoutExpired:
                self.kill()
            self._server = None

    # --- keys --------------------------------------------------------------------------------

    def key(self, combo: str) -> float:
        """Press and let go; the monotonic time just before."""
        return self._type(f"key {combo}")

    def down(self, combo: str) -> float:
        return self._type(f"keydown {combo}")

    def up(self, combo: str) -> float:
        return self._type(f"keyup {combo}")

    def _type(self, command: str) -> float:
        if self._typist is None:
            self._typist = subprocess.Popen(
                ["xdotool", "-"],
                env=os.environ | self.env, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        assert self._typist.stdin is not None, "it was opened with one"
        now = time.monotonic()
        self._typist.stdin.write(command + "\n")
        self._typist.stdin.flush()
        return now

    def lay_out(self, *layout: str) -> None:
        """Change the keyboard's layout; arguments of setxkbmap."""
        command = ["setxkbmap", *layout]
        subprocess.run(
            command, env=os.environ | self.env, check=True, capture_output=True, timeout=20
        )
        self._leave_typist()  # it knows the layout of its beginning

    # --- the clipboard -----------------------------------------------------------------------

    def clipboard(self, text: str) -> subprocess.Popen[bytes]:
        """Own the clipboard with a text; the process that owns it."""
        owner = subprocess.Popen(
            ["xclip", "-selection", "clipboard", "-quiet", "-in"],
            env=os.environ | self.env,
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._owners.append(owner)
        assert owner.stdin is not None, "it was opened with one"
        owner.stdin.write(text.encode())
        owner.stdin.close()
        return owner
