"""The password of obs-websocket: from the environment, a file, or OBS's own settings.

Never from the command line (others see it), never in koed.yaml (it gets shown), never in a log.
It is looked up anew at each attempt to connect: OBS may have been given another one meanwhile.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from koed.config.daemon import Config, resolve
from koed.errors import KoedError

VARIABLE = "KOED_OBS_PASSWORD"
MAX_BYTES = 64 * 1024
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def password(config: Config) -> str | None:
    """What to show to OBS; None = nothing, as an OBS without authentication wants it.

    Raises `KoedError` ``obs_password`` where one was promised and is not there.
    """
    if from_environment():
        return from_environment()
    if config.obs.password_file is not None:
        return from_file(resolve(config, "obs.password_file"))
    if not config.obs.read_obs_settings:
        return None
    if config.obs.host not in LOOPBACK:
        raise _unusable(
            f"read_obs_settings does not help: OBS is on another machine, {config.obs.host}",
            f"give its password as {VARIABLE} or in a password_file",
        )
    folder = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return from_obs(Path.home(), folder if folder.is_absolute() else Path.home() / ".config")


def from_environment() -> str | None:
    return os.environ.get(VARIABLE) or None


def from_file(path: Path) -> str:
    """The first line of a file that nobody else can read. Raises `KoedError` ``obs_password``."""
    try:
        with open(path, "rb", opener=_opened) as file:
            status = os.fstat(file.fileno())  # of what was opened, not of what stands there now
            if not stat.S_ISREG(status.st_mode):
                raise _unusable(f"{path} is not a file")
            if stat.S_IMODE(status.st_mode) & 0o077:
                raise _unusable(
                    f"{path} can be read by others on this machine, so it was not used",
                    f"chmod 600 '{path}'",
                )
            data = file.read(MAX_BYTES)
    except OSError as error:
        raise _unusable(
            f"the password file {path} cannot be read: {error.strerror or error}",
            f"install -m 600 /dev/null '{path}', then write the password into it",
        ) from error
    try:
        first = data.decode("utf-8-sig").splitlines()[0].strip()
    except (UnicodeDecodeError, IndexError):
        first = ""
    if not first:
        raise _unusable(f"{path} has no password in its first line", "write it there, as UTF-8")
    return first


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a named pipe would have OBS waited for, for ever


def from_obs(home: Path, config_home: Path) -> str | None:
    """What OBS itself has written down; None = it asks for none.

    Raises `KoedError` ``obs_password`` where OBS has no settings yet. Both forms are read: the
    plug-in's ``config.json`` of OBS 30 and newer, and the ``global.ini`` of OBS before.
    """
    for folder in _obs_folders(home, config_home):
        for name, read in (
            ("plugin_config/obs-websocket/config.json", _from_json),
            ("global.ini", _from_ini),
        ):
            settings = _text(folder / name)
            found = read(settings) if settings else None
            if found is not None:
                return found or None
    raise _unusable(
        "no password stands in OBS's settings",
        "start OBS once; Tools > WebSocket Server Settings: enable the server, set a password",
    )


def _obs_folders(home: Path, config_home: Path) -> Iterator[Path]:
    yield config_home / "obs-studio"
    yield home / ".var/app/com.obsproject.Studio/config/obs-studio"  # Flatpak
    yield home / "snap/obs-studio/current/.config/obs-studio"


def _text(path: Path) -> str | None:
    try:
        with open(path, "rb", opener=_opened) as file:
            return file.read(MAX_BYTES).decode("utf-8-sig", "replace")
    except OSError:
        return None


def _from_json(text: str) -> str | None:
    """Of ``config.json``; "" = none needed, None = not told here."""
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(settings, dict):
        return None
    if settings.get("auth_required") is False:
        return ""
    password = settings.get("server_password")
    return password if isinstance(password, str) and password else None


def _from_ini(text: str) -> str | None:
    """Of ``global.ini``; "" = none needed, None = not told here."""
    section, found = "", {}
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif section == "OBSWebSocket" and "=" in line:
            key, _, value = line.partition("=")
            found[key.strip()] = value.strip()
    if found.get("AuthRequired", "").lower() == "false":
        return ""
    password = found.get("ServerPassword", "")
    # OBS writes a backslash as two (config-file.c)
    return password.replace("\\\\", "\\") or None


def _unusable(message: str, hint: str = "") -> KoedError:
    return KoedError("obs_password", message, hint)
