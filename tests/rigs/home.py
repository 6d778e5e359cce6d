"""A daemon that is ended, killed and started again."""

from __future__ import annotations

import fcntl
import json
import subprocess
import termios
from pathlib import Path
from typing import Any

import yaml

from koed.testing.rig import Rig, launch, rig


def take_terminal() -> None:
    """Of a child: its standard input is the terminal that it ends with."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Home:
    """Of daemons that are started one after another in the same folder."""

    def __init__(
        self,
        config: dict[str, Any],
        profiles: dict[str, dict[str, Any]],
        environ: dict[str, str] | None = None,
    ) -> None:
        self._environ = environ or {}
        transcript = {"path": "said.jsonl"}
        self._first = rig(config | {"transcript": transcript}, profiles, environ=environ)
        self.daemon = self._first.__enter__()
        self._made: list[subprocess.Popen[bytes]] = []
        self.daemon.wait_ready()

    @property
    def transcript(self) -> Path:
        return self.daemon.folder / "said.jsonl"

    def configure(self, **changed: Any) -> None:
        path = self.daemon.folder / "koed.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changed))

    def kill(self) -> None:
        self.daemon.process.kill()
        self.daemon.process.wait()

    def end(self) -> None:
        """In order."""
        self.daemon.process.terminate()
        assert self.daemon.process.wait(40) == 0

    def start(self, terminal: int | None = None) -> Rig:
        """The next one; its log is its own. ``terminal``: which it ends with."""
        self.daemon.client.close()
        own: dict[str, Any] = {}
        if terminal is not None:
            own = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
            own |= {"start_new_session": True, "preexec_fn": take_terminal}
        self.daemon = launch(self.daemon.folder, self._environ, **own)
        self._made.append(self.daemon.process)
        self.daemon.wait_ready()
        return self.daemon

    def again(self) -> Rig:
        """Killed, and started again."""
        self.kill()
        return self.start()

    def first_words(self) -> list[str]:
        """Of the log."""
        return [json.loads(line)["message"] for line in self.daemon.log().splitlines()]

    def said(self) -> list[dict[str, Any]]:
        """What the transcript tells."""
        return [json.loads(line) for line in self.transcript.read_text().splitlines()]

    def close(self) -> None:
        self.daemon.client.close()
        for process in self._made:
            process.kill()
            process.wait()
        self._first.__exit__(None, None, None)
