"""Where OBS's password comes from, and where it never shows."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from koed.config.daemon import Config, dump, load
from koed.config.obs import ObsConfig
from koed.errors import ConfigError, KoedError
from koed.integrations.obs.password import VARIABLE, password

SECRET = "s3cret, \\ and 声"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path


def config(**obs: object) -> Config:
    return replace(Config(), obs=ObsConfig(**obs))  # type: ignore[arg-type]


def test_none_where_nothing_is_said(home: Path) -> None:
    write(home / ".config/obs-studio/global.ini", "[OBSWebSocket]\nServerPassword=x\n")
    assert password(config()) is None, "OBS's settings are read with consent only"


def test_the_environment_comes_first_and_is_read_anew(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = config(password_file=str(home / "missing"))
    monkeypatch.setenv(VARIABLE, SECRET)
    assert password(asked) == SECRET
    monkeypatch.setenv(VARIABLE, "another")
    assert password(asked) == "another"


def test_a_pipe_is_not_waited_for(home: Path) -> None:
    pipe = home / "pipe"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(KoedError, match="is not a file"):
        password(config(password_file=str(pipe)))


def test_a_file_that_others_can_read_is_refused_with_the_command(home: Path) -> None:
    path = write(home / "obs password", SECRET + "\nsecond line\n")
    asked = config(password_file=str(path))
    path.chmod(0o600)
    assert password(asked) == SECRET
    for mode in (0o640, 0o604, 0o644, 0o660):
        path.chmod(mode)
        with pytest.raises(KoedError) as caught:
            password(asked)
        assert caught.value.code == "obs_password"
        assert caught.value.hint == f"chmod 600 '{path}'"
        assert SECRET not in str(caught.value)
    assert SECRET not in dump(asked)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00", None])
def test_a_file_without_a_password_is_said(home: Path, content: bytes | None) -> None:
    path = home / "password"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(KoedError) as caught:
        password(config(password_file=str(path)))
    assert caught.value.code == "obs_password"
    assert caught.value.hint


def test_the_password_is_no_key_of_the_configuration(tmp_path: Path) -> None:
    path = write(tmp_path / "koed.yaml", f"obs: {{password: '{SECRET}'}}\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert SECRET not in str(caught.value)


OLD = f"""\ufeff[General]
FirstRun=true
[OBSWebSocket]
ServerEnabled=true
ServerPassword={SECRET.replace(chr(92), chr(92) * 2)}
AuthRequired=true
"""
NEW = {"server_enabled": True, "auth_required": True, "server_password": SECRET}
PLUGIN = "plugin_config/obs-websocket/config.json"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"global.ini": OLD}, SECRET),
        ({"global.ini": OLD.replace("AuthRequired=true", "AuthRequired=false")}, None),
        ({PLUGIN: json.dumps(NEW)}, SECRET),
        ({PLUGIN: json.dumps(NEW), "global.ini": "[OBSWebSocket]\nServerPassword=old\n"}, SECRET),
        ({PLUGIN: json.dumps(NEW | {"auth_required": False}), "global.ini": OLD}, None),
        ({PLUGIN: "[" * 100000, "global.ini": OLD}, SECRET),
        ({PLUGIN: "[]", "global.ini": OLD}, SECRET),
    ],
)
def test_both_forms_of_obs_settings(home: Path, files: dict[str, str], expected: str) -> None:
    for folder in (".config/obs-studio", ".var/app/com.obsproject.Studio/config/obs-studio"):
        for name, text in files.items():
            write(home / folder / name, text)
        assert password(config(read_obs_settings=True)) == expected
        for name in files:
            (home / folder / name).unlink()


def test_obs_settings_that_are_not_there_or_of_another_machine(home: Path) -> None:
    for asked in (config(read_obs_settings=True), config(read_obs_settings=True, host="10.0.0.2")):
        with pytest.raises(KoedError) as caught:
            password(asked)
        assert caught.value.code == "obs_password"
        assert caught.value.hint


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
