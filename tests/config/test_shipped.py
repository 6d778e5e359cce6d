"""Which of the voices that come with koed are offered, and which is the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from koed.config import daemon, shipped
from koed.config.daemon import Config
from koed.config.profile import load_profile
from koed.config.profile_folder import ProfileFolder


@pytest.fixture(autouse=True)
def _nothing_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(shipped.VARIABLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(shipped, "_LIBRARIES", ("json",))


def state(tmp_path: Path) -> Path:
    return tmp_path / "state/koed"


def begun(tmp_path: Path, configured: bool = False) -> str:
    shipped.begin(state(tmp_path), configured)
    return daemon.load().voice


def test_a_fresh_machine_begins_with_a_natural_voice(tmp_path: Path) -> None:
    assert begun(tmp_path) == begun(tmp_path) == "mia"
    assert shipped.tip(state(tmp_path)) is None


def test_one_that_ran_koed_before_keeps_its_voice_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state(tmp_path).mkdir(parents=True)
    (state(tmp_path) / "state.msgpack").touch()
    assert begun(tmp_path) == "hana"
    assert shipped.tip(state(tmp_path)) == "there are natural voices now: koe voice mia"
    monkeypatch.setattr(shipped, "_LIBRARIES", ("json", "there_is_no_such_library"))
    assert "KOED_VOICE=natural" in (shipped.tip(state(tmp_path)) or "")


def test_so_does_one_with_a_configuration_that_names_no_voice(tmp_path: Path) -> None:
    (tmp_path / "koed.yaml").write_text("greeting: hi\n")
    assert begun(tmp_path, configured=True) == "hana"


def test_what_the_configuration_names_goes_before_all(tmp_path: Path) -> None:
    assert begun(tmp_path) == "mia"
    (tmp_path / "koed.yaml").write_text("voice: hana\n")
    assert daemon.load().voice == "hana"
    (tmp_path / "koed.yaml").write_text("greeting: hi\n")
    assert daemon.load().voice == "mia"


def test_what_somebody_says_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(shipped.VARIABLE, "small")
    assert begun(tmp_path) == "hana"
    monkeypatch.delenv(shipped.VARIABLE)
    assert begun(tmp_path) == "hana"
    assert shipped.tip(state(tmp_path)) is None
    monkeypatch.setenv(shipped.VARIABLE, "natural")
    assert begun(tmp_path) == "mia"
    monkeypatch.delenv(shipped.VARIABLE)
    assert begun(tmp_path) == "mia"


def test_without_what_runs_them_natural_voices_are_not_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    natural = set(shipped.NATURAL_VOICES)
    offered = set(ProfileFolder(shipped.folder()).scan().voices)
    assert natural < offered
    monkeypatch.setattr(shipped, "_LIBRARIES", ("there_is_no_such_library",))
    assert set(ProfileFolder(shipped.folder()).scan().voices) == offered - natural
    assert begun(tmp_path) == "hana"


def test_who_wants_the_small_ones_is_offered_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(shipped.VARIABLE, "small")
    assert not {*shipped.NATURAL_VOICES} & {*ProfileFolder(shipped.folder()).scan().voices}


def test_a_folder_of_ones_own_is_offered_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(shipped.VARIABLE, "small")
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/mia.yaml").write_text("engine: tone\nlang: en\n")
    assert set(ProfileFolder(tmp_path / "profiles").scan().voices) == {"mia"}
    monkeypatch.setenv(shipped.VARIABLE, "natural")
    assert begun(tmp_path) == "hana"


def test_a_state_folder_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    assert begun(tmp_path) == "hana"


def test_every_natural_voice_is_known_here_and_has_an_embedded_one_behind_it() -> None:
    profiles = {path.stem: load_profile(path) for path in shipped.folder().glob("*.yaml")}
    kokoro = {name for name, profile in profiles.items() if profile.engine == "kokoro"}
    assert kokoro == set(shipped.NATURAL_VOICES)
    for name in kokoro:
        assert profiles[profiles[name].fallback or ""].engine == "embedded"
        assert "Apache-2.0" in profiles[name].rights
    assert profiles[shipped.SMALL].engine == "embedded"
    assert Config().voice == shipped.SMALL
