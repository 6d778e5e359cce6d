"""From a file of the natural voice to a profile: what is planned, what is asked, what is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from koed.cli import commands as cli
from koed.config.profile import ProfileFile
from koed.engine.kokoro.shipped import SHIPPED
from koed.engine.kokoro.table_files import read_table
from koed.engine.kokoro.tables import table
from koed.errors import KoedError
from koed.voices.packs import tables

ROWS = np.random.default_rng(3).normal(0, 0.2, (510, 256)).astype(np.float32)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "profiles").mkdir()
    path = tmp_path / "koed.yaml"
    path.write_text("profiles: profiles\n")
    return path


def imported(config: Path, *arguments: Path | str) -> int:
    said = ["voices", "import", *map(str, arguments), "--config", str(config)]
    return cli.main(said)


def profile(config: Path, name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((config.parent / f"profiles/{name}.yaml").read_text())
    assert read.keys() <= ProfileFile.__dataclass_fields__.keys()
    return read


def test_a_table_becomes_a_profile_with_the_numbers_that_it_had(
    config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "jf_Kiko.bin"
    file.write_bytes(ROWS.tobytes())
    assert imported(config, file, "--yes", "--consent", "Kiko, by letter") == 0
    assert profile(config, "jf_kiko") == {
        "engine": "kokoro",
        "lang": "ja",
        "reference": {"table": "jf_kiko.npy"},
        "description": "jf_Kiko",
        "rights": "Kiko, by letter",
    }
    kept = tmp_path / "profiles" / "jf_kiko.npy"
    assert (read_table(kept.read_bytes(), kept.name) == ROWS).all()
    assert sorted(path.name for path in kept.parent.iterdir()) == ["jf_kiko.npy", "jf_kiko.yaml"]


def test_nothing_is_done_before_somebody_agrees(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "mine.npy", ROWS)
    assert imported(config, tmp_path / "mine.npy") == 1
    told = capsys.readouterr().out
    assert "1 voice of the engine kokoro" in told
    assert "language  en, a guess: --lang CODE" in told
    assert "consent   unknown" in told
    assert "nobody was asked" in told
    assert list((tmp_path / "profiles").iterdir()) == []


def test_of_several_voices_each_becomes_one_or_the_one_that_is_wanted(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "all.npz", bm_two=ROWS, zf_one=2 * ROWS)
    assert imported(config, tmp_path / "all.npz", "--only", "zf_one", "--name", "li", "--yes") == 0
    assert profile(config, "li")["lang"] == "zh"
    assert imported(config, tmp_path / "all.npz", "--yes", "--json") == 0
    voices = json.loads(capsys.readouterr().out.splitlines()[-1])["voices"]
    assert [(v["name"], v["lang"]) for v in voices] == [("bm_two", "en-gb"), ("zf_one", "zh")]
    assert Path(voices[0]["profile"]).is_file()


def test_a_voice_is_not_replaced_unless_it_is_said(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "mine.npy", ROWS)
    np.save(tmp_path / "other.npy", -ROWS)
    assert imported(config, tmp_path / "mine.npy", "--yes") == 0
    again = (tmp_path / "other.npy", "--yes", "--name", "mine")
    assert imported(config, *again) == 1
    assert "is there already" in capsys.readouterr().err
    kept = tmp_path / "profiles" / "mine.npy"
    assert (read_table(kept.read_bytes(), "") == ROWS).all()
    kept.unlink()
    assert imported(config, *again) == 1
    assert not kept.exists()
    assert imported(config, *again, "--force") == 0
    assert (read_table(kept.read_bytes(), "") == -ROWS).all()


def test_a_shipped_voice_is_known_again_with_its_licence(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, table("jm_kumo"))
    (voice,) = tables.planned(tables.found([path]))
    assert voice.same_as == "jm_kumo"
    assert voice.rights("") == SHIPPED["jm_kumo"].rights
    assert voice.rights("mine") == "mine"


def test_other_weights_are_left_to_other_engines(tmp_path: Path) -> None:
    for name in ("voice.pth", "voice.safetensors", "readme.txt", "pack.zip"):
        (tmp_path / name).write_bytes(bytes(3 << 20))
        assert tables.found([tmp_path / name]) == {}
    assert tables.found([tmp_path]) == {}
    with (tmp_path / "huge.pth").open("wb") as file:
        file.truncate(1 << 40)
    assert tables.found([tmp_path / "huge.pth"]) == {}


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"only": "c"}, "pack_unknown_voice"),
        ({"name": "x"}, "pack_several"),
        ({"lang": "klingon!"}, "unknown_language"),
    ],
)
def test_what_cannot_be_wished(wish: dict[str, str], code: str) -> None:
    with pytest.raises(KoedError) as error:
        tables.planned({"a": ROWS, "b": ROWS}, **wish)
    assert error.value.code == code


def test_a_bad_table_and_a_voice_that_is_there_twice_are_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.bin").write_bytes(b"x" * 100)
    assert imported(config, tmp_path / "a.bin", "--yes") == 1
    assert "a.bin is no voice of this model" in capsys.readouterr().err
    (tmp_path / "a.pt").write_bytes(b"x" * 100)
    with pytest.raises(KoedError, match="no weight file"):
        tables.found([tmp_path / "a.pt"])
    np.save(tmp_path / "a.npy", ROWS)
    np.savez(tmp_path / "a.npz", ROWS)
    with pytest.raises(KoedError, match="in two of these files"):
        tables.found([tmp_path / "a.npy", tmp_path / "a.npz"])
