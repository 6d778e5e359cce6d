"""What is measured with programs that no user has at hand, such as an OBS of its own: it lies in
``tools/`` of a checkout, beside the tests, and runs as a child."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import koed
from koed.errors import KoedError

ROOT = Path(koed.__file__).resolve().parents[2]


def run(tool: str, *arguments: str) -> int:
    """A tool on the terminal; its exit status. Raises `KoedError` where there is no checkout."""
    return subprocess.run(_command(tool, *arguments), cwd=ROOT, check=False).returncode


def measure(tool: str, *arguments: str) -> dict[str, Any]:
    """What the tool found. Raises `KoedError`; the tool has said why it failed."""
    done = subprocess.run(
        _command(tool, *arguments), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise KoedError("tool_failed", f"{tool} could not be measured")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _command(tool: str, *arguments: str) -> list[str]:
    if not (ROOT / "tools" / "__main__.py").is_file():
        raise KoedError(
            "no_checkout",
            f"{tool} is measured with tools that only a checkout of koed has",
            "git clone koed, and there: make bench or make proof",
        )
    return [sys.executable, "-m", "tools", tool, *arguments]
