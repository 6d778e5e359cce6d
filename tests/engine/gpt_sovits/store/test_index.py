"""What is remembered of the models folder, and what makes a prepared voice stale."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch

from koed.engine.base import ProfileSpec
from koed.engine.gpt_sovits.checkpoints import checkpoint
from koed.engine.gpt_sovits.engine import GptSovitsEngine
from koed.engine.gpt_sovits.store.index import NAME, Index
from koed.engine.gpt_sovits.store.store import Store
from koed.engine.gpt_sovits.voice import fits
from koed.errors import EngineError
from koed.testing import tiny
from tests.engine.gpt_sovits.small import TRANSCRIPT, clip, wav

HUBERT = f"{tiny.HUBERT}/pytorch_model.bin"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("models"))


@pytest.fixture
def folder(tmp_path: Path, whole: Path) -> Path:
    """A v2 pair and HuBERT."""
    for name in (tiny.S1_V2, tiny.S2_V2, HUBERT, f"{tiny.HUBERT}/config.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(whole / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often files were hashed and looked at."""
    counts: Counter[str] = Counter()
    for name in ("sha256", "inspect"):
        real = getattr(checkpoint, name)

        def counted(path: Path, *rest: object, name: str = name, real: object = real) -> object:
            counts[f"{name} {path.name}"] += 1
            return real(path, *rest)  # type: ignore[operator]

        monkeypatch.setattr(checkpoint, name, counted)
    return counts


def flip(path: Path) -> None:
    """Another content of the same size, under the same time."""
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    while path.stat().st_ctime_ns == times.st_ctime_ns:  # which may tick in hundredths
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_file_is_hashed_once_in_its_life(folder: Path, reads: Counter[str]) -> None:
    path = folder / tiny.S1_V2
    first = Index(folder).sha256(path)
    assert Index(folder).sha256(path) == first
    assert reads[f"sha256 {path.name}"] == 1
    flip(path)
    changed = Index(folder).sha256(path)
    assert changed == Index(folder).sha256(path) != first
    assert reads[f"sha256 {path.name}"] == 2


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "files": {"x": [1]}}']
)
def test_an_index_that_cannot_be_read_is_made_anew(folder: Path, content: str) -> None:
    (folder / NAME).write_text(content)
    path = folder / tiny.S1_V2
    assert Index(folder).sha256(path) == checkpoint.sha256(path)
    assert list(json.loads((folder / NAME).read_text())["files"]) == [str(path)]


def test_where_none_can_be_written_all_goes_on(folder: Path) -> None:
    (folder / NAME).mkdir()
    path = folder / tiny.S1_V2
    assert Index(folder).sha256(path) == checkpoint.sha256(path)
    assert not list((folder / NAME).iterdir())
    assert not [p for p in folder.iterdir() if p.name.startswith(NAME) and p.is_file()]


def test_a_scan_looks_at_what_has_changed(folder: Path, reads: Counter[str]) -> None:
    store = Store(folder)
    assert len(store.scan().models) == 1
    before = reads.copy()
    assert before[f"inspect {Path(tiny.S2_V2).name}"] == 1
    store.scan()
    store.part("hubert")
    assert reads == before
    sound = folder / tiny.S2_V2
    sound.write_bytes(sound.read_bytes()[:1000])
    found = store.scan()
    assert not found.models
    assert [path for path, _ in found.refused] == [sound]
    sound.unlink()
    assert not store.scan().refused


def test_a_voice_is_stale_when_what_heard_its_reference_has_changed(
    folder: Path, reads: Counter[str]
) -> None:
    torch.set_num_threads(1)
    engine = GptSovitsEngine(folder, device="cpu")
    said = {"audio": wav(clip()), "transcript": TRANSCRIPT, "lang": "en"}
    made = engine.prepare(ProfileSpec("v", "en", {"guards": "none"}, said))
    engine.load(made)
    assert {count for name, count in reads.items() if name.startswith("sha256")} == {1}
    flip(folder / HUBERT)
    with pytest.raises(EngineError) as caught:
        engine.load(made)
    assert caught.value.code == "stale_voice"
    shutil.rmtree(folder / tiny.HUBERT)  # to speak, nobody needs it
    engine.load(made)
    engine.close()


@pytest.mark.parametrize(
    ("now", "same"),
    [
        ("a/b/", True), ("a//", True), ("a/c/", False), ("x/b/", False), ("a/b/s", False),
        ("a", False),
    ],
)  # fmt: skip
def test_what_is_not_there_now_has_not_changed(now: str, same: bool) -> None:
    assert fits("a/b/", now) is same
