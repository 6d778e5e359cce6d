"""The examples of the wire without our client, run as a reader would run them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from koe import protocol
from tests.koe.fake_daemon import FakeDaemon

EXAMPLES = Path(__file__).parents[2] / "clients" / "examples"


@pytest.fixture
def environment(daemon: FakeDaemon) -> dict[str, str]:
    return os.environ | {"KOED_RUNTIME_DIR": str(daemon.directory)}


def test_plain_python(daemon: FakeDaemon, environment: dict[str, str]) -> None:
    command = [sys.executable, str(EXAMPLES / "plain_python.py"), "声"]
    out = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert "'ok': True" in out.stdout, out.stderr
    assert daemon.requests == [protocol.Say(id=1, text="声")]


@pytest.fixture
def javascript(tmp_path: Path) -> Path:
    """A folder with the example and its libraries, which come as binaries within their packages.

    ``make test`` has installed them beside the example; where it has not, npm does so now.
    """
    wanted = json.loads((EXAMPLES / "package.json").read_text())["dependencies"]
    there = (EXAMPLES / "node_modules" / name / "package.json" for name in wanted)
    if [json.loads(p.read_text())["version"] for p in there if p.exists()] == [*wanted.values()]:
        return EXAMPLES
    for name in ("package.json", "plain_javascript.mjs"):
        shutil.copy(EXAMPLES / name, tmp_path)
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
    subprocess.run(
        [*install, "--prefer-offline"], cwd=tmp_path, check=True, capture_output=True, timeout=300
    )
    return tmp_path


def test_plain_javascript(
    daemon: FakeDaemon, environment: dict[str, str], javascript: Path
) -> None:
    command = ["node", "plain_javascript.mjs", "声"]
    out = subprocess.run(
        command, cwd=javascript, env=environment, capture_output=True, text=True, timeout=60
    )
    assert json.loads(out.stdout)["ok"] is True, out.stderr
    assert daemon.requests == [protocol.Say(id=1, text="声")]
