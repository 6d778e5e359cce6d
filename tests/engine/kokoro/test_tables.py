"""Voices as tables of styles: those that come with koed, and their blends."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest

from koed.engine.kokoro import shipped
from koed.engine.kokoro.shipped import SHIPPED
from koed.engine.kokoro.tables import blend, table, unpacked
from koed.errors import EngineError
from tools.pack_voices import packed


def test_every_shipped_voice_has_a_table_and_all_are_small() -> None:
    folder = resources.files(shipped.__package__) / "voices"
    files = {file.name: len(file.read_bytes()) for file in folder.iterdir()}
    assert {name for name in files if name.endswith(".xz")} == {f"{name}.xz" for name in SHIPPED}
    assert sum(files.values()) < 500_000
    for name in SHIPPED:
        rows = table(name)
        assert rows.shape == (510, 256)
        assert rows.dtype == np.float32
        assert np.isfinite(rows).all()
        assert 0.1 < rows.std() < 0.3, name


def test_a_voice_is_that_of_its_author() -> None:
    """First numbers of the first row, and of the last."""
    rows = table("af_heart")
    assert rows[0, :3] == pytest.approx([-0.2543, 0.2615, 0.0158], abs=2e-4)
    assert rows[509, -3:] == pytest.approx([-0.3172, 0.0105, 0.1424], abs=2e-4)


def test_no_two_voices_are_alike() -> None:
    rows = np.stack([table(name)[100] for name in SHIPPED])
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=2) + 10 * np.eye(len(rows))
    assert apart.min() > 1


def test_packing_costs_half_precision_and_no_more() -> None:
    rows = table("bf_emma") / np.float32(3)
    assert (unpacked(packed(rows)) == rows.astype(np.float16)).all()


def test_a_table_cannot_be_changed_by_who_uses_it() -> None:
    with pytest.raises(ValueError, match="read-only"):
        table("af_heart")[0] = 0


def test_an_unknown_voice_is_told_with_what_was_meant() -> None:
    with pytest.raises(EngineError, match="no voice 'af_hart'") as error:
        table("af_hart")
    assert error.value.code == "unknown_voice"
    assert error.value.hint == "did you mean 'af_heart'?"


def test_a_blend_is_the_mean_by_weight() -> None:
    heart, alpha = table("af_heart"), table("jf_alpha")
    mixed = blend({"af_heart": 1.4, "jf_alpha": 0.6})
    assert np.allclose(mixed, 0.7 * heart + 0.3 * alpha, atol=1e-6)
    assert (blend({"af_heart": 5}) == heart).all()


def test_credits_are_told_where_a_licence_asks_for_them() -> None:
    assert "grades this voice A." in SHIPPED["af_heart"].rights
    of_koniwa = [name for name, voice in SHIPPED.items() if "CC BY 3.0" in voice.rights]
    assert of_koniwa == ["jf_gongitsune", "jf_nezumi", "jf_tebukuro", "jm_kumo"]
    readme = (resources.files(shipped.__package__) / "voices" / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in SHIPPED)
