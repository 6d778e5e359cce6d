"""A real OBS Studio of one's own, on a screen that nobody sees.

    with ObsStudio() as obs:
        with obs.link() as link:
            link.call("CreateScene", sceneName="Game")
        obs.kill(); obs.start(password="another")
        obs.hang(); obs.go_on()

It has a display, a home and a configuration of its own and takes a free port and a random password.
Without ``environ`` of a sound server it hears nothing: the user's own is out of its sight.
Its websocket server listens at every address of the machine, and OBS knows no way to forbid that.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from koed.errors import KoedError
from koed.integrations.obs.link import Link, OnEvent

START_S = 40.0
ANSWER_S = 20.0
"""A busy machine may hold it up for seconds; who wants to see it hang says how long to wait."""
SAVE_S = 20.0
QUIT_S = 3.0
"""After its scenes are saved; now and then it hangs then."""
PORTS = range(10_000, 30_000)
"""Below those that the system gives to whoever asks for any: ours stays ours while OBS is away."""
LAST_VERSION = 486539266
"""29.0.2: an older number makes OBS greet with a window of news."""

GLOBAL_INI = f"""\
[General]
FirstRun=true
InfoIncrement=99
LastVersion={LAST_VERSION}
EnableAutoUpdates=false
ConfirmOnExit=false
HotkeyFocusType=NeverDisableHotkeys
[Basic]
Profile=koed
ProfileDir=koed
SceneCollection=koed
SceneCollectionFile=koed
[BasicWindow]
SysTrayEnabled=false
WarnBeforeStartingStream=false
WarnBeforeStoppingStream=false
[OBSWebSocket]
FirstLoad=false
ServerEnabled=true
ServerPort=4455
AlertsEnabled=false
AuthRequired=true
ServerPassword=none
"""

PLUGIN_JSON = {
    "first_load": False, "server_enabled": True, "alerts_enabled": False, "auth_required": True,
}  # fmt: skip
"""The last section of the above, as OBS 30.2 has it."""

PROFILE_INI = """\
[General]
Name=koed
[Video]
BaseCX=1280
BaseCY=720
OutputCX=1280
OutputCY=720
FPSType=0
FPSCommon=10
[Audio]
SampleRate=48000
ChannelSetup=Stereo
[Output]
Mode=Simple
"""


class ObsStudio:
    """``environ``: of the sound server that it is to use. Raises `KoedError` ``no_obs``."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        for program in ("obs", "Xvfb"):
            if shutil.which(program) is None:
                raise KoedError("no_obs", f"{program} is not installed", "apt: obs-studio xvfb")
        self.folder = Path(tempfile.mkdtemp(prefix="koed-obs-"))
        self.settings = self.folder / "config" / "obs-studio"
        self.port = 0
        self.password = ""
        self.display = ""
        self._environ = dict(environ or {"PULSE_SERVER": f"unix:{self.folder}/nobody"})
        self._screen: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._write_settings()

    def __enter__(self) -> ObsStudio:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *error: object) -> None:
        self.close()

    # --- its life ----------------------------------------------------------------------------

    def start(self, password: str | None = None) -> ObsStudio:
        """Start it (again: scenes are kept, and so are port and, unless one is given, password)
        and return when it answers."""
        self.password = password or self.password or secrets.token_hex(8)
        again = bool(self.port)
        for attempt in range(3):
            self.port = self.port or free_port()
            self.launch()
            with contextlib.suppress(KoedError):
                return self.wait()
            if again and attempt:
                break
            self.kill()
            self.port = self.port if again else 0
        raise KoedError("no_obs", "OBS did not come up", self.log()[-1500:])

    def launch(self) -> None:
        """Start it and do not wait."""
        self._settle()
        self._show()
        with (self.folder / "obs.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "obs", "--multi", "--disable-updater", "--disable-missing-files-check",
                    "--collection", "koed", "--profile", "koed", "--verbose",
                ],
                env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def exit_status(self) -> int | None:
        """None while it runs; 0 before it did."""
        return self._process.poll() if self._process is not None else 0

    def wait(self) -> ObsStudio:
        """Until it answers; raises `KoedError` ``no_obs`` if it ends or takes `START_S`."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            with contextlib.suppress(KoedError), self.link(timeout_s=5.0) as link:
                # before its first scene is there it answers, but not to this
                link.call("GetCurrentProgramScene")
                return self
            time.sleep(0.05)
        raise KoedError("no_obs", "OBS did not come up", self.log()[-1500:])

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def quit(self) -> None:
        """As when its window is closed: scenes are saved."""
        if self._process is not None:
            before = self._saved()
            self._process.send_signal(signal.SIGINT)  # SIGTERM ends it without a word
            deadline = time.monotonic() + SAVE_S
            while self.running and self._saved() == before and time.monotonic() < deadline:
                time.sleep(0.02)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(QUIT_S)
        self.kill()

    def _saved(self) -> tuple[int, int] | None:
        """Another one whenever it has written its scenes: they come as a new file."""
        with contextlib.suppress(FileNotFoundError):
            told = (self.settings / "basic/scenes/koed.json").stat()
            return told.st_ino, told.st_mtime_ns
        return None

    def hang(self) -> None:
        """It is there, holds its connections, and answers nobody."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self._process.pid}/task")
        while any(_state(task) not in "TZX" for task in tasks.iterdir()):  # it stops a moment later
            time.sleep(0.001)

    def go_on(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        if self._screen is not None:
            self._screen.terminate()  # killed, it leaves a mark that its display is taken
            try:
                self._screen.wait(5.0)
            except subprocess.TimeoutExpired:
                self._screen.kill()
                self._screen.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- what one asks of it -----------------------------------------------------------------

    def link(self, on_event: OnEvent | None = None, timeout_s: float = ANSWER_S) -> Link:
        """A connection of one's own, open; close it, or use it in ``with``."""
        link = Link("127.0.0.1", self.port, self.password, on_event=on_event, timeout_s=timeout_s)
        return link.open(timeout_s)

    def scenes(self, link: Link, *names: str) -> None:
        """Make these scenes where they are missing, and show the first."""
        there = {scene["sceneName"] for scene in link.call("GetSceneList")["scenes"]}
        for name in names:
            if name not in there:
                link.call("CreateScene", sceneName=name)
        link.call("SetCurrentProgramScene", sceneName=names[0])
        self._until(
            lambda: link.call("GetCurrentSceneTransitionCursor")["transitionCursor"] == 1.0,
            "the transition ends",
        )

    @contextlib.contextmanager
    def stream(self, link: Link) -> Iterator[None]:
        """It streams, to a server that throws all away. Needs ffmpeg."""
        port = free_port()
        server = f"rtmp://127.0.0.1:{port}/live"
        sink = subprocess.Popen(
            ["ffmpeg", "-listen", "1", "-i", f"{server}/x", "-f", "null", "-"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            link.call(
                "SetStreamServiceSettings",
                streamServiceType="rtmp_custom",
                streamServiceSettings={"server": server, "key": "x"},
            )
            self._until(lambda: _is_listened_at(port), "ffmpeg listens")
            link.call("StartStream")  # once: OBS crashes if it is asked while it connects
            self._until(lambda: link.call("GetStreamStatus")["outputActive"], "OBS streams")
            yield
            link.call("StopStream")
        finally:
            sink.kill()
            sink.wait()

    def _until(self, condition: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + START_S
        while not condition():
            if time.monotonic() > deadline:
                raise KoedError("no_obs", f"in vain: {what}", self.log()[-1500:])
            time.sleep(0.05)

    def config(self) -> dict[str, object]:
        """The ``obs:`` section of a koed.yaml that finds it; the password goes by the environment
        (`koed_environ`)."""
        return {"enabled": True, "host": "127.0.0.1", "port": self.port}

    def koed_environ(self) -> dict[str, str]:
        return {"KOED_OBS_PASSWORD": self.password}

    def log(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "obs.log").read_text(errors="replace")
        return ""

    def environment(self) -> dict[str, str]:
        """Of the process: nothing of the user's desktop but the path to the programs."""
        run = self.folder / "run"
        run.mkdir(mode=0o700, exist_ok=True)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder / "home"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "XDG_RUNTIME_DIR": str(run),
            "LC_ALL": "C.UTF-8",
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "LP_NUM_THREADS": "1",
            "QT_QPA_PLATFORM": "xcb",
            **{k: v for k, v in self._environ.items() if k.startswith("PULSE_")},
            "DISPLAY": self.display,
        }

    # --- how ---------------------------------------------------------------------------------

    def _write_settings(self) -> None:
        (self.folder / "home").mkdir()
        for path, text in (
            (self.settings / "global.ini", GLOBAL_INI),
            (self.settings / "basic/profiles/koed/basic.ini", PROFILE_INI),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def _settle(self) -> None:
        """Port and password, where this OBS reads them: in ``global.ini``, or from 30.2 on in a
        file of the plug-in's own. Such an OBS takes them out of the former at its first start."""
        path = self.settings / "global.ini"
        text = path.read_text()
        if "\nServerPort=" in text:
            text = re.sub(r"(?m)^ServerPort=.*$", f"ServerPort={self.port}", text)
            text = re.sub(r"(?m)^ServerPassword=.*$", f"ServerPassword={self.password}", text)
        else:
            path = self.settings / "plugin_config/obs-websocket/config.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            access = {"server_port": self.port, "server_password": self.password}
            text = json.dumps(PLUGIN_JSON | access)
        path.write_text(text)

    def _show(self) -> None:
        """The screen: it picks a number that is free and says which."""
        if self._screen is not None:
            return
        reader, writer = os.pipe()
        with (self.folder / "xvfb.log").open("wb") as log:
            self._screen = subprocess.Popen(
                [
                    "Xvfb", "-displayfd", str(writer), "-screen", "0", "1280x800x24",
                    "-nolisten", "tcp", "+extension", "GLX",
                ],
                pass_fds=(writer,), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        os.close(writer)
        with os.fdopen(reader) as said:
            number = said.readline().strip()
        if not number:
            raise KoedError("no_obs", "Xvfb did not start", (self.folder / "xvfb.log").read_text())
        self.display = f":{number}"


def _state(task: Path) -> str:
    """Of a thread: R, S, T (stopped), Z ...; one that has ended counts as stopped."""
    try:
        return (task / "stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2][0]
    except OSError:
        return "T"


def _is_listened_at(port: int) -> bool:
    """Looked up and not tried: whoever binds it for a moment keeps ffmpeg from it, and whoever
    connects is the one guest that it waits for."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)


def free_port() -> int:
    """One that nobody has, and that nobody gets who asks the system for any (see `PORTS`)."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port
