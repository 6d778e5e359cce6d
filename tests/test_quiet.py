"""No process of ours reaches for another machine unasked, looks up a name, or leaves a mark of its
own outside koed's folders. A library that is loaded into all of them sees it, whoever does it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from koe.client import Client
from koe.transport.connection import NoDaemon
from koed.cli import commands as cli
from koed.engine import quiet
from tests.rigs.daemon import LOW
from tests.rigs.waiting import wait_for

KOED = [sys.executable, "-m", "koed.cli"]
KOE = [sys.executable, "-m", "koe.cli"]
PATIENCE_S = 120.0
JAPANESE = {"engine": "embedded", "lang": "ja"}
TELL_TALE = """
import socket
with socket.socket() as out:
    out.connect_ex(("192.0.2.1", 443))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    try:
        out.sendto(b"x", ("192.0.2.2", 53))
    except OSError:
        pass
try:
    socket.getaddrinfo("telemetry.example", 443)
except OSError:
    pass
with socket.socket() as near:
    near.connect_ex(("127.0.0.1", 1))
socket.getaddrinfo("localhost", 1)
"""
"""For a `sitecustomize`: it is run in each process of Python."""


class Home:
    """A fresh one, and what is run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.run = folder / "run"
        self.reached = folder / "reached"
        library = folder / "network.so"
        source = Path(__file__).with_name("network.c")
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        # a user has not said that this is a test, or that nothing is to be told
        unsaid = {*quiet.SILENT, *quiet.OFFLINE, "CI", "ORT_RUNNING_UNIT_TESTS"}
        kept = {n: v for n, v in os.environ.items() if n not in unsaid and n[:4] != "XDG_"}
        self.environ = kept | {
            "HOME": str(self.home), "KOED_RUNTIME_DIR": str(self.run), "CUDA_VISIBLE_DEVICES": "",
            "LD_PRELOAD": str(library), "NETWORK_FILE": str(self.reached),
        }  # fmt: skip
        self.config = folder / "koed.yaml"
        profiles = folder / "profiles"
        profiles.mkdir()
        for name, profile in {"low": LOW, "hana": JAPANESE}.items():
            (profiles / f"{name}.yaml").write_text(yaml.safe_dump(profile))
        self.config.write_text(yaml.safe_dump({"voice": "hana", "audio": {"device": "null"}}))

    def type(self, *command: str) -> str:
        done = subprocess.run(
            command,
            env=self.environ,
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        return done.stdout

    @contextlib.contextmanager
    def daemon(self) -> Iterator[Client]:
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*KOED, "run", "--config", str(self.config)],
                env=self.environ, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            with Client(str(self.run), timeout_s=PATIENCE_S) as client:
                wait_for(lambda: self._ready(client), PATIENCE_S, "koed is ready")
                yield client
        finally:
            process.terminate()
            assert process.wait(PATIENCE_S) == 0, (self.folder / "log").read_text()

    @staticmethod
    def _ready(client: Client) -> bool:
        with contextlib.suppress(NoDaemon):
            return bool(client.status()["ready"])
        return False

    def found(self) -> list[str]:
        """What was reached for, and files that are not koed's."""
        reached = self.reached.read_text().splitlines() if self.reached.exists() else []
        files = (path for path in self.home.rglob("*") if path.is_file())
        return reached + [str(path) for path in files if "koed" not in path.parts]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.mark.slow
def test_daemon_worker_and_commands_stay_at_home(home: Home) -> None:
    with home.daemon() as client:
        for voice in ("hana", "low"):
            assert client.say("こんにちは、世界", voice=voice, wait=True).outcome == "finished"
        home.type(*KOE, "say", "--wait", "typed")
        home.type(*KOE, "status")
    home.type(*KOED, "render", "声", "--config", str(home.config), "-o", str(home.folder / "x.wav"))
    assert home.found() == []


@pytest.mark.slow
def test_the_neural_voice_stays_at_home(home: Home) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    assert "a trial spoke" in home.type(*KOED, "check", "--config", str(home.config))
    assert home.found() == []


NATURAL = """
import os
from koed.engine import quiet
quiet.keep(os.environ)
import numpy, onnxruntime
from koed.engine.kokoro import weights
found = onnxruntime.InferenceSession(weights.graphs().text, providers=["CPUExecutionProvider"]).run(
    None, {"tokens": numpy.array([[0, 50, 0]]), "style": numpy.zeros((1, 256), numpy.float32),
           "speed": numpy.ones(1, numpy.float32)})
print(*sorted(name for name in __import__("sys").modules if name.startswith(("kokoro", "misaki"))))
"""


@pytest.mark.slow
def test_the_natural_voice_stays_at_home_and_its_packages_are_data(home: Home) -> None:
    assert home.type(sys.executable, "-c", NATURAL) == "\n"
    assert home.found() == []
    kept = home.home / ".cache" / "koed" / "kokoro"
    assert len(list(kept.iterdir())) == 3


def test_who_does_not_stay_at_home_is_seen(home: Home) -> None:
    """In a process of Python that koed starts, and by a library that is not Python."""
    patch = home.folder / "patch"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(TELL_TALE)
    path = os.pathsep.join((str(patch), home.environ.get("PYTHONPATH", "")))
    home.environ["PYTHONPATH"] = path
    home.type(*KOED, "voices", "--config", str(home.config))
    assert [line.rpartition(" by ")[0] for line in home.found()] == [
        "connect 192.0.2.1", "sendto 192.0.2.2", "lookup telemetry.example",
    ]  # fmt: skip
    if importlib.util.find_spec("onnxruntime") is not None:
        home.reached.unlink()
        (patch / "sitecustomize.py").unlink()
        home.type(sys.executable, "-c", "import onnxruntime")
        assert home.found() != [], "and so it would be without koed's word"


def test_what_a_user_has_set_stands_and_models_can_be_fetched() -> None:
    environ = {"ORT_DISABLE_TELEMETRY": "0", "HF_HUB_OFFLINE": "0"}
    quiet.keep(environ)
    assert (environ["ORT_DISABLE_TELEMETRY"], environ["HF_HUB_OFFLINE"]) == ("0", "0")
    fetching: dict[str, str] = {}
    quiet.keep(fetching, fetching=True)
    assert "HF_HUB_OFFLINE" not in fetching
    assert fetching["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_only_models_may_fetch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept: list[bool] = []
    monkeypatch.setattr(quiet, "keep", lambda environ, fetching=False: kept.append(fetching))
    cli.main(["models", "--folder", str(tmp_path), "list"])
    cli.main(["keys", "--config", str(tmp_path / "none.yaml"), "list"])
    assert kept == [True, False]
