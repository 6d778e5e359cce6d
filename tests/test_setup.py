"""The set-up scripts, on machines made of a few stubs: what they install, print and refuse."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rigs.waiting import free_port, wait_for

REPOSITORY = Path(__file__).resolve().parent.parent
TOOLS = "bash cat dirname env flock grep head ln mkdir rm sed sha256sum sort tail timeout touch"


class Machine:
    """A checkout with no .venv, a PATH of our own, and stubs that note how they are called."""

    def __init__(self, folder: Path, checkout: str = "check out") -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.calls = folder / "calls"
        self.root = folder / checkout
        shutil.copytree(REPOSITORY / "scripts", self.root / "scripts")
        for name in ("pyproject.toml", "constraints.txt"):
            shutil.copy(REPOSITORY / name, self.root)
        for tool in TOOLS.split():
            real = shutil.which(tool)
            if real:
                (self.bin / tool).symlink_to(real)
        self.stub("id", 'echo "${KOED_TEST_UID:-0}"')

    def stub(self, name: str, body: str = "", noted: bool = True) -> None:
        note = f'echo "{name} $*" >>"{self.calls}"\n' if noted and name != "id" else ""
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{note}{body}\n")
        path.chmod(0o755)

    def python(self, version: str = "3.11") -> None:
        """A python3 that makes environments of stubs, and has no ensurepip until "installed"."""
        self.stub(
            "python3",
            f"""
case "$*" in
  *version_info*) echo {version} ;;
  *ensurepip*) exit 0 ;;
  *sysconfig*) echo /usr/include/none ;;
  "-m venv .venv")
    mkdir -p .venv/bin
    ln -s "$0" .venv/bin/python
    echo "VIRTUAL_ENV=$PWD/.venv" >.venv/bin/activate ;;
  *"pip --version"*) [ -z "$KOED_TEST_BROKEN_PIP" ] ;;
  *"pip "*"-e ."*)
    mkdir -p .venv/lib/python{version}/site-packages/pyaudio
    touch .venv/lib/python{version}/site-packages/pyaudio/_portaudio.so ;;
esac
""",
            noted=False,
        )

    def everything_there(self) -> None:
        """No package is missing: patterns match, commands are there."""
        for name in ("espeak-ng", "gcc", "node", "npm", "pulseaudio", "pactl", "unshare"):
            self.stub(name)
        system = self.root / "scripts" / "system.sh"
        system.write_text(system.read_text() + "\nneed() { :; }\nneed_command() { :; }\n")

    def setup(self, *goal: str, **environ: str) -> tuple[int, str]:
        bash = str(self.bin / "bash")
        done = subprocess.run(
            [bash, str(self.root / "scripts" / "setup.sh"), *goal],
            env={"PATH": str(self.bin), "KOED_VOICE": "small"} | environ,
            capture_output=True, text=True, check=False, timeout=120, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.python()
    return made


# --- system packages -------------------------------------------------------------------------


def missing_two(machine: Machine) -> None:
    """A system that lacks just these, whatever the machine of the tests has."""
    machine.everything_there()
    system = machine.root / "scripts" / "system.sh"
    system.write_text(
        system.read_text()
        + 'need_for_speech() { missing=(libflite1 espeak-ng); reasons=("English" "the rest"); }\n'
    )


def test_without_rights_it_prints_the_one_command(machine: Machine) -> None:
    missing_two(machine)
    machine.stub("apt-get")
    code, said = machine.setup(KOED_TEST_UID="1000")
    assert code == 1
    assert "sudo apt-get install -y --no-install-recommends libflite1 espeak-ng" in said
    assert "English" in said
    assert "the rest" in said
    assert not machine.called()
    assert not (machine.root / ".venv").exists()


def test_asked_not_to_install_it_does_not(machine: Machine) -> None:
    missing_two(machine)
    machine.stub("apt-get")
    code, said = machine.setup(KOED_NO_INSTALL="1")
    assert code == 1
    assert "libflite1 espeak-ng" in said
    assert not machine.called()


INSTALL = (
    "apt-get -o DPkg::Lock::Timeout=600 -q install -y --no-install-recommends --no-remove"
    " libflite1 espeak-ng"
)


def test_root_installs_and_reads_the_lists_only_if_it_must(machine: Machine) -> None:
    missing_two(machine)
    machine.stub("apt-get")
    code, said = machine.setup()
    assert (code, machine.called()) == (0, [INSTALL]), said

    shutil.rmtree(machine.root / ".venv")
    machine.calls.unlink()
    marker = machine.root / "updated"
    machine.stub("apt-get", f'[[ $* = *update* ]] && touch "{marker}"\n[ -e "{marker}" ]')
    code, said = machine.setup()
    update = "apt-get -o DPkg::Lock::Timeout=600 -q update"
    assert (code, machine.called()) == (0, [INSTALL, update, INSTALL]), said


def test_with_sudo_it_uses_sudo(machine: Machine) -> None:
    missing_two(machine)
    machine.stub("apt-get")
    machine.stub("sudo", '[ "$1" = -n ] && exit 0\n"$@"')
    code, said = machine.setup(KOED_TEST_UID="1000")
    assert code == 0, said
    assert machine.called()[-1] == INSTALL
    assert "with sudo" in said


def test_a_sudo_that_wants_a_password_is_not_asked_without_a_terminal(machine: Machine) -> None:
    missing_two(machine)
    machine.stub("apt-get")
    machine.stub("sudo", "exit 1")
    code, said = machine.setup(KOED_TEST_UID="1000")
    assert code == 1
    assert "Type this" in said
    assert machine.called() == ["sudo -n true"]


def test_apt_that_fails_is_shown(machine: Machine) -> None:
    missing_two(machine)
    machine.stub("apt-get", "echo E: the mirror is down; exit 100")
    code, said = machine.setup()
    assert code == 1
    assert "E: the mirror is down" in said


def test_another_distribution_gets_the_list(machine: Machine) -> None:
    missing_two(machine)
    code, said = machine.setup()
    assert code == 1
    assert "libflite1" in said
    assert "your package manager" in said


def test_nothing_is_forgotten_on_a_bare_machine(machine: Machine) -> None:
    """Every probe of the real script, in a root where no file and no command is found."""
    system = machine.root / "scripts" / "system.sh"
    text = system.read_text()
    assert "compgen -G" in text
    system.write_text(text.replace("compgen -G", "false"))
    for goal, wanted in {
        "run": "libflite1 espeak-ng libasound2-plugins portaudio19-dev libc6-dev python3.11-dev",
        "bench": "gcc",
        "test": "pulseaudio pulseaudio-utils nodejs npm systemd util-linux libflite1",
        "test-pipewire": "pipewire pipewire-bin pipewire-pulse wireplumber dbus",
    }.items():
        code, said = machine.setup(goal, KOED_TEST_UID="1000")
        assert code == 1
        lacks = {
            line.split()[2] for line in said.splitlines() if line.startswith("koed set-up:   ")
        }
        assert set(wanted.split()) <= lacks, said
        # It would take PulseAudio away.
        assert "pipewire-alsa" not in lacks


# --- .venv -----------------------------------------------------------------------------------


def test_the_second_time_nothing_is_done(machine: Machine) -> None:
    machine.everything_there()
    code, said = machine.setup()
    assert code == 0, said
    assert "making .venv" in said
    assert "installing koed[daemon,embedded,metrics,bridges,hotkeys,obs]" in said
    assert "done in" in said
    assert machine.setup() == (0, "")

    code, said = machine.setup("lint")  # more extras: they are added, the rest stays
    assert "making .venv" not in said
    extras = "daemon,embedded,metrics,bridges,hotkeys,obs,demo,gpt-sovits,dev"
    assert f"installing koed[{extras}]" in said
    assert machine.setup() == (0, "")


def test_torch_comes_only_with_measurements_that_need_it(machine: Machine) -> None:
    machine.everything_there()
    for asked, neural in (((), False), (("onset", "stop"), False), (("onset", "engine"), True)):
        code, said = machine.setup("bench", *asked)
        assert code == 0, said
        assert ("gpt-sovits" in said) == neural
    assert machine.setup("bench", "engine", "--profile", "trace.json") == (0, "")


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_list_is_installed_again(machine: Machine, name: str) -> None:
    machine.everything_there()
    machine.setup()
    (machine.root / name).write_text((machine.root / name).read_text() + "# changed\n")
    code, said = machine.setup()
    assert code == 0
    assert "installing koed" in said
    assert "making .venv" not in said


def test_a_moved_checkout_is_noticed(machine: Machine) -> None:
    machine.everything_there()
    machine.setup()
    machine.root = machine.root.rename(machine.root.with_name("elsewhere"))
    code, said = machine.setup()
    assert code == 0
    assert "another folder" in said
    assert "making .venv" in said
    assert machine.setup() == (0, "")


def test_a_new_system_python_is_noticed(machine: Machine) -> None:
    machine.everything_there()
    machine.setup()
    machine.python("3.13")
    code, said = machine.setup()
    assert code == 0
    assert "Python 3.13" in said
    (machine.bin / "python3").rename(machine.bin / "python3.12")  # and one that went away
    code, said = machine.setup()
    assert code == 0, said
    assert "making .venv with python3.12" in said


def test_an_interrupted_set_up_is_done_over(machine: Machine) -> None:
    machine.everything_there()
    whole = (machine.bin / "python3").read_text()
    for broken_off in ('"-m venv .venv")\n', '*"pip "*"-e ."*)\n'):
        (machine.bin / "python3").write_text(whole.replace(broken_off, broken_off + "kill -9 $$\n"))
        assert machine.setup()[0] == 1
    (machine.bin / "python3").write_text(whole)
    assert machine.setup()[0] == 0
    assert machine.setup() == (0, "")


def test_an_environment_made_by_hand_is_kept(machine: Machine) -> None:
    machine.everything_there()
    machine.setup()
    shutil.rmtree(machine.root / ".venv" / ".koed")
    (machine.root / ".venv" / "mine").touch()
    code, _ = machine.setup()
    assert code == 0
    assert (machine.root / ".venv" / "mine").exists()

    shutil.rmtree(machine.root / ".venv" / ".koed")
    code, said = machine.setup(KOED_TEST_BROKEN_PIP="1")
    assert code == 0
    assert "making .venv" in said


@pytest.mark.parametrize("version", ["2.7", "3.9", "3.10"])
def test_an_old_python_is_told(machine: Machine, version: str) -> None:
    machine.python(version)
    code, said = machine.setup()
    assert code == 1
    assert "needs Python 3.11 or newer; python3 is " + version in said
    assert "apt-get install python3.11" in said


def test_a_newer_python_beside_an_old_one_is_found(machine: Machine) -> None:
    machine.everything_there()
    (machine.bin / "python3").rename(machine.bin / "python3.12")
    machine.python("3.9")
    code, said = machine.setup()
    assert code == 0, said
    assert "making .venv with python3.12" in said


def test_no_python_at_all(machine: Machine) -> None:
    (machine.bin / "python3").unlink()
    code, said = machine.setup()
    assert code == 1
    assert "python3 is not there" in said


def test_pip_that_fails_is_shown_and_tried_again(machine: Machine) -> None:
    machine.everything_there()
    whole = (machine.bin / "python3").read_text()
    failing = whole.replace(
        '*"pip "*"-e ."*)\n', '*"pip "*"-e ."*) echo no route to host; exit 1\n'
    )
    (machine.bin / "python3").write_text(failing)
    code, said = machine.setup()
    assert code == 1
    assert "no route to host" in said
    (machine.bin / "python3").write_text(whole)
    assert machine.setup()[0] == 0


REFUSED = (
    "2026-11-30T08:24:25,195 Could not fetch URL http://127.0.0.1:9/hatchling/: connection error:"
    " HTTPConnectionPool(host='127.0.0.1', port=9): Max retries exceeded with url: /hatchling/"
    " (Caused by NewConnectionError('<pip._vendor.urllib3.connection.HTTPConnection object at"
    " 0x7fe93c4dedd0>: Failed to establish a new connection: [Errno 111] Connection refused'))"
    " - skipping"
)
MISLEADING = "ERROR: Cannot install hatchling because these package versions have conflicting"


def test_without_an_index_it_says_so_and_not_what_pip_makes_of_it(machine: Machine) -> None:
    machine.everything_there()
    whole = (machine.bin / "python3").read_text()
    stub = f"""*"pip "*"install -c"*)
    echo "{REFUSED}" >>build/pip.log
    [ -z "$KOED_TEST_ANSWERS" ] ||
      echo "2026-11-30T08:24:26,000 Fetched page https://index.example/simple/x/" >>build/pip.log
    echo "{MISLEADING}"; exit 1 ;;\n"""
    (machine.bin / "python3").write_text(
        whole.replace('  *"pip "*"-e ."*)\n', f'  {stub}  *"pip "*"-e ."*)\n')
    )
    code, said = machine.setup()
    assert code == 1
    assert "http://127.0.0.1:9: Connection refused" in said
    assert "the set-up ends here" in said
    assert "PIP_INDEX_URL" in said
    assert "conflicting" not in said
    code, said = machine.setup(KOED_TEST_ANSWERS="1")  # one of two: it may be the reason, or not
    assert code == 1
    assert "http://127.0.0.1:9: Connection refused" in said
    assert "conflicting" in said
    assert "the set-up ends here" not in said


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"PIP_INDEX_URL": "http://me:secret@127.0.0.1:{port}/simple"}, "Connection refused"),
        ({"https_proxy": "http://127.0.0.1:{port}"}, "its proxy: Connection refused"),
        ({"PIP_INDEX_URL": "http://index.example/simple"}, "it is no https, and not asked"),
    ],
)
def test_what_a_real_pip_reaches_is_read_from_its_log(
    tmp_path: Path, environ: dict[str, str], said: str
) -> None:
    (tmp_path / "build").mkdir()
    ours = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    nobody = free_port()
    done = subprocess.run(
        [
            "bash", "-c", f'. "{REPOSITORY}/scripts/pip.sh"; '
            'run_pip "$0" install --target here koed-wants==1 2>&1; say_unreached echo; offline',
            sys.executable,
        ],
        env=ours
        | {"HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0"}
        | {name: value.format(port=nobody) for name, value in environ.items()},
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    _, _, told = done.stdout.partition("pip could not reach:")
    assert said in told
    assert "secret" not in told


# --- the natural voice -----------------------------------------------------------------------


def python_stub(machine: Machine, case: str) -> str:
    """Puts a case before those of the stub, and returns what stood there."""
    path = machine.bin / "python3"
    whole = path.read_text()
    path.write_text(whole.replace('case "$*" in\n', f'case "$*" in\n{case}\n', 1))
    return whole


@pytest.mark.parametrize("goal", ["run", "bench voices"])
def test_the_natural_voice_is_announced_and_comes_last(machine: Machine, goal: str) -> None:
    machine.everything_there()
    code, said = machine.setup(*goal.split(), KOED_VOICE="natural")
    assert code == 0, said
    base, licence = said.index("installing koed["), said.index("Apache-2.0 (hexgrad)")
    assert base < licence < said.index("installing it")
    assert "about 100 MB" in said
    assert machine.setup(*goal.split(), KOED_VOICE="natural") == (0, "")


@pytest.mark.parametrize("goal", ["demo", "bench", "proof", "bench onset"])
def test_what_does_not_need_it_does_not_fetch_it(machine: Machine, goal: str) -> None:
    machine.everything_there()
    code, said = machine.setup(*goal.split(), KOED_VOICE="natural")
    assert code == 0, said
    assert "natural" not in said


def test_a_small_voice_sets_up_nothing_of_it(machine: Machine) -> None:
    machine.everything_there()
    code, said = machine.setup()
    assert code == 0, said
    assert "natural" not in said
    assert machine.setup(KOED_VOICE="") == (0, "")  # it is remembered
    shutil.rmtree(machine.root / ".venv")
    assert "natural" not in machine.setup(KOED_VOICE="")[1]
    code, said = machine.setup(KOED_VOICE="natural")
    assert code == 0
    assert "the natural voice comes next" in said
    assert "installing koed[" not in said
    code, said = machine.setup(KOED_VOICE="smal")
    assert code == 1
    assert "KOED_VOICE is natural or small, not 'smal'" in said
    assert machine.setup(KOED_VOICE="") == (0, "")


def test_a_fresh_checkout_gets_it_and_one_from_before_does_not(machine: Machine) -> None:
    machine.everything_there()
    assert "the natural voice comes next" in machine.setup(KOED_VOICE="")[1]
    (machine.root / ".venv/.koed/natural").unlink()
    for nothing in ("", "smal\n"):
        (machine.root / "build" / "voice").write_text(nothing)
        assert machine.setup(KOED_VOICE="") == (0, "")
        assert (machine.root / "build" / "voice").read_text() == "small\n"


def test_a_set_up_that_failed_decided_nothing(machine: Machine) -> None:
    machine.everything_there()
    whole = python_stub(machine, '*"pip "*"-e ."*) exit 1 ;;')
    assert machine.setup(KOED_VOICE="small")[0] == 1
    (machine.bin / "python3").write_text(whole)
    assert "the natural voice comes next" in machine.setup(KOED_VOICE="")[1]


def test_the_tests_come_first_and_the_voice_is_there_all_the_same(machine: Machine) -> None:
    machine.everything_there()
    assert "the natural voice comes next" in machine.setup("test", KOED_VOICE="")[1]
    assert "natural" not in machine.setup(KOED_VOICE="")[1]
    assert (machine.root / "build" / "voice").read_text() == "natural\n"


WITHOUT = {
    "gone": ('*misaki*) echo "ERROR: No matching distribution found for misaki"; exit 1 ;;',
             "No matching distribution found for misaki."),
    "offline": (f'*misaki*) echo "{REFUSED}" >>build/pip.log; echo "{MISLEADING}"; exit 1 ;;',
                "http://127.0.0.1:9: Connection refused."),
    "slow": ("*natural*) exit 124 ;;", "longer than 300 s"),
    "full": ("*natural*) echo \"ERROR: [Errno 28] No space left on device\"; exit 1 ;;",
             "No space left on device."),
}  # fmt: skip


@pytest.mark.parametrize("how", WITHOUT)
def test_without_the_natural_voice_koed_starts_all_the_same(machine: Machine, how: str) -> None:
    machine.everything_there()
    case, reason = WITHOUT[how]
    whole = python_stub(machine, case)
    for _ in range(2):
        code, said = machine.setup(KOED_VOICE="natural")
        assert code == 0, said
        lines = [line for line in said.splitlines() if "no natural voice yet" in line]
        assert said.splitlines()[-1:] == lines
        assert reason in lines[0]
        assert "koed speaks with its embedded voices, the next make tries again" in lines[0]
    code, said = machine.setup("test")
    assert code == 1
    assert "the tests need the natural voice's own model" in said
    (machine.bin / "python3").write_text(whole)
    assert machine.setup(KOED_VOICE="natural")[0] == 0
    assert machine.setup(KOED_VOICE="natural") == (0, "")


def test_a_full_disk_is_not_filled_further(machine: Machine) -> None:
    machine.everything_there()
    machine.stub("df", "echo Avail; echo 499M")
    code, said = machine.setup(KOED_VOICE="natural")
    assert code == 0
    assert "less than 500 MB of room. koed speaks with its embedded voices" in said
    machine.stub("df", "echo Avail; echo 500M")
    assert "no natural voice" not in machine.setup(KOED_VOICE="natural")[1]
    assert machine.setup(KOED_VOICE="natural") == (0, "")


# --- another system --------------------------------------------------------------------------


class Maker(Machine):
    """A machine whose ``make test-debian13`` gets as far as the namespaces."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for tool in ["git", "mktemp", "realpath", "rm", "setsid", "sleep", "sort", "tail"]:
            (self.bin / tool).unlink(missing_ok=True)
            (self.bin / tool).symlink_to(shutil.which(tool) or tool)
        self.everything_there()
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.stub("apt-get", "echo http://mirror.example/debian/")
        self.stub("apt-helper")
        self.stub("df", "echo Avail; echo 20")
        self.stub("unshare", f'[ "${{@: -1}}" = true ] || {{ >"{folder}/began"; exec sleep 600; }}')

    def start(self) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(
            [str(self.bin / "bash"), str(self.root / "scripts" / "debian13.sh")],
            env={
                "PATH": str(self.bin), "HOME": str(self.temporary.parent),
                "TMPDIR": str(self.temporary),
            },
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        return self.process


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[Maker]:
    made = Maker(tmp_path)
    yield made
    with contextlib.suppress(ProcessLookupError):
        os.killpg(made.process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ({"id": "echo 1000"}, "only root"),
        ({"apt-get": None}, "neither Debian nor Ubuntu"),
        ({"unshare": "exit 1"}, "namespaces cannot be made here"),
        ({"df": "echo Avail; echo 3"}, "less than 14 GB"),
        ({"apt-helper": "exit 1"}, "none of this machine's package mirrors has Debian 13"),
    ],
)
def test_where_no_debian_can_be_made_it_says_why_in_a_line(
    maker: Maker, lacking: dict[str, str | None], said: str
) -> None:
    for name, body in lacking.items():
        if body is None:
            (maker.bin / name).unlink()
        else:
            maker.stub(name, body)
    process = maker.start()
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert len(printed.splitlines()) == 1, printed
    assert said in printed
    assert not list(maker.temporary.iterdir())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_debian_leaves_nothing(maker: Maker, how: signal.Signals) -> None:
    process = maker.start()
    wait_for(lambda: (maker.temporary.parent / "began").exists(), what="it is being made")
    assert [path.name for path in maker.temporary.glob("*/*")] != []
    process.send_signal(how)
    printed, _ = process.communicate(timeout=120)  # what it started is gone too: the pipe is closed
    assert process.returncode == 128 + how, printed
    assert not list(maker.temporary.iterdir())


# --- the rest --------------------------------------------------------------------------------


def test_help_is_the_default_and_needs_nothing(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    done = subprocess.run(
        ["make", "-s"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    for target in (
        "run",
        "demo",
        "bench",
        "install-service",
        "test",
        "test-pipewire",
        "test-debian13",
        "lint",
    ):
        assert f"make {target} " in done.stdout


def test_constraints_name_versions_and_no_places() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    assert pinned
    for line in pinned:
        name, version = line.split("==")
        assert name
        assert version
        assert "/" not in line


def test_every_dependency_is_pinned_as_it_is_here() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wanted = project["build-system"]["requires"] + project["project"]["dependencies"]
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pinned = dict(line.lower().replace("_", "-").split("==") for line in lines if "==" in line)
    for line in wanted:
        name = re.split(r"[^\w.-]", line)[0].lower().replace("_", "-")
        assert name in pinned, f"{name}: make constraints.txt anew (its first lines say how)"
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # an extra not used here
            installed = importlib.metadata.version(name).split("+")[0]  # 2.13.0+cpu is 2.13.0
            assert installed == pinned[name], name


def test_scripts_are_programs() -> None:
    for name in ("scripts/setup.sh", "scripts/debian13.sh", "scripts/check_package.sh", ".ci/run"):
        assert os.access(REPOSITORY / name, os.X_OK), name
        subprocess.run(["bash", "-n", str(REPOSITORY / name)], check=True)
