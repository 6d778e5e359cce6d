"""The folder of models: by content, by pair, in and out, and nothing outside of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch

from koed.cli import commands as cli
from koed.engine.gpt_sovits.checkpoints import checkpoint
from koed.engine.gpt_sovits.model.sovits import SoundModel
from koed.engine.gpt_sovits.model.t2s import T2S
from koed.engine.gpt_sovits.store import hub, importing
from koed.engine.gpt_sovits.store.store import Store
from koed.errors import EngineError
from koed.testing import tiny


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("set") / "pretrained_models")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def names(store: Store) -> dict[str, str]:
    """Version by name, of all that can speak."""
    return {model.name: model.version for model in store.scan().models if not model.problem}


def code_of(act: Any) -> str:
    with pytest.raises(EngineError) as caught:
        act()
    return caught.value.code


def every_file(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


# --- what lies there -----------------------------------------------------------------------------


def test_nothing_is_there_and_nothing_is_made(store: Store) -> None:
    found = store.scan()
    assert (found.models, found.parts, found.spare, found.refused) == ((), (), (), ())
    assert not store.folder.exists()


def test_the_official_tree_dropped_by_hand(store: Store, official: Path) -> None:
    shutil.copytree(official, store.folder / "pretrained_models")
    assert names(store) == {
        "pretrained_models": "v1",
        "pretrained_models-gsv-v2final-pretrained": "v2",
        "pretrained_models-v2pro": "v2Pro",
    }
    pro = store.find("pretrained_models-v2pro")
    assert pro.t2s is not None
    assert pro.t2s.path.name == "s1v3.ckpt"  # in the folder above
    assert store.part("hubert").name == "chinese-hubert-base"
    assert store.part("bert").name == "chinese-roberta-wwm-ext-large"
    assert store.part("sv").name == Path(hub.SPEAKER).name
    assert not store.scan().refused


def test_a_linked_tree_is_entered_once(store: Store, official: Path) -> None:
    store.folder.mkdir()
    (store.folder / "linked").symlink_to(official)
    (store.folder / "again").symlink_to(store.folder)
    assert sorted(names(store).values()) == ["v1", "v2", "v2Pro"]
    name = next(name for name in names(store) if name.endswith("v2pro"))
    before = every_file(official)
    assert code_of(lambda: store.remove(name)) == "model_outside"
    assert every_file(official) == before


def test_a_community_pair_whatever_it_is_called(store: Store, official: Path) -> None:
    folder = store.folder / "花 (v3!)"
    folder.mkdir(parents=True)
    shutil.copy(official / hub.S1_V2, folder / "s2G.pth")
    shutil.copy(official / hub.S2_V2, folder / "GPT-e15.ckpt")
    (folder / "readme.txt").write_text("good voice")
    assert names(store) == {"v3": "v2"}


def test_a_name_without_a_latin_letter(store: Store, official: Path) -> None:
    folder = store.folder / "花"
    folder.mkdir(parents=True)
    shutil.copy(official / hub.S1_V1, folder / "花.ckpt")
    shutil.copy(official / hub.S2_V1, folder / "花.pth")
    (name,) = names(store)
    assert name == "model-" + checkpoint.sha256(folder / "花.pth")[:8]


def test_no_s1_is_guessed(store: Store, official: Path) -> None:
    store.folder.mkdir()
    for source, target in (
        (hub.S1_V2, "a.ckpt"), (hub.S1_PRO, "b.ckpt"), (hub.S2_V2, "x.pth"),
    ):  # fmt: skip
        shutil.copy(official / source, store.folder / target)
    (model,) = store.scan().models
    assert "a.ckpt, b.ckpt" in model.problem
    assert code_of(lambda: store.find(model.name)) == "model_unusable"
    (store.folder / "a.ckpt").unlink()
    assert store.find("x").version == "v2"
    (store.folder / "b.ckpt").unlink()
    shutil.copy(official / hub.S1_V1, store.folder)  # for other phones
    assert "no GPT file" in store.scan().models[0].problem
    assert [file.info.kind for file in store.scan().spare] == ["s1"]


def test_equal_names_are_told_apart(store: Store, official: Path) -> None:
    for folder in ("a b", "a-b", "A_B"):
        (store.folder / folder).mkdir(parents=True)
        shutil.copy(official / hub.S1_V2, store.folder / folder)
        shutil.copy(official / hub.S2_V2, store.folder / folder)
    assert sorted(names(store)) == ["a-b", "a-b-2", "a_b"]


def test_damaged_and_hostile_files_are_told_and_hide_nothing(store: Store, official: Path) -> None:
    shutil.copytree(official, store.folder / "official")
    damaged = store.folder / "official" / hub.S2_V1
    damaged.write_bytes(damaged.read_bytes()[:-1000])
    torch.save({"weight": {"a": slice(1)}}, store.folder / "evil.pth")
    assert sorted(names(store).values()) == ["v2", "v2Pro"]
    refused = {path.name: error.code for path, error in store.scan().refused}
    assert refused == {damaged.name: "model_damaged", "evil.pth": "checkpoint_unsafe"}


# --- import --------------------------------------------------------------------------------------


def test_import_makes_a_folder_that_says_all(store: Store, official: Path) -> None:
    model, is_new = store.add(
        [official / hub.S2_PRO, official / hub.S1_PRO], "hana", "CC-BY-4.0", "hana, in writing"
    )
    assert is_new
    assert every_file(store.folder) == {
        Path("hana"), *(Path("hana", n) for n in (importing.CARD, importing.T2S, importing.SOVITS)),
    }  # fmt: skip
    card = json.loads((store.folder / "hana" / importing.CARD).read_text())
    assert (card["version"], card["symbols"]) == ("v2Pro", "v2")
    assert (card["licence"], card["consent"]) == ("CC-BY-4.0", "hana, in writing")
    assert card["sovits"]["source_sha256"] == checkpoint.sha256(official / hub.S2_PRO)
    assert card["sovits"]["dims"]["speaker"] == tiny.SPEAKERS.embedding
    assert model == store.find("hana")
    with safetensors.safe_open(store.folder / "hana" / importing.SOVITS, "pt") as file:
        about = json.loads(file.metadata()["koed"])
    assert about["source_sha256"] == card["sovits"]["source_sha256"]


def test_imported_weights_are_the_same(store: Store, official: Path) -> None:
    model, _ = store.add([official / hub.S1_V1, official / hub.S2_V1])
    assert model.t2s is not None
    for source, target in ((hub.S1_V1, model.t2s.path), (hub.S2_V1, model.sovits.path)):
        before, after = checkpoint.load(official / source), checkpoint.load(target)
        assert before.state.keys() == after.state.keys()
        assert all(torch.equal(before.state[key], after.state[key]) for key in before.state)
        assert before.config == after.config
        assert after.info.source_sha256 == checkpoint.sha256(official / source)
    text = checkpoint.load(model.t2s.path)
    T2S(text.state, text.info.dims["heads"])
    sound = checkpoint.load(model.sovits.path)
    SoundModel.from_state(sound.state, sound.info.upsample_rates)


def test_the_same_pair_again_is_the_same_model(store: Store, official: Path) -> None:
    pair = [official / hub.S1_V2, official / hub.S2_V2]
    first, _ = store.add(pair, licence="MIT")
    again, is_new = store.add(pair[::-1], name="other", consent="me")
    assert not is_new
    assert again.name == first.name
    assert again == store.find(first.name)
    assert (again.card["licence"], again.card["consent"]) == ("MIT", "me")
    assert list(names(store)) == [first.name]


def test_another_pair_of_that_name_is_refused(store: Store, official: Path) -> None:
    store.add([official / hub.S1_V2, official / hub.S2_V2], "hana")
    other = [official / hub.S1_V1, official / hub.S2_V1]
    assert code_of(lambda: store.add(other, "hana")) == "model_exists"
    assert store.find("hana").version == "v2"


@pytest.mark.parametrize("name", ["..", "a/b", "../a", "/tmp/a", ".a", "A", "a b", "a" * 65, "-a"])
def test_names_that_are_none(store: Store, official: Path, name: str) -> None:
    pair = [official / hub.S1_V2, official / hub.S2_V2]
    assert code_of(lambda: store.add(pair, name)) == "bad_name"
    assert not store.folder.exists()


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ([hub.S1_V2], "model_pair"),
        ([hub.S2_V2], "model_pair"),
        ([hub.S1_V2, hub.S1_PRO], "model_pair"),
        ([hub.S1_V2, hub.S2_V2, hub.S2_PRO], "model_pair"),
        ([hub.S1_V1, hub.S2_V2], "model_pair"),
        ([hub.S1_V2, hub.SPEAKER], "model_pair"),
        ([hub.S1_V2, "none"], "model_missing"),
    ],
)
def test_what_is_no_pair(store: Store, official: Path, files: list[str], code: str) -> None:
    assert code_of(lambda: store.add([official / name for name in files])) == code
    assert not store.folder.exists()


def test_a_folder_with_a_pair(store: Store, official: Path) -> None:
    model, _ = store.add([official / "gsv-v2final-pretrained"])
    assert (model.name, model.version) == ("s2g2333k", "v2")


def test_a_failed_import_leaves_nothing(store: Store, official: Path, tmp_path: Path) -> None:
    data = bytearray((official / hub.S2_V2).read_bytes())
    data[len(data) // 2] ^= 0x41  # among the weights
    (tmp_path / "bad.pth").write_bytes(data)
    pair = [official / hub.S1_V2, tmp_path / "bad.pth"]
    assert code_of(lambda: store.add(pair)) == "model_damaged"
    assert every_file(store.folder) == set()
    weights = tiny.weights(tiny.SOUND.shapes())
    weights["enc_p.proj.bias"][3] = np.nan
    tiny.save(tmp_path / "nan.pth", {"weight": weights})
    assert code_of(lambda: store.add([pair[0], tmp_path / "nan.pth"])) == "model_damaged"
    assert every_file(store.folder) == set()


def test_training_weights_are_left_out(store: Store, official: Path, tmp_path: Path) -> None:
    weights = tiny.weights(tiny.SOUND.shapes())
    rest = {"enc_q.pre.bias": np.ones(3, np.float32), "ema.decay": np.full(3, np.inf, np.float32)}
    tiny.save(tmp_path / "x", {"weight": weights | rest})
    model, _ = store.add([official / hub.S1_V2, tmp_path / "x"])
    assert checkpoint.load_state(model.sovits.path).keys() == weights.keys()


def test_a_disk_that_cannot_be_written(store: Store, official: Path) -> None:
    store.folder.parent.mkdir(exist_ok=True)
    store.folder.write_text("a file")
    pair = [official / hub.S1_V2, official / hub.S2_V2]
    assert code_of(lambda: store.add(pair)) == "models_unwritable"


# --- remove --------------------------------------------------------------------------------------


def test_remove_an_imported_model(store: Store, official: Path) -> None:
    store.add([official / hub.S1_V2, official / hub.S2_V2], "a")
    store.add([official / hub.S1_V1, official / hub.S2_V1], "b")
    store.remove("a")
    assert list(names(store)) == ["b"]
    assert not (store.folder / "a").exists()
    assert code_of(lambda: store.remove("a")) == "unknown_model"
    assert code_of(lambda: store.remove("../b")) == "unknown_model"


def test_remove_leaves_what_is_not_the_models(store: Store, official: Path) -> None:
    store.add([official / hub.S1_V2, official / hub.S2_V2], "a")
    (store.folder / "a" / "reference.wav").write_bytes(b"mine")
    store.remove("a")
    assert every_file(store.folder) == {Path("a"), Path("a/reference.wav")}


def test_remove_what_was_dropped_but_not_what_others_need(store: Store, official: Path) -> None:
    shutil.copytree(official, store.folder / "o")
    shutil.copy(official / hub.S2_V2, store.folder / "o" / "v2Pro" / "another.pth")
    gone = store.remove("o-v2pro-s2gv2pro")
    assert [path.name for path in gone] == ["s2Gv2Pro.pth"]  # s1v3 serves the other
    gone = store.remove("o-gsv-v2final-pretrained")
    assert sorted(path.name for path in gone) == sorted(
        Path(name).name for name in (hub.S1_V2, hub.S2_V2)
    )


# --- the command line ----------------------------------------------------------------------------


def koed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = cli.main(["models", "--json", *words])
    return code, json.loads(capsys.readouterr().out)


def test_the_commands(
    official: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    pair = [str(official / hub.S1_V2), str(official / hub.S2_V2)]
    code, row = koed(capsys, "import", *pair, "--name", "hana", "--licence", "MIT")
    assert (code, row["name"], row["new"]) == (0, "hana", True)
    assert (tmp_path / "koed" / "models" / "hana").is_dir()
    code, row = koed(capsys, "list")
    assert [model["name"] for model in row["models"]] == ["hana"]
    code, row = koed(capsys, "show", "hana")
    assert (row["version"], row["licence"]) == ("v2", "MIT")
    assert row["sovits"]["source_sha256"] == checkpoint.sha256(official / hub.S2_V2)
    code, row = koed(capsys, "show", str(official / hub.SPEAKER))
    assert row["kind"] == "sv"
    code, row = koed(capsys, "show", "hama")
    assert (code, row["error"]) == (1, "unknown_model")
    assert "hana" in row["hint"]
    assert koed(capsys, "pull", "v9")[1]["error"] == "unknown_model"
    assert cli.main(["models", "list"]) == 0
    assert "hana" in capsys.readouterr().out
    assert cli.main(["models", "show", "hana", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "hana"
    assert koed(capsys, "remove", "hana")[0] == 0
    assert koed(capsys, "list")[1]["models"] == []


def test_the_commands_do_without_torch(official: Path, tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["torch"] = None
from koed import cli
folder = {str(tmp_path / "m")!r}
pair = [{str(official / hub.S1_V2)!r}, {str(official / hub.S2_V2)!r}]
assert cli.main(["models", "--folder", folder, "import", *pair]) == 0
assert cli.main(["models", "--folder", folder, "list"]) == 0
assert cli.main(["models", "--folder", folder, "remove", "s2g2333k"]) == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
