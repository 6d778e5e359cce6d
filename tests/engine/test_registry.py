"""Engines: koed's own, and any that a package brings as an entry point."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml

from koed.config import engines
from koed.engine import registry
from koed.errors import EngineError
from koed.testing.rig import rig
from tests.rigs import hearing

PAGE = Path(__file__).resolve().parents[2] / "docs" / "engines.md"
LONGEST_EXAMPLE = 80


def blocks(language: str) -> list[str]:
    page = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip has put the engine of docs/engines.md."""
    source, target = tmp_path_factory.mktemp("morse"), tmp_path_factory.mktemp("site")
    (source / "pyproject.toml").write_text(*blocks("toml"))
    (source / "koed_morse.py").write_text(*blocks("python"))
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(target)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", *offline, str(source)]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_the_example_is_short() -> None:
    assert len(blocks("python")[0].splitlines()) <= LONGEST_EXAMPLE


def test_the_example_speaks(installed: Path) -> None:
    profile = yaml.safe_load(blocks("yaml")[0])
    with rig({"voice": "morse"}, {"morse": profile}, environ={"PYTHONPATH": str(installed)}) as air:
        air.wait_ready()
        watch, mark = air.watch("utterance."), air.mark()
        assert watch.wait("utterance.finished", air.client.say("sos so").utterance)
        windows = hearing.voices(air.sound_from(mark), {"morse": profile["settings"]["hz"]})
        watch.close()
    beeps = [len(list(run)) * hearing.WINDOW_S for name, run in itertools.groupby(windows) if name]
    assert "".join("-" if beep > 0.12 else "." for beep in beeps) == "...---......---"


def test_an_engine_that_is_not_installed_has_a_hint() -> None:
    with pytest.raises(EngineError) as caught:
        registry.find("embeded")
    assert (caught.value.code, caught.value.hint) == ("unknown_engine", "did you mean 'embedded'?")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("no_such_module_at_all:ENGINE", "cannot be imported"),
        ("koed.engine.tone:NOTHING", "cannot be imported"),
        ("koed.engine.tone:RATE_HZ", "names a int, not an EngineSpec"),
    ],
)
def test_a_broken_package_is_named(monkeypatch: pytest.MonkeyPatch, value: str, why: str) -> None:
    broken = {"broken": EntryPoint("broken", value, engines.GROUP)}
    monkeypatch.setattr(engines, "installed", lambda: broken)
    with pytest.raises(EngineError, match=why) as caught:
        registry.create("broken")
    assert caught.value.code == "engine_broken"


def test_a_damaged_package_costs_only_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    offers = {
        "damaged": "[koed.engines]\nno value",
        "taker": "[koed.engines]\ntone = a:B\nx = a:C\n",
    }
    for name, text in offers.items():
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(text)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    found = engines.installed.__wrapped__()
    assert {name: entry.value for name, entry in found.items()} == engines.OWN | {"x": "a:C"}
    assert "cannot be read" in caplog.text
