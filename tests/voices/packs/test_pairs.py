"""Who belongs together, told by what files are, are called and where they lie."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from koed.engine.gpt_sovits.checkpoints.checkpoint import ModelInfo
from koed.voices.packs.items import Item
from koed.voices.packs.pairs import WeightFile, last_epochs, paired


def weights(*paths: str) -> list[WeightFile]:
    """``s1`` of .ckpt and ``s2`` of .pth; the version stands behind ``=``."""
    made = []
    for each in paths:
        path, _, version = each.partition("=")
        item = Item(PurePosixPath(path), 1)
        symbols = "v1" if version == "v1" else "v2"
        kind = "s1" if path.endswith(".ckpt") else "s2"
        info = ModelInfo("s1", symbols=symbols) if kind == "s1" else (
            ModelInfo("s2", version or "v2", symbols)
        )  # fmt: skip
        made.append(WeightFile(item, info))
    return made


def pairs(*paths: str, together: tuple[str, ...] = ()) -> dict[str, tuple[str, str]]:
    config = [frozenset(map(PurePosixPath, together))] if together else []
    found, _ = paired(weights(*paths), config, "pack")
    return {each.title: (str(each.t2s.path), str(each.sovits.path)) for each in found}


def left_out(*paths: str) -> dict[str, str]:
    return dict(paired(weights(*paths), [], "pack")[1])


def test_of_several_epochs_the_last_is_opened() -> None:
    names = [
        "GPT_weights/hana-e5.ckpt", "GPT_weights/hana-e15.ckpt", "GPT_weights/hana-e10.ckpt",
        "SoVITS_weights/hana_e8_s200.pth", "SoVITS_weights/hana_e8_s320.pth",
        "SoVITS_weights_v2/hana_e4_s100.pth", "pretrained_models/s1v3.ckpt", "x/logs/G_23.pth",
        "x/G_2333.pth", "readme.txt",
    ]  # fmt: skip
    kept, passed = last_epochs([Item(PurePosixPath(name), 1) for name in names])
    assert [str(item.path) for item in kept] == [names[1], names[4], names[5]]
    assert dict(passed) == {
        names[0]: "an earlier epoch than hana-e15.ckpt",
        names[2]: "an earlier epoch than hana-e15.ckpt",
        names[3]: "an earlier epoch than hana_e8_s320.pth",
        names[6]: "pretrained_models holds no voices",
        names[7]: "logs holds no voices",
        names[8]: "a state of training",
    }


def test_two_files_are_a_pair_whatever_they_are_called() -> None:
    assert pairs("a.ckpt", "b/c.pth") == {"c": ("a.ckpt", "b/c.pth")}
    assert pairs("花/x-e15.ckpt", "花/e8.pth") == {"x": ("花/x-e15.ckpt", "花/e8.pth")}
    assert list(pairs("e15.ckpt", "e8.pth")) == ["pack"]
    assert list(pairs("花/e15.ckpt", "花/e8.pth")) == ["花"]
    trained = ("GPT_weights/hana-e5.ckpt", "SoVITS_weights/HANA2_e4_s9.pth")
    assert list(pairs(*trained)) == ["HANA2"]


def test_a_whole_gpt_sovits_folder() -> None:
    assert pairs(
        "GPT_weights_v2/hana-e15.ckpt", "GPT_weights_v2/rin-e15.ckpt",
        "GPT_weights_v2Pro/hana-e15.ckpt", "GPT_weights/ken-e5.ckpt=v1",
        "SoVITS_weights_v2/hana_e8_s9.pth", "SoVITS_weights_v2/rin_e8_s9.pth",
        "SoVITS_weights_v2Pro/hana_e8_s9.pth=v2Pro", "SoVITS_weights/ken_e8_s9.pth=v1",
    ) == {
        "hana v2": ("GPT_weights_v2/hana-e15.ckpt", "SoVITS_weights_v2/hana_e8_s9.pth"),
        "rin": ("GPT_weights_v2/rin-e15.ckpt", "SoVITS_weights_v2/rin_e8_s9.pth"),
        "hana v2Pro": ("GPT_weights_v2Pro/hana-e15.ckpt", "SoVITS_weights_v2Pro/hana_e8_s9.pth"),
        "ken": ("GPT_weights/ken-e5.ckpt", "SoVITS_weights/ken_e8_s9.pth"),
    }  # fmt: skip


def test_folders_hold_voices_together() -> None:
    assert pairs("hana/g.ckpt", "hana/s.pth", "rin/g.ckpt", "rin/s.pth") == {
        "g hana": ("hana/g.ckpt", "hana/s.pth"),
        "g rin": ("rin/g.ckpt", "rin/s.pth"),
    }
    assert set(pairs("花/e1.ckpt", "花/e2.pth", "凛/e1.ckpt", "凛/e2.pth")) == {"花", "凛"}


def test_a_configuration_decides() -> None:
    files = ("a-e1.ckpt", "b-e1.ckpt", "c-e1.pth")
    assert pairs(*files) == {}
    assert pairs(*files, together=("b-e1.ckpt", "c-e1.pth")) == {"c": ("b-e1.ckpt", "c-e1.pth")}


@pytest.mark.parametrize(
    ("files", "name", "why"),
    [
        (("a.ckpt", "b.ckpt", "c.pth"), "c.pth", "several GPT files could go with it: a.ckpt"),
        (("c.pth",), "c.pth", "there is no GPT file"),
        (("a.ckpt=v1", "c.pth"), "c.pth", "only one for other phones: a.ckpt"),
        (("a.ckpt", "c.pth=v4"), "c.pth", "koed cannot speak v4 yet"),
        (("a.ckpt", "c.pth=v4"), "a.ckpt", "no SoVITS file goes with it"),
        (("a.ckpt", "a.pth", "b.pth"), "b.pth", "the GPT file a.ckpt is of another name"),
    ],
)
def test_nothing_is_guessed(files: tuple[str, ...], name: str, why: str) -> None:
    assert why in left_out(*files)[name]
