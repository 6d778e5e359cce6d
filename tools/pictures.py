"""`koed proof --pictures`: the pictures of docs/obs.md, taken of a real OBS at work."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from koed.errors import KoedError
from koed.integrations.obs.link import Link
from koed.testing.rig import rig
from tools import proof
from tools.counterparts.obs import ObsStudio
from tools.counterparts.pulse import PulseServer

MAX_BYTES = 150_000
COLOURS = 64


def make(out: Path, tell: Callable[[str], None] = print) -> None:
    """``obs-window.png``, ``obs-microphone.png`` and ``obs-password.png`` into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    with PulseServer() as sound, ObsStudio(sound.environ) as obs:
        environ = sound.environ | obs.koed_environ()
        with rig(proof.config(obs), proof.profiles(), environ=environ) as running:
            running.wait_ready()
            with obs.link() as link:
                proof.prepare(obs, link)
                proof.set_up(running, environ, tell)
                proof.wait_for_captions(running)
                _click(obs, 320, 640)  # no source is marked in the picture
                running.client.say(proof.FIRST[2])
                time.sleep(1.8)
                _take(obs, out / "obs-window.png")
                _password(obs, out / "obs-password.png")
                _microphone(obs, link, out / "obs-microphone.png")
    for path in sorted(out.glob("obs-*.png")):
        tell(f"{path}: {path.stat().st_size // 1000} kB")


def _microphone(obs: ObsStudio, link: Link, path: Path) -> None:
    link.call("OpenInputPropertiesDialog", inputName=proof.AUDIO)
    time.sleep(1.0)
    _take(obs, path, window=f"Properties for '{proof.AUDIO}'", crop="x60+0+0")


def _password(obs: ObsStudio, path: Path) -> None:
    """Tools > WebSocket Server Settings. The password in it is of this OBS, which is gone soon."""
    _click(obs, 398, 13)
    time.sleep(0.7)
    for key in ("Up", "Return"):
        _key(obs, key)
        time.sleep(0.3)
    time.sleep(1.0)
    _take(obs, path, window="WebSocket")
    _key(obs, "Escape")
    time.sleep(0.5)


def _x(obs: ObsStudio, *command: str) -> str:
    done = subprocess.run(
        command, env=obs.environment(), check=True, capture_output=True, text=True, timeout=30
    )
    return done.stdout


def _click(obs: ObsStudio, x: int, y: int) -> None:
    _x(obs, "xdotool", "mousemove", str(x), str(y), "click", "1")
    time.sleep(0.3)


def _key(obs: ObsStudio, name: str) -> None:
    _x(obs, "xdotool", "key", name)


def _take(obs: ObsStudio, path: Path, window: str = "", crop: str = "") -> None:
    """The whole window of OBS, or another one by a part of its title; few colours, so that it is
    small."""
    target = "root"
    if window:
        target = _x(obs, "xdotool", "search", "--onlyvisible", "--name", window).split()[-1]
    cut = ("-crop", crop, "+repage") if crop else ()
    _x(
        obs, "import", "-window", target, "-bordercolor", "black", "-trim", "+repage", *cut,
        "-strip", "-colors", str(COLOURS), f"png8:{path}",
    )  # fmt: skip
    if path.stat().st_size > MAX_BYTES:
        raise KoedError("picture_large", f"{path} is larger than {MAX_BYTES} bytes")
