"""Weight files: what they are, all of it, and nothing of what hostile ones want."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import hashlib
import io
import json
import os
import pickle
import struct
import sys
import tracemalloc
import types
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from koed.engine.gpt_sovits.checkpoints import (
    checkpoint,
    s1_s2_keys,
    safetensors_writer,
    shared_keys,
)
from koed.engine.gpt_sovits.model.bert import Bert
from koed.engine.gpt_sovits.model.hubert import Hubert
from koed.engine.gpt_sovits.model.sovits import SoundModel
from koed.engine.gpt_sovits.model.t2s import T2S
from koed.engine.gpt_sovits.store import hub
from koed.engine.tensor_files import contents
from koed.errors import EngineError
from koed.testing import tiny
from tests.engine.gpt_sovits.checkpoints import forge
from tests.engine.gpt_sovits.checkpoints.forge import (
    call,
    group,
    mapping,
    number,
    program,
    tensor,
    text,
)

FOUR = np.arange(4, dtype="<f4").tobytes()


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("official"))


def code_of(act: Callable[[], Any]) -> str:
    with pytest.raises(EngineError) as caught:
        act()
    assert caught.value.message
    if caught.value.code != "model_missing":
        assert caught.value.hint, "an error says what to do"
    return caught.value.code


# --- the tables of keys --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "count", "numbers", "digest"),
    [
        (s1_s2_keys.S1(phones=512), 295, 77_493_762, "bd0d95fedfc8339e"),
        (s1_s2_keys.S1(), 295, 77_606_402, "42062984402495b1"),
        (s1_s2_keys.S2(phones=322, bins=1025), 673, 42_352_001, "58b86ceba19ad2d8"),
        (s1_s2_keys.S2(), 673, 42_389_633, "810cd973d8c745bf"),
        (s1_s2_keys.S2(style=1024, speaker=20480), 678, 67_361_921, "029428bcfb5b64e5"),
        (
            s1_s2_keys.S2(style=1024, speaker=20480, dec=768, up_kernels=(20, 16, 8, 2, 2)),
            678,
            86_272_257,
            "d46aa884f0810b55",
        ),
        (shared_keys.Hubert(), 211, 94_371_712, "4e09341cd63cd8d4"),
        (shared_keys.Bert(), 389, 324_472_832, "cf3926d7fb94c06a"),
        (shared_keys.SpeakerKeys(), 1001, 53_588_221, "36e85c77ff5cc2b8"),
    ],
)
def test_tables_are_those_of_the_official_files(
    table: Any, count: int, numbers: int, digest: str
) -> None:
    shapes = table.shapes()
    lines = "\n".join(sorted(f"{key} {list(shape)}" for key, shape in shapes.items()))
    assert (len(shapes), s1_s2_keys.parameters(shapes)) == (count, numbers)
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == digest
    assert type(table).read(s1_s2_keys.Known(shapes, "it")) == table


# --- what a file is ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "version", "symbols"),
    [
        (hub.S1_V1, "s1", "", "v1"),
        (hub.S1_V2, "s1", "", "v2"),
        (hub.S1_PRO, "s1", "", "v2"),
        (hub.S2_V1, "s2", "v1", "v1"),
        (hub.S2_V2, "s2", "v2", "v2"),
        (hub.S2_PRO, "s2", "v2Pro", "v2"),
        (hub.SPEAKER, "sv", "", ""),
        (hub.HUBERT, "hubert", "", ""),
        (hub.BERT, "bert", "", ""),
    ],
)
def test_files_are_known_by_content(
    official: Path, tmp_path: Path, name: str, kind: str, version: str, symbols: str
) -> None:
    nameless = tmp_path / "x"
    nameless.write_bytes(checkpoint.weights_of(official / name).read_bytes())
    info = checkpoint.inspect(nameless)
    assert (info.kind, info.version, info.symbols) == (kind, version, symbols)
    assert info.speaks
    assert info.parameters > 10_000


def test_the_set_depends_on_its_seed_alone(official: Path, tmp_path: Path) -> None:
    again, other = tiny.make(tmp_path / "again"), tiny.make(tmp_path / "other", seed=1)
    for path in (p for p in official.rglob("*") if p.is_file()):
        name = path.relative_to(official)
        assert (again / name).read_bytes() == path.read_bytes()
    assert (other / hub.S1_V1).read_bytes() != (official / hub.S1_V1).read_bytes()
    assert sum(p.stat().st_size for p in official.rglob("*") if p.is_file()) < 25e6


@pytest.mark.parametrize("name", [hub.S1_V1, hub.S1_V2, hub.S1_PRO])
def test_the_set_is_read_by_the_ar_model(official: Path, name: str) -> None:
    loaded = checkpoint.load(official / name)
    model = T2S(loaded.state, loaded.info.dims["heads"])
    state = model.new_state(1, 64)
    logits = model.prefill(state, 0, torch.arange(9), None, torch.arange(7))
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", [hub.S2_V1, hub.S2_V2, hub.S2_PRO])
def test_the_set_is_read_by_the_sound_model(official: Path, name: str) -> None:
    loaded = checkpoint.load(official / name)
    model = SoundModel.from_state(loaded.state, loaded.info.upsample_rates)
    speakers = [torch.ones(1, loaded.info.dims["speaker"])] if model.needs_speaker else []
    style = model.style([torch.ones(1, 1025, 20)], speakers)
    wave = model.synthesize(torch.arange(6), torch.arange(5), style)
    assert wave.shape == (6 * 1280,)
    assert 1e-3 < wave.std() < 1


def test_the_set_is_read_by_hubert_and_bert(official: Path) -> None:
    assert torch.isfinite(Hubert.load(official / hub.HUBERT)(torch.ones(8000))).all()
    features = Bert.load(official / hub.BERT).features([("你好", [2, 1])])
    assert features[0].shape == (1024, 3)


def test_pro_plus_is_told_by_its_generator(tmp_path: Path) -> None:
    table = dataclasses.replace(tiny.SOUND, style=64, speaker=2560, up_kernels=(20, 16, 8, 2, 2))
    tiny.save(tmp_path / "x", {"weight": tiny.weights(table.shapes())}, "05")
    assert checkpoint.inspect(tmp_path / "x").version == "v2ProPlus"


def test_v3_v4_and_lora_are_told(tmp_path: Path) -> None:
    cfm = {"cfm.estimator.x": np.zeros(3, np.float32), "ref_enc.x": np.zeros(3, np.float32)}
    lora = {"cfm.base_model.model.x.to_q.lora_A.default.weight": np.zeros((2, 3), np.float32)}
    for mark, version in (("02", "v3"), ("03", "v3"), ("04", "v4"), ("", "v3/v4")):
        tiny.save(tmp_path / "full", {"weight": cfm}, mark)
        tiny.save(tmp_path / "lora", {"weight": lora, "lora_rank": 2}, mark)
        info = checkpoint.inspect(tmp_path / "full")
        assert (info.kind, info.version, info.speaks) == ("s2", version, False)
        info = checkpoint.inspect(tmp_path / "lora")
        assert (info.kind, info.version, info.speaks) == ("lora", version, False)


@pytest.mark.parametrize("mark", ["00", "01", "02", "03", "04", "05", "06"])
def test_bytes_in_the_place_of_the_zips_mark_are_put_back(tmp_path: Path, mark: str) -> None:
    weights = tiny.weights(tiny.SOUND.shapes())
    tiny.save(tmp_path / "x", {"weight": weights}, mark)
    assert (tmp_path / "x").read_bytes()[:2] == mark.encode()
    state = checkpoint.load_state(tmp_path / "x")
    assert all(np.array_equal(state[key].numpy(), weights[key]) for key in weights)
    assert checkpoint.inspect(tmp_path / "x").version == "v2"  # what is in it counts


@pytest.fixture
def hparams() -> Iterator[type]:
    """The trainer's class, where its pickles look for it."""
    module = types.ModuleType("utils")

    class HParams:
        def __init__(self, **values: Any) -> None:
            vars(self).update(values)

    HParams.__module__, HParams.__qualname__ = "utils", "HParams"
    module.HParams = HParams  # type: ignore[attr-defined]
    sys.modules["utils"] = module
    yield HParams
    del sys.modules["utils"]


def test_fine_tuned_files_with_nested_hparams(tmp_path: Path, hparams: type) -> None:
    weights = tiny.half(tiny.weights(tiny.SOUND.shapes()))
    inner = hparams(upsample_rates=[5, 16, 2, 2, 2], version="v4")
    config = hparams(model=inner, data=hparams(sampling_rate=32000), name="hana")
    tiny.save(tmp_path / "x", {"weight": weights, "config": config, "info": "8epoch_400iteration"})
    loaded = checkpoint.load(tmp_path / "x")
    assert loaded.info.version == "v2"
    assert loaded.info.upsample_rates == (5, 16, 2, 2, 2)
    assert loaded.info.info == "8epoch_400iteration"
    assert loaded.config["data"] == {"sampling_rate": 32000}
    assert type(loaded.config["model"]) is dict


def test_torchs_older_format(tmp_path: Path) -> None:
    base = torch.arange(20, dtype=torch.float32)
    state = OrderedDict(
        a=base[3:15].view(3, 4).T, b=torch.ones(3).half(), c=torch.tensor(5), d=base[4:6]
    )
    torch.save({"weight": state}, tmp_path / "x", _use_new_zipfile_serialization=False)
    found = checkpoint.load_state(tmp_path / "x")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) for key in state)
    data = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(data[:-5])
    assert code_of(lambda: checkpoint.load_state(tmp_path / "x")) == "model_damaged"


def test_every_dtype_view_and_module_state(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    state = network.state_dict()  # an OrderedDict with attributes of its own
    kinds = (torch.bfloat16, torch.float64, torch.int8, torch.uint8, torch.int16, torch.int32)
    for place, kind in enumerate((*kinds, torch.bool)):
        state[f"kind{place}"] = torch.arange(4).to(kind)
    base = torch.randn(4, 5)
    state |= {"view": base[1:3, ::2], "turned": base.T, "empty": torch.empty(0, 3)}
    state["parameter"] = torch.nn.Parameter(torch.randn(2))
    torch.save(state, tmp_path / "x")
    found = checkpoint.load_state(tmp_path / "x")
    assert list(found) == list(state)
    assert all(torch.equal(found[key], state[key]) for key in state)
    assert all(found[key].dtype == state[key].dtype for key in state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtype_is_chosen_at_load(official: Path, dtype: torch.dtype) -> None:
    before = checkpoint.load_state(official / hub.SPEAKER)
    after = checkpoint.load_state(official / hub.SPEAKER, dtype)
    assert after["conv1.weight"].dtype == dtype
    assert after["bn1.num_batches_tracked"].dtype == torch.int64
    assert torch.equal(before["conv1.weight"].to(dtype), after["conv1.weight"])


def test_loading_maps_the_file_and_copies_nothing(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(8 << 20)}, tmp_path / "x")
    before = _private_bytes()
    tracemalloc.start()
    state = checkpoint.load_state(tmp_path / "x")
    assert float(state["a"].sum()) == 8 << 20
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert _private_bytes() - before < 8 << 20  # of 32 MB
    state["a"][0] = 5.0  # private: the file stays as it is
    assert float(checkpoint.load_state(tmp_path / "x")["a"][0]) == 1.0


def _private_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


# --- what is missing -----------------------------------------------------------------------------


def _weights(
    change: Callable[[dict[str, Any]], Any], table: s1_s2_keys.S1 | s1_s2_keys.S2
) -> dict[str, Any]:
    state = tiny.weights(table.shapes())
    change(state)
    return {"weight": state}


@pytest.mark.parametrize(
    ("table", "key"),
    [
        (tiny.T2S, "model.h.layers.1.linear2.bias"),
        (tiny.T2S, "model.ar_predict_layer.weight"),
        (tiny.SOUND, "flow.flows.2.enc.res_skip_layers.1.weight_g"),
        (tiny.SOUND, "quantizer.vq.layers.0._codebook.embed"),
        (tiny.SOUND, "dec.resblocks.7.convs2.1.weight_v"),
    ],
)
def test_a_missing_key_is_named(tmp_path: Path, table: Any, key: str) -> None:
    tiny.save(tmp_path / "x", _weights(lambda state: state.pop(key), table))
    with pytest.raises(EngineError, match=key.replace(".", r"\.")) as caught:
        checkpoint.inspect(tmp_path / "x")
    assert caught.value.code == "model_incomplete"


def test_a_key_of_another_shape_is_named(tmp_path: Path) -> None:
    key = "enc_p.mrte.c_post.weight"

    def change(state: dict[str, Any]) -> None:
        state[key] = state[key][:, :-1]

    tiny.save(tmp_path / "x", _weights(change, tiny.SOUND))
    with pytest.raises(EngineError, match=r"c_post.weight \[32, 31, 1\] instead of \[32, 32, 1\]"):
        checkpoint.inspect(tmp_path / "x")


def test_what_only_training_needs_may_be_missing_or_there(tmp_path: Path) -> None:
    def change(state: dict[str, Any]) -> None:
        del state[f"{s1_s2_keys.CODEBOOK}.embed_avg"]
        state["enc_q.pre.weight"] = np.zeros(3, np.float32)

    tiny.save(tmp_path / "x", _weights(change, tiny.SOUND))
    assert checkpoint.inspect(tmp_path / "x").version == "v2"


def test_a_configuration_that_contradicts_the_weights(tmp_path: Path) -> None:
    weights = tiny.weights(tiny.T2S.shapes())
    for said in ({"n_layer": 24}, {"head": 5}, {"head": "2"}, {"vocab_size": 9}):
        tiny.save(tmp_path / "x", {"weight": weights, "config": {"model": said}})
        assert code_of(lambda: checkpoint.inspect(tmp_path / "x")) == "model_mismatch"
    sound = tiny.weights(tiny.SOUND.shapes())
    for rates in ([1, 2], "fast", [10, 8, 2, 2, 0]):
        config = {"model": {"upsample_rates": rates}}
        tiny.save(tmp_path / "x", {"weight": sound, "config": config})
        assert code_of(lambda: checkpoint.inspect(tmp_path / "x")) == "model_mismatch"


def test_s1_without_configuration_has_the_usual_heads(tmp_path: Path) -> None:
    table = dataclasses.replace(tiny.T2S, width=64)
    tiny.save(tmp_path / "x", {"weight": tiny.weights(table.shapes())})
    loaded = checkpoint.load(tmp_path / "x")
    assert loaded.info.dims["heads"] == 2
    T2S(loaded.state, 2)


def test_unknown_phone_tables_are_refused(tmp_path: Path) -> None:
    table = dataclasses.replace(tiny.SOUND, phones=700)
    tiny.save(tmp_path / "x", {"weight": tiny.weights(table.shapes())})
    assert code_of(lambda: checkpoint.inspect(tmp_path / "x")) == "model_mismatch"


def test_other_files_are_told_from_damaged_ones(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    assert code_of(lambda: checkpoint.inspect(path)) == "model_missing"
    assert code_of(lambda: checkpoint.inspect(tmp_path)) == "model_missing"
    cases = {
        b"": "model_damaged",
        b"<html>not found</html>, said the server": "not_weights",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0": "not_weights",
        b"PK\3\4 and no more": "model_damaged",
        b"\x80\x02}q\x00.": "not_weights",
    }
    for data, code in cases.items():
        path.write_bytes(data)
        assert code_of(lambda: checkpoint.inspect(path)) == code
    torch.save({"enc_p.emb_phone.weight": torch.ones(2)}, path)  # of RVC
    assert code_of(lambda: checkpoint.inspect(path)) == "model_unknown"
    torch.save([1, 2], path)
    assert code_of(lambda: checkpoint.inspect(path)) == "model_unknown"


# --- safetensors ---------------------------------------------------------------------------------


def test_packed_files_are_those_of_the_library(official: Path, tmp_path: Path) -> None:
    base = torch.randn(3, 4)
    state = {"a": base.T, "b": torch.ones(3).bfloat16(), "c": torch.tensor(7), "d": base[1]}
    torch.save(state, tmp_path / "x")
    safetensors_writer.pack(
        contents.read(tmp_path / "x"), list(state), tmp_path / "y", {"kind": "é"}
    )
    library = safetensors.torch.load_file(tmp_path / "y")
    ours = checkpoint.load_state(tmp_path / "y")
    for key, value in state.items():
        assert torch.equal(library[key], value)
        assert torch.equal(ours[key], value)
    safetensors.torch.save_file(library, tmp_path / "z")
    assert all(torch.equal(checkpoint.load_state(tmp_path / "z")[k], state[k]) for k in state)


@pytest.mark.parametrize("bad", [torch.tensor([1.0, torch.nan]), torch.tensor([torch.inf])])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_numbers_that_are_none_are_not_packed(
    tmp_path: Path, bad: torch.Tensor, dtype: torch.dtype
) -> None:
    torch.save({"a": bad.to(dtype)}, tmp_path / "x")
    found = contents.read(tmp_path / "x")
    assert (
        code_of(lambda: safetensors_writer.pack(found, ["a"], tmp_path / "y", {}))
        == "model_damaged"
    )


def _safetensors(header: Any, data: bytes = FOUR) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


ENTRY = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<Q", 1 << 62) + b"{}",
        _safetensors({"a": ENTRY}, FOUR[:-1]),
        _safetensors({"a": ENTRY}, FOUR + b"x"),
        _safetensors({"a": ENTRY, "b": ENTRY}),
        _safetensors({"a": {**ENTRY, "shape": [5]}}),
        _safetensors({"a": {**ENTRY, "shape": [-2, -2]}}),
        _safetensors({"a": {**ENTRY, "shape": [2.0, 2]}}),
        _safetensors({"a": {**ENTRY, "shape": [1 << 80, 0], "data_offsets": [-1, -1]}}),
        _safetensors({"a": {**ENTRY, "dtype": "F7"}}),
        _safetensors({"a": {**ENTRY, "data_offsets": [16, 32]}}),
        _safetensors({"a": {"dtype": "F32"}}),
        _safetensors({"a": 5}),
        _safetensors(b'{"a":' * 100_000),
        _safetensors({"a": ENTRY, "__metadata__": {"koed": "no json"}}),
        _safetensors({"a": ENTRY, "__metadata__": {"koed": "[]"}}),
    ],
)
def test_broken_safetensors(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    assert code_of(lambda: checkpoint.load_state(tmp_path / "x")) == "model_damaged"


# --- hostile files -------------------------------------------------------------------------------

OUCH = "touch CANARY"
PYTHON = "__import__('os').system('touch CANARY')"
RUN = call("os system", text(OUCH))

CODE: dict[str, bytes] = {
    "os.system": RUN,
    "posix.system": call("posix system", text(OUCH)),
    "eval": call("builtins eval", text(PYTHON)),
    "exec": call("builtins exec", text(PYTHON)),
    "python 2": call("__builtin__ eval", text(PYTHON)),
    "getattr": call("builtins getattr", b"cos\nenviron\n", text("get")),
    "import": call("builtins __import__", text("os")),
    "subprocess": call("subprocess Popen", group([text("touch"), text("CANARY")])),
    "partial": call("functools partial", b"cos\nsystem\n", text(OUCH)),
    "numpy": call("numpy.core.multiarray _reconstruct", b"cnumpy\nndarray\n", group([number(0)])),
    "numpy 2": call("numpy._core.multiarray _reconstruct", b"cnumpy\nndarray\n", b")"),
    "numpy.load": call("numpy load", text("x.npy")),
    "nested pickle": call("torch.storage _load_from_bytes", b"U\x01."),
    "torch.load": call("torch.serialization load", text("x")),
    "torch.hub": call("torch.hub load", text("x")),
    "torch._utils": call("torch._utils _rebuild_tensor", text("x")),
    "setstate of HParams": forge.HPARAMS + mapping({"model": RUN}) + b"b",
    "arguments of HParams": b"cutils\nHParams\n" + group([RUN]) + b"\x81",
    "calling HParams": call("utils HParams"),
    "state of a class": b"cutils\nHParams\n" + mapping({"__init__": number(1)}) + b"b",
    "state of OrderedDict": b"ccollections\nOrderedDict\n" + mapping({"x": number(1)}) + b"b",
    "state of a list": b"]" + mapping({"append": number(1)}) + b"b",
    "a tuple as state": forge.HPARAMS + group([mapping({}), mapping({"x": number(1)})]) + b"b",
    "another of utils": b"cutils\nload_filepaths_and_text\n)R",
    "a dotted name": b"ccollections\nOrderedDict.__init__.__globals__\n",
    "STACK_GLOBAL": text("os") + text("system") + b"\x93" + group([text(OUCH)]) + b"R",
    "STACK_GLOBAL of numbers": number(1) + number(2) + b"\x93",
    "INST": b"(" + text(OUCH) + b"ios\nsystem\n",
    "OBJ": b"(cos\nsystem\n" + text(OUCH) + b"o",
    "NEWOBJ_EX": b"cutils\nHParams\n)}\x92",
    "EXT1": b"\x82\x01",
    "PERSID": b"Pos.system\n",
    "a call of a string": text("os.system") + group([text(OUCH)]) + b"R",
    "a call of a tensor": tensor() + b")R",
    "a storage is no function": b"ctorch\nFloatStorage\n)R",
    "a set of sets": b"\x8f(K\x01\x90",
    "hooks": call("torch._utils _rebuild_parameter", tensor(), b"\x88", mapping({"x": number(1)})),
    "a parameter of text": call("torch._utils _rebuild_parameter", text("x"), b"\x88", b"}"),
    "a persistent id of text": text("os.system") + b"Q",
    "a storage of os": tensor(storage="os system"),
    "a storage's path": tensor(key="../../../etc/passwd"),
    "a storage's name": tensor(key="0/../1"),
    "a storage without a name": tensor(key=""),
    "an unhashable key": b"}(]" + number(1) + b"u",
    "a list from a tuple": b")" + number(1) + b"a",
}


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "CANARY"


def test_the_hostile_files_would_run_elsewhere(canary: Path) -> None:
    """Or else the next test would prove nothing."""
    for name in ("os.system", "eval", "STACK_GLOBAL", "INST", "partial"):
        data = program(CODE[name] + (b")R" if name == "partial" else b""))
        pickle.loads(data)
        assert canary.exists(), name
        canary.unlink()


@pytest.mark.parametrize("where", ["weight", "config", "alone"])
@pytest.mark.parametrize("name", CODE)
def test_hostile_pickles_are_refused_and_nothing_runs(canary: Path, name: str, where: str) -> None:
    body = {
        "weight": mapping({"weight": mapping({"a": tensor(), "b": CODE[name]})}),
        "config": mapping({"weight": mapping({"a": tensor()}), "config": CODE[name]}),
        "alone": CODE[name],
    }[where]
    path = forge.torch_zip(canary.parent / "x.pth", program(body), {"0": FOUR})
    for read in (checkpoint.inspect, checkpoint.load_state):
        assert code_of(lambda read=read: read(path)) == "checkpoint_unsafe"  # type: ignore[misc]
    assert not canary.exists()


def test_an_object_with_reduce_as_torch_saves_it(canary: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (OUCH,)

    for zipped in (True, False):
        path = canary.parent / "x.ckpt"
        state = {"a": torch.ones(3), "b": Evil()}
        torch.save({"weight": state}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(EngineError, match=r"posix.system"):
            checkpoint.load_state(path)
        assert not canary.exists()
    torch.load(path, weights_only=False)
    assert canary.exists()


class HParams:
    """As forks of the trainer call it, wherever they keep it."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


@pytest.mark.parametrize(
    ("protocol", "zipped"), [(2, True), (3, True), (4, True), (5, True), (2, False)]
)
def test_what_trainers_leave_beside_the_tensors_is_passed_over(
    tmp_path: Path, protocol: int, zipped: bool
) -> None:
    path = tmp_path / "x.pth"
    config = {
        "rate": 32000,
        "loss": np.float64(1.5),
        "step": np.int64(3),
        "folder": Path("logs/mika"),
        "arguments": argparse.Namespace(epochs=8),
        "day": datetime.datetime(2026, 11, 30),
        "dtype": torch.float16,
        "device": torch.device("cpu"),
        "size": torch.ones(2, 3).shape,
        "raw": b"bytes",
        "model": HParams(version="v2", inner=HParams(dim=512)),
    }
    torch.save(
        {"weight": {"a": torch.ones(3)}, "config": config},
        path,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=zipped,
    )
    assert checkpoint.load_state(path)["a"].tolist() == [1, 1, 1]
    found = contents.read(path).config
    assert found["rate"] == 32000
    assert found["model"] == {"version": "v2", "inner": {"dim": 512}}
    assert found["arguments"] == {"epochs": 8}


def _renamed(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    """As newer torch and DataParallel spell it."""
    renamed = {}
    for key, value in state.items():
        key = key.replace(".weight_g", ".parametrizations.weight.original0")
        key = key.replace(".weight_v", ".parametrizations.weight.original1")
        renamed[prefix + key] = value
    return renamed


@pytest.mark.parametrize("name", [hub.S1_V2, hub.S2_V2])
def test_other_spellings_and_training_states_are_the_same_model(
    official: Path, tmp_path: Path, name: str
) -> None:
    state = checkpoint.load_state(official / name)
    wanted = checkpoint.inspect(official / name)
    config = contents.read(official / name).config
    path = tmp_path / "x.pth"
    rest = {"iteration": 8, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}}
    for value in (
        {"weight": _renamed(state, ""), "config": config},
        {"weight": _renamed(state, "module."), "config": config},
        {"model": state, "config": config, "learning_rate": 1e-4} | rest,
    ):
        torch.save(value, path)
        found = checkpoint.inspect(path)
        assert (found.kind, found.dims) == (wanted.kind, wanted.dims)
        loaded = checkpoint.load_state(path)
        assert loaded.keys() == state.keys()
        assert all(torch.equal(loaded[key], state[key]) for key in state)


@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])
def test_paths_of_every_python_are_passed_over(tmp_path: Path, module: str) -> None:
    body = mapping({"a": tensor(), "folder": call(f"{module} WindowsPath", text("c:/mika"))})
    path = forge.torch_zip(tmp_path / "x", program(body), {"0": FOUR})
    assert checkpoint.load_state(path).keys() == {"a"}


def test_an_instance_as_the_first_protocol_writes_it(tmp_path: Path) -> None:
    path = forge.torch_zip(
        tmp_path / "x", pickle.dumps({"config": {"model": HParams(version="v2")}}, 1), {"0": FOUR}
    )
    assert contents.read(path).config == {"model": {"version": "v2"}}


def _laughs(depth: int) -> bytes:
    """A list of lists of lists ..., each holding the one before ten times."""
    steps = (b"](" + (b"h" + bytes([n])) * 10 + b"eq" + bytes([n + 1]) for n in range(depth))
    return b"](" + b"N" * 10 + b"eq\x00" + b"".join(steps)


def _tuple_bomb(depth: int) -> bytes:
    return b")" + b"".join(b"q\x00h\x00\x86" for _ in range(depth))


DAMAGED_OR_UNSAFE = ("model_damaged", "checkpoint_unsafe")

BOMBS: dict[str, bytes] = {
    "a config of ten to the ninth": mapping({"config": _laughs(9)}),
    "a config within itself": mapping({"config": b"}q\x00" + text("x") + b"h\x00s"}),
    "a deep config": mapping({"config": b"]" * 5_000 + b"a" * 4_999}),
    "a key that hashes for ever": b"}" + _tuple_bomb(60) + b"Ns",
    "a huge text": b"\x8d" + struct.pack("<Q", 1 << 60),
    "huge bytes": b"\x8e" + struct.pack("<Q", 1 << 60),
    "a huge frame": b"\x95" + struct.pack("<Q", 1 << 60),
    "a huge number": b"\x8b" + struct.pack("<I", 1 << 30),
    "a number of many digits": b"I" + b"9" * 100_000 + b"\n",
    "an empty memo": b"h\x05",
    "an empty stack": b"0000",
    "no mark": b"t",
    "no end": b"]" * 1000,
    "many instructions": b"N0" * 1_100_000,
    "an odd dictionary": b"}(K\x01u",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(tmp_path: Path, name: str) -> None:
    ends = b"" if name == "no end" else forge.END
    path = forge.torch_zip(tmp_path / "x", b"\x80\x02" + BOMBS[name] + ends)
    tracemalloc.start()
    assert code_of(lambda: checkpoint.inspect(path)) in (*DAMAGED_OR_UNSAFE, "model_unknown")
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


def test_a_memo_of_huge_numbers_costs_nothing(tmp_path: Path) -> None:
    """The C unpickler reserves 32 GB for this."""
    body = mapping({"a": tensor()}) + b"r\xff\xff\xff\x7f"
    path = forge.torch_zip(tmp_path / "x", program(body), {"0": FOUR})
    assert checkpoint.load_state(path)["a"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "forged",
    [
        tensor(size=(5,)),
        tensor(offset=1),
        tensor(offset=-1),
        tensor(size=(2, 2), stride=(3, 1)),
        tensor(size=(-1,)),
        tensor(size=(-2, -2), stride=(1, 1)),
        tensor(stride=(-1,)),
        tensor(size=(2, 2), stride=(1,)),
        tensor(size=(1 << 40,)),
        tensor(size=(1 << 40,), stride=(0,)),
        tensor(size=(0,), offset=99),
        tensor(size=(1,) * 9, stride=(1,) * 9),
        tensor(numel=5),
        tensor(numel=3, size=(3,)),
        tensor(numel=-4),
        tensor(numel=1 << 62, size=(1 << 62,)),
        tensor(storage="torch DoubleStorage"),
        tensor(key="1"),
        # one storage, described in two ways
        mapping({"b": tensor(), "c": tensor(numel=2, size=(2,), storage="torch DoubleStorage")}),
    ],
)
def test_tensors_beyond_their_storage(tmp_path: Path, forged: bytes) -> None:
    whole = mapping({"a": forged}) if not forged.startswith(b"}") else forged
    path = forge.torch_zip(tmp_path / "x", program(whole), {"0": FOUR})
    assert code_of(lambda: checkpoint.load_state(path)) in DAMAGED_OR_UNSAFE


def test_a_small_file_cannot_stand_for_much(tmp_path: Path) -> None:
    many = mapping({f"a{n}": tensor(numel=1000, size=(1000,)) for n in range(100)})
    path = forge.torch_zip(tmp_path / "x", program(many), {"0": bytes(4000)})
    assert code_of(lambda: checkpoint.load_state(path)) == "checkpoint_unsafe"


# --- hostile zips --------------------------------------------------------------------------------

GOOD = program(mapping({"a": tensor()}))


def test_zips_that_torch_never_writes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    packed = forge.torch_zip(path, GOOD, {"0": FOUR}, method=zipfile.ZIP_DEFLATED)
    assert code_of(lambda: checkpoint.load_state(packed)) == "checkpoint_unsafe"
    bomb = program(mapping({"a": tensor(numel=25 << 20, size=(25 << 20,))}))
    forge.torch_zip(path, bomb, {"0": bytes(100 << 20)}, method=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    assert code_of(lambda: checkpoint.load_state(path)) == "checkpoint_unsafe"
    for name in ("../../CANARY", "/CANARY", "a\\b", "archive/../x"):
        forge.torch_zip(path, GOOD, {"0": FOUR}, others=[(name, b"x")])
        assert code_of(lambda: checkpoint.load_state(path)) == "checkpoint_unsafe"
    for others in ([("two/data.pkl", GOOD)], [("archive/byteorder", b"big")]):
        forge.torch_zip(path, GOOD, {"0": FOUR}, others=others)
        assert code_of(lambda: checkpoint.load_state(path)) == "model_damaged"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forge.torch_zip(path, GOOD, {"0": FOUR}, others=[("archive/data/0", bytes(16))])
    assert code_of(lambda: checkpoint.load_state(path)) == "checkpoint_unsafe"
    assert not (tmp_path / "CANARY").exists()


def _patched(path: Path, key: bytes, at: int, layout: str, *values: int) -> None:
    """Overwrite fields of the central directory's entry for ``key``."""
    data = bytearray(path.read_bytes())
    name = data.rfind(key)
    struct.pack_into(layout, data, name - 46 + at, *values)
    path.write_bytes(data)


def test_directories_that_lie(tmp_path: Path) -> None:
    lies: list[tuple[bytes, int, str, tuple[int, ...]]] = [
        (b"archive/data/0", 42, "<I", (0,)),  # where another record lies
        (b"archive/data/0", 42, "<I", (1 << 30,)),
        (b"archive/data/0", 20, "<II", (1 << 30, 1 << 30)),
        (b"archive/data/0", 20, "<II", (40, 40)),  # into its neighbour
        (b"archive/data/0", 20, "<II", (12, 12)),
        (b"archive/data.pkl", 8, "<H", (1,)),  # locked
        (b"archive/data.pkl", 20, "<II", (0xFFFFFFFF, 0xFFFFFFFF)),  # zip64 without its field
        (b"archive/data.pkl", 28, "<H", (60_000,)),
    ]
    for key, at, layout, values in lies:
        path = forge.torch_zip(tmp_path / "x", GOOD, {"0": FOUR}, others=[("archive/z", b"z" * 64)])
        checkpoint.load_state(path)
        _patched(path, key, at, layout, *values)
        assert code_of(lambda path=path: checkpoint.load_state(path)) in DAMAGED_OR_UNSAFE  # type: ignore[misc]


def test_records_that_share_bytes(tmp_path: Path) -> None:
    """All sizes agree, but the storage reaches over the next record's header."""
    body = program(mapping({"a": tensor(numel=14, size=(14,))}))
    path = forge.torch_zip(tmp_path / "x", body, {"0": FOUR}, others=[("archive/z", b"z" * 64)])
    _patched(path, b"archive/data/0", 20, "<II", 56, 56)
    assert code_of(lambda: checkpoint.load_state(path)) == "checkpoint_unsafe"


def test_a_wrong_checksum_is_found_when_asked_for(tmp_path: Path) -> None:
    path = forge.torch_zip(tmp_path / "x", GOOD, {"0": FOUR})
    contents.read(path).verify()
    data = bytearray(path.read_bytes())
    data[data.find(FOUR) + 5] ^= 1
    path.write_bytes(data)
    assert code_of(contents.read(path).verify) == "model_damaged"


def test_truncated_files(official: Path, tmp_path: Path) -> None:
    data = (official / hub.S1_V2).read_bytes()
    path = tmp_path / "x"
    for end in (*range(0, 200, 7), *range(200, len(data), len(data) // 50), len(data) - 1):
        path.write_bytes(data[:end])
        code = code_of(lambda: checkpoint.load_state(path))
        assert code == ("not_weights" if 0 < end < 4 else "model_damaged"), end


def _small(kind: str) -> bytes:
    state = {"a": torch.arange(6).view(2, 3).T, "b": torch.ones(2).half()}
    if kind == "safetensors":
        return safetensors.torch.save({k: v.contiguous() for k, v in state.items()})
    buffer = io.BytesIO()
    whole = {"weight": OrderedDict(state), "config": {"model": {"x": [1, 2.5, None]}}, "info": "i"}
    torch.save(whole, buffer, _use_new_zipfile_serialization=kind == "zip")
    return buffer.getvalue()


SMALL = {kind: _small(kind) for kind in ("zip", "old", "safetensors")}


@pytest.mark.parametrize("kind", SMALL)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_of_any_kind_is_an_error_or_harmless(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    raw = bytearray(SMALL[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(raw) - 1))
        patch = data.draw(st.binary(min_size=1, max_size=8))
        raw[start : start + len(patch)] = patch
    path = tmp_path / "x"
    path.write_bytes(raw)
    try:
        state = checkpoint.load_state(path)
    except EngineError:
        return
    assert sum(t.numel() for t in state.values()) <= 2 * len(raw)
