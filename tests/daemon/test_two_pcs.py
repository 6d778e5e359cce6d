"""The recipe for two PCs, typed as docs/another-machine.md prints it, in two fresh homes."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from koed.auth import keys
from koed.testing.rig import rig
from tests.rigs.daemon import LOW
from tests.rigs.waiting import free_port, wait_for

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "another-machine.md").read_text()
RECIPE = PAGE[PAGE.index("Two-PC streaming") :]
PATIENCE_S = 60.0


def typed(line: str, port: int) -> list[str]:
    """A line of the recipe as arguments; only the port is another one."""
    words = shlex.split(line.replace(":5560", f":{port}"), comments=True)
    assert words[0] == "koed"
    return [sys.executable, "-m", "koed.cli", *words[1:]]


class PowerPc:
    """A home of its own, and a terminal in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir()
        self.port = free_port()
        self.log = home / "worker.log"
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("XDG_", "KOED_"))}
        self.environ = kept | {"HOME": str(home)}
        (block,) = re.findall(r"```sh\n(.*?)```", RECIPE, re.DOTALL)
        self.recipe: list[str] = block.splitlines()

    def type(self, line: str) -> str:
        done = subprocess.run(
            typed(line, self.port),
            env=self.environ, cwd=self.home, check=True, capture_output=True, text=True,
            timeout=PATIENCE_S,
        )  # fmt: skip
        return done.stdout

    @contextlib.contextmanager
    def serving(self, *more: str) -> Iterator[None]:
        """The last line of the recipe, in another terminal."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*typed(self.recipe[-1], self.port), *more],
                env=self.environ, cwd=self.home, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE_S)

    def says(self, words: str) -> None:
        wait_for(lambda: words in self.log.read_text(), PATIENCE_S, words)


@pytest.mark.slow
def test_the_recipe_as_it_is_typed(tmp_path: Path) -> None:
    power = PowerPc(tmp_path / "power")
    assert len(power.recipe) == 2
    said = power.type(power.recipe[0])
    (carried,) = re.findall(r"^#\s+(/\S+\.key_secret)$", said, re.MULTILINE)
    (printed,) = re.findall(r"```yaml\n(engine: .*?)```", RECIPE, re.DOTALL)
    profile = yaml.safe_load(printed)
    remote = profile["engine"]
    remote["remote"] = f"tcp://127.0.0.1:{power.port}"
    with power.serving(), rig({"voice": "near"}, {"near": LOW}) as stage:
        power.says("admitted: streaming-pc")
        profiles = stage.folder / "profiles"
        shutil.copy(carried, profiles / remote["key"])
        (profiles / "far.yaml").write_text(yaml.safe_dump(profile))
        stage.wait_ready()
        wait_for(
            lambda: any(v.name == "far" and v.ready for v in stage.client.voices()),
            PATIENCE_S, "the voice is there",
        )  # fmt: skip
        assert stage.client.say("hello from afar", voice="far", wait=True).outcome == "finished"
    assert not (power.home / "keys").exists()


def test_a_worker_that_admits_nobody_says_so_and_lets_in_who_comes_later(tmp_path: Path) -> None:
    power = PowerPc(tmp_path / "power")
    with power.serving():
        power.says("nobody is admitted")
        power.says("`koed keys new streaming-pc`")
        power.says(str(power.home / ".config" / "koed" / "keys"))


def test_keys_where_a_worker_used_to_look_are_still_found(tmp_path: Path) -> None:
    power = PowerPc(tmp_path / "power")
    keys.new(power.home / "keys", "old-friend")
    with power.serving():
        power.says(f"admitted: old-friend (keys in {power.home / 'keys'})")
    with power.serving("--keys", str(power.home / "elsewhere")):
        power.says(f"no client's key in {power.home / 'elsewhere'}")
