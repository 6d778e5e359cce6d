"""What `koed voices show` tells of a natural voice."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from koed.cli.show_voice import describe
from koed.config.profile import Profile, Reference, load_profile
from koed.engine.gpt_sovits.store.store import Store


@pytest.fixture
def natural(tmp_path: Path) -> Profile:
    path = tmp_path / "yuki.yaml"
    path.write_text("engine: tone\nlang: ja\nrights: as its table says\n")
    return dataclasses.replace(load_profile(path), engine="kokoro")


def told(profile: Profile) -> dict[str, Any]:
    return describe(profile, Store(Path("/nowhere")))


def test_grades_licence_and_credits_of_what_a_natural_voice_is_made_of(natural: Profile) -> None:
    row = told(natural)
    assert row["made_of"] == ["af_heart (en-us, grade A)"]
    assert (row["author"], row["licence"], row["credits"]) == ("hexgrad", "Apache-2.0", [])
    row = told(dataclasses.replace(natural, settings={"voice": {"jm_kumo": 0.3, "jf_alpha": 0.7}}))
    assert row["made_of"] == ["jf_alpha (ja, grade C+)", "jm_kumo (ja, grade C-)"]
    assert ["CC BY 3.0" in credit for credit in row["credits"]] == [True]
    assert told(dataclasses.replace(natural, settings={"voice": 3}))["made_of"] == []


def test_of_a_table_of_ones_own_no_more_is_known_than_its_file(natural: Profile) -> None:
    row = told(dataclasses.replace(natural, reference=Reference(table="yuki.npy")))
    assert row["table"] == "yuki.npy"
    assert "licence" not in row
