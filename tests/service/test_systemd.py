"""The service units: checked by systemd's own tools, then run by a real `systemd --user`."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.service import systemd_rig

REPOSITORY = Path(__file__).resolve().parents[2]
ODD_NAME = "100% odd $HOME #; ü"
"""Everything that a unit file could misread in a path."""

EXPOSURE_LIMIT = 6.5
"""`systemd-analyze security`: 0 is locked in, 10 is free. Services average above 9."""


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "scripts" / f"{name}.py")
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


service = load_script("service")


def write_unit(folder: Path, name: str, koed: Path, root: Path, extra: str = "") -> Path:
    """The unit as `make install-service` writes it, with a drop-in for what a test must change."""
    unit = folder / f"{name}.service"
    template = REPOSITORY / "systemd" / f"{name}.service.in"
    unit.write_text(service.render(template, str(koed), str(root)))
    if extra:
        (folder / f"{name}.service.d").mkdir()
        (folder / f"{name}.service.d" / "test.conf").write_text(f"[Service]\n{extra}")
    return unit


def analyze(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments],
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A koed whose path has everything in it that a unit file could misread."""
    path = tmp_path / ODD_NAME / "koed"
    path.parent.mkdir()
    standin = Path(__file__).with_name("standin_service.py")
    command = shlex.join([sys.executable, str(standin)])
    path.write_text(f'#!/bin/sh\n[ "$*" = run ] || exit 9\nexec {command}\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("name", ["koed", "koed-worker"])
def test_the_unit_is_understood_and_hardened(name: str, tmp_path: Path, program: Path) -> None:
    unit = write_unit(tmp_path, name, program, program.parent)
    # Without --recursive-errors an unknown key would only be a warning.
    checked = analyze(tmp_path, "--user", "verify", "--man=no", "--recursive-errors=no", str(unit))
    assert checked.returncode == 0, checked.stderr
    assert "Unknown" not in checked.stderr

    exposure = analyze(
        tmp_path, "security", "--offline=true", f"--threshold={EXPOSURE_LIMIT * 10:.0f}", str(unit)
    )
    assert exposure.returncode == 0, exposure.stdout[-300:]


def test_the_stage_is_watched_and_its_workers_memory_is_its_own_affair() -> None:
    lines = (REPOSITORY / "systemd" / "koed.service.in").read_text().splitlines()
    # The tests below are more impatient, so they would not miss these.
    assert {"WatchdogSec=10", "RestartSec=1", "OOMPolicy=continue", "TimeoutStopSec=5"} <= {*lines}


def test_an_unknown_key_would_be_seen(tmp_path: Path, program: Path) -> None:
    unit = write_unit(tmp_path, "koed", program, program.parent)
    unit.write_text(unit.read_text().replace("RestartSec", "RestartSecs"))
    checked = analyze(tmp_path, "--user", "verify", "--man=no", "--recursive-errors=no", str(unit))
    assert checked.returncode != 0


# --- a real manager --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[systemd_rig.Rig]:
    why = systemd_rig.obstacle()
    if why:
        pytest.skip(f"no systemd --user can be started: {why}")
    folder = tmp_path_factory.mktemp("systemd")
    (folder / "units").mkdir()
    running = systemd_rig.Rig(folder / "units", folder / "manager.log")
    yield running
    running.close()


@pytest.fixture
def unit(
    request: pytest.FixtureRequest, rig: systemd_rig.Rig, program: Path, tmp_path: Path
) -> Iterator[str]:
    """The unit of koed as it is installed, but impatient, and with the stand-in as its program. Its
    watchdog is only where a test is about it: a machine may stand still for a second.

    It writes how each run ended to ``ends``.
    """
    watchdog_s = getattr(request, "param", 60)
    write_unit(
        rig.units, "koed", program, program.parent,
        f"WatchdogSec={watchdog_s}\nRestartSec=100ms\nStandardOutput=append:{tmp_path}/out\n"
        f"ExecStopPost=/bin/sh -c 'echo $$SERVICE_RESULT >>{tmp_path}/ends'\n",
    )  # fmt: skip
    rig.systemctl("daemon-reload")
    yield "koed.service"
    remove_unit(rig)


def remove_unit(rig: systemd_rig.Rig) -> None:
    rig.systemctl("stop", "koed.service", check=False)
    rig.systemctl("reset-failed", "koed.service", check=False)
    shutil.rmtree(rig.units / "koed.service.d")
    (rig.units / "koed.service").unlink()


def test_start_ready_status_and_stop(rig: systemd_rig.Rig, unit: str, tmp_path: Path) -> None:
    rig.systemctl("start", unit)  # returns when READY came, and fails if it does not
    assert rig.show(unit, "ActiveState") == "active"
    assert rig.show(unit, "StatusText") == "3 voices, 1 output"
    assert f"in {tmp_path / ODD_NAME}" in (tmp_path / "out").read_text()
    assert rig.processes(unit) == [sys.executable, "sleep"]

    rig.systemctl("stop", unit)
    assert (tmp_path / "ends").read_text() == "success\n"
    assert not rig.processes(unit)


@pytest.mark.parametrize("unit", [1], indirect=True, ids=["1 s"])
def test_a_daemon_without_progress_is_killed_and_restarted(
    rig: systemd_rig.Rig, unit: str, tmp_path: Path
) -> None:
    rig.systemctl("start", unit)
    first = rig.show(unit, "MainPID")
    rig.systemctl("kill", "--kill-whom=main", "--signal=SIGUSR1", unit)
    deadline = time.monotonic() + 60
    while (pid := rig.show(unit, "MainPID")) in (first, "0"):
        assert time.monotonic() < deadline, "it is not killed, or not restarted"
        time.sleep(0.05)
    rig.wait_for(unit, SubState="running")
    assert pid != first
    # once; if the machine itself made no progress, more often
    assert set((tmp_path / "ends").read_text().splitlines()) == {"watchdog"}
    assert int(rig.show(unit, "NRestarts")) >= 1


@pytest.mark.parametrize("unit", [4], indirect=True, ids=["4 s"])
def test_a_daemon_with_progress_is_left_alone(rig: systemd_rig.Rig, unit: str) -> None:
    rig.systemctl("start", unit)
    first = rig.show(unit, "MainPID")
    started_usec = int(rig.show(unit, "WatchdogTimestampMonotonic"))
    deadline = time.monotonic() + 60
    # Fed all the time; here it has outlived its four seconds of allowed silence.
    while int(rig.show(unit, "WatchdogTimestampMonotonic")) < started_usec + 4_200_000:
        assert time.monotonic() < deadline, "no WATCHDOG=1 arrives"
        time.sleep(0.05)
    assert rig.show(unit, "MainPID") == first


def test_a_daemon_that_falls_over_is_restarted(
    rig: systemd_rig.Rig, unit: str, tmp_path: Path
) -> None:
    rig.systemctl("start", unit)
    for fall, signal_name in enumerate(("SIGUSR2", "SIGKILL"), start=1):
        rig.systemctl("kill", "--kill-whom=main", f"--signal={signal_name}", unit)
        rig.wait_for(unit, NRestarts=str(fall), SubState="running")
    assert (tmp_path / "ends").read_text() == "exit-code\nsignal\n"
    # What they had started is gone with them.
    assert rig.processes(unit) == [sys.executable, "sleep"]


# --- koed itself -----------------------------------------------------------------------------

BIN = Path(sys.executable).parent


@pytest.fixture
def koed_unit(rig: systemd_rig.Rig, tmp_path: Path) -> Iterator[str]:
    """The unit of koed with koed in it: a tone voice, no sound server, folders of its own."""
    (tmp_path / "voices").mkdir()
    (tmp_path / "voices" / "beep.yaml").write_text("engine: tone\nlang: en\n")
    (tmp_path / "koed.yaml").write_text(
        "voice: beep\nprofiles: voices\naudio: {device: 'null'}\nlog: {format: human}\n"
    )
    folders = " ".join(
        f"{name}={tmp_path}/{name}"
        for name in ("KOED_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    )
    write_unit(
        rig.units, "koed", BIN / "koed", tmp_path,
        f"WatchdogSec=6\nEnvironment={folders}\n"
        f"StandardOutput=append:{tmp_path}/out\nStandardError=append:{tmp_path}/out\n"
        f"ExecStopPost=/bin/sh -c 'echo $$SERVICE_RESULT >>{tmp_path}/ends'\n",
    )  # fmt: skip
    rig.systemctl("daemon-reload")
    yield "koed.service"
    remove_unit(rig)


def koe(tmp_path: Path, *arguments: str) -> str:
    environ = os.environ | {"KOED_RUNTIME_DIR": str(tmp_path / "KOED_RUNTIME_DIR")}
    done = subprocess.run(
        [str(BIN / "koe"), *arguments],
        env=environ, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + (tmp_path / "out").read_text()
    return done.stdout


def test_koed_is_watched_by_its_progress(
    rig: systemd_rig.Rig, koed_unit: str, tmp_path: Path
) -> None:
    rig.systemctl("start", koed_unit, check=False)
    assert rig.show(koed_unit, "ActiveState") == "active", (tmp_path / "out").read_text()
    assert rig.show(koed_unit, "StatusText") == "speaking as beep"
    koe(tmp_path, "say", "--wait", "one")  # READY meant: it can speak
    rig.systemctl("reload", koed_unit)
    first = rig.show(koed_unit, "MainPID")

    # Stopped, it makes no progress: nothing but the watchdog can help.
    rig.systemctl("kill", "--kill-whom=main", "--signal=SIGSTOP", koed_unit)
    rig.wait_for(koed_unit, NRestarts="1", SubState="running")
    assert (tmp_path / "ends").read_text() == "watchdog\n"
    assert rig.show(koed_unit, "MainPID") != first
    koe(tmp_path, "say", "--wait", "two")

    rig.systemctl("stop", koed_unit)
    assert (tmp_path / "ends").read_text() == "watchdog\nsuccess\n"
    assert not rig.processes(koed_unit)
    assert not (tmp_path / "KOED_RUNTIME_DIR" / "control").exists()


# --- the installer ---------------------------------------------------------------------------


def make_service(tmp_path: Path, *arguments: str, path: str = "") -> tuple[int, str]:
    """scripts/service.py with a systemctl that only writes down how it was called."""
    tools = tmp_path / "tools"
    if not tools.exists():
        tools.mkdir()
        (tools / "systemctl").write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\n')
        (tools / "systemctl").chmod(0o755)
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / "service.py"), *arguments],
        env={"PATH": path or str(tools), "XDG_CONFIG_HOME": str(tmp_path / "config")},
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_install_and_uninstall(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "systemd" / "user"
    code, said = make_service(tmp_path, "install")
    assert (code, sorted(p.name for p in folder.iterdir())) == (0, ["koed.service"]), said
    assert f'ExecStart="{REPOSITORY}/.venv/bin/koed" run' in (folder / "koed.service").read_text()
    assert make_service(tmp_path, "install", "--worker")[0] == 0

    code, said = make_service(tmp_path, "uninstall")
    assert code == 0, said
    assert not list(folder.iterdir())
    assert (tmp_path / "calls").read_text().splitlines() == [
        "--user daemon-reload",
        "--user enable koed.service",
        "--user daemon-reload",
        "--user enable koed-worker.service",
        "--user disable --now koed.service koed-worker.service",
        "--user daemon-reload",
    ]
    assert make_service(tmp_path, "uninstall")[0] == 0


def test_a_dry_run_touches_nothing(tmp_path: Path) -> None:
    code, said = make_service(tmp_path, "install", "--dry")
    assert code == 0
    assert "ExecStart=" in said
    assert "systemctl --user enable koed.service" in said
    assert not (tmp_path / "config").exists()
    assert not (tmp_path / "calls").exists()


def test_a_machine_without_systemd_is_told_so(tmp_path: Path) -> None:
    code, said = make_service(tmp_path, "install", path=str(tmp_path / "nothing"))
    assert code == 1
    assert "no systemd" in said


@pytest.mark.parametrize(
    "bad", ['/a "b"/koed', "/a\\b/koed", "/it's/koed", "/a\nb/koed", "/a*/koed"]
)
def test_a_path_that_systemd_would_refuse(bad: str) -> None:
    with pytest.raises(ValueError, match="path"):
        service.render(REPOSITORY / "systemd" / "koed.service.in", bad, "/")
