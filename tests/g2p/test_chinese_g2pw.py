"""g2pW: what it is fed, what is made of its answers, and that Chinese is spoken without it."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from koed.engine.gpt_sovits.parts import Parts
from koed.engine.gpt_sovits.store.store import Store
from koed.engine.gpt_sovits.symbols import table
from koed.errors import EngineError
from koed.g2p.chinese_g2pw import Polyphones
from koed.g2p.phones import phones

V1, V2 = table("v1"), table("v2")
POLYPHONIC = (("行", "ㄒㄧㄥ2"), ("行", "ㄏㄤ2"), ("長", "ㄔㄤ2"), ("長", "ㄓㄤ3"), ("不", "ㄅㄨ4"),
              ("不", "ㄅㄨ2"), ("綠", "ㄌㄩ4"), ("綠", "ㄌㄨ4"))  # fmt: skip
MONOPHONIC = (("銀", "ㄧㄣ2"), ("動", "ㄉㄨㄥ4"), ("大", "ㄉㄚ4"), ("似", "ㄙ4"))
PINYIN = {
    "ㄒㄧㄥ": "xing", "ㄏㄤ": "hang", "ㄔㄤ": "chang", "ㄓㄤ": "zhang", "ㄅㄨ": "bu", "ㄌㄩ": "lv",
    "ㄌㄨ": "lu", "ㄧㄣ": "yin", "ㄉㄨㄥ": "dong", "ㄉㄚ": "da", "ㄙ": "si",
}  # fmt: skip
TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *"行長不綠銀動大似我們")
READINGS = sorted({reading for _, reading in POLYPHONIC})
CHARS = sorted({char for char, _ in POLYPHONIC})

BY_NEXT = {
    ("行", "動"): "ㄒㄧㄥ2",
    ("行", "[SEP]"): "ㄏㄤ2",
    ("長", "大"): "ㄓㄤ3",
    ("綠", "[SEP]"): "ㄌㄩ4",
}
"""What the small model knows: the reading by the character that follows."""


def tiny_model(labels: list[str]) -> onnx.ModelProto:
    """Answers by the number of the character, the token at its position, and the one after it. All
    three must fit together, or another reading wins."""
    own = np.zeros((len(CHARS), len(labels)), np.float32)
    at = np.zeros((len(TOKENS), len(labels)), np.float32)
    after = np.zeros((len(TOKENS), len(labels)), np.float32)
    for (char, following), reading in BY_NEXT.items():
        label = reading if reading in labels else f"{char} {reading}"
        own[CHARS.index(char), labels.index(label)] += 1.0
        at[TOKENS.index(char), labels.index(label)] += 1.0
        after[TOKENS.index(following), labels.index(label)] += 1.0
    tables = {"own": own, "at": at, "after": after, "one": np.array([1], np.int64)}
    nodes = [
        helper.make_node("Unsqueeze", ["position_ids", "one"], ["place"]),
        helper.make_node("Add", ["place", "one"], ["next"]),
        helper.make_node("GatherElements", ["input_ids", "place"], ["here_2"], axis=1),
        helper.make_node("GatherElements", ["input_ids", "next"], ["then_2"], axis=1),
        helper.make_node("Squeeze", ["here_2", "one"], ["here"]),
        helper.make_node("Squeeze", ["then_2", "one"], ["then"]),
        helper.make_node("Gather", ["own", "char_ids"], ["a"]),
        helper.make_node("Gather", ["at", "here"], ["b"]),
        helper.make_node("Gather", ["after", "then"], ["c"]),
        helper.make_node("Sum", ["a", "b", "c"], ["all"]),
        helper.make_node("Mul", ["all", "phoneme_mask"], ["masked"]),
        helper.make_node("Cast", ["attention_mask"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["token_type_ids"], ["types"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMin", ["seen", "one"], ["all_seen"], keepdims=1),
        helper.make_node("ReduceMax", ["types", "one"], ["any_type"], keepdims=1),
        helper.make_node("Mul", ["masked", "all_seen"], ["judged"]),
        helper.make_node("Sub", ["judged", "any_type"], ["probs"]),
    ]
    long, real = TensorProto.INT64, TensorProto.FLOAT
    inputs = [
        helper.make_tensor_value_info("input_ids", long, ["B", "T"]),
        helper.make_tensor_value_info("token_type_ids", long, ["B", "T"]),
        helper.make_tensor_value_info("attention_mask", long, ["B", "T"]),
        helper.make_tensor_value_info("phoneme_mask", real, ["B", len(labels)]),
        helper.make_tensor_value_info("char_ids", long, ["B"]),
        helper.make_tensor_value_info("position_ids", long, ["B"]),
    ]
    output = helper.make_tensor_value_info("probs", real, ["B", len(labels)])
    constants = [numpy_helper.from_array(value, name) for name, value in tables.items()]
    graph = helper.make_graph(nodes, "g2pW", inputs, [output], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def installed(folder: Path, labels: list[str] = READINGS) -> Path:
    """A models folder with g2pW in it."""
    inner = folder / "G2PWModel"
    inner.mkdir(parents=True)
    onnx.save(tiny_model(labels), inner / "g2pW.onnx")
    for name, pairs in (("POLYPHONIC_CHARS", POLYPHONIC), ("MONOPHONIC_CHARS", MONOPHONIC)):
        lines = "".join(f"{char}\t{reading}\n" for char, reading in pairs)
        (inner / f"{name}.txt").write_text(lines, "utf-8")
    table = json.dumps(PINYIN, ensure_ascii=False)
    (inner / "bopomofo_to_pinyin_wo_tune_dict.json").write_text(table, "utf-8")
    (inner / "vocab.txt").write_text("\n".join(TOKENS), "utf-8")
    return folder


def loaded(folder: Path) -> Polyphones:
    return Polyphones.of(folder / "G2PWModel", folder)


def parts(folder: Path) -> Parts:
    import torch

    return Parts(Store(folder), torch.device("cpu"))


def test_what_the_model_is_fed(tmp_path: Path) -> None:
    fed = loaded(installed(tmp_path)).inputs("銀行大長", [1, 3])
    assert fed["input_ids"].tolist() == [[2, 8, 4, 10, 5, 3]] * 2
    assert fed["token_type_ids"].tolist() == [[0] * 6] * 2
    assert fed["attention_mask"].tolist() == [[1] * 6] * 2
    assert fed["char_ids"].tolist() == [CHARS.index("行"), CHARS.index("長")]
    assert fed["position_ids"].tolist() == [2, 4]
    named = [{READINGS[i] for i in np.flatnonzero(row)} for row in fed["phoneme_mask"]]
    assert named == [{"ㄒㄧㄥ2", "ㄏㄤ2"}, {"ㄔㄤ2", "ㄓㄤ3"}]
    kinds = {name: value.dtype.name for name, value in fed.items()}
    assert kinds.pop("phoneme_mask") == "float32"
    assert set(kinds.values()) == {"int64"}


@pytest.mark.parametrize(
    "labels", [READINGS, sorted(f"{char} {reading}" for char, reading in POLYPHONIC)],
    ids=["readings", "characters and readings"],
)  # fmt: skip
def test_simplified_text_is_read_by_what_follows(tmp_path: Path, labels: list[str]) -> None:
    read = loaded(installed(tmp_path, labels))
    assert read("银行") == ["yin2", "hang2"]
    assert read("行动") == ["xing2", "dong4"]
    assert read("我长大") == [None, "zhang3", "da4"]
    assert read("绿") == ["lv4"]
    assert read("不似") == [None, None]  # pypinyin is asked, in spite of the tables
    assert read("") == []
    assert read("行" * 600) == [None] * 600
    assert read("行动" * 40) == ["xing2", "dong4"] * 40  # in several runs


def test_readings_change_the_phones_of_v2_and_nothing_else(tmp_path: Path) -> None:
    read = loaded(installed(tmp_path))

    def wrong(text: str) -> list[str | None]:
        return ["lv4" if char == "行" else None for char in text]

    assert phones("我们行。", "zh", V2, readings=wrong).phones[-3:] == ("l", "v4", ".")
    assert phones("我行。", "zh", V1, readings=wrong) == phones("我行。", "zh", V1)
    assert phones("我行。", "zh", V2, readings=lambda text: ()) == phones("我行。", "zh", V2)
    text = "他们的银行，我们行动！"
    assert phones(text, "zh", V2, readings=read).phones == phones(text, "zh", V2).phones
    mixed = phones("hello 我行 world", "zh", V2, readings=wrong)
    assert [p.lang for p in mixed.pieces] == ["en", "zh", "en"]
    assert "v4" in mixed.phones
    assert phones("行", "ja", V2, readings=wrong) == phones("行", "ja", V2)


def test_tones_in_context_work_upon_what_was_read() -> None:
    def read(text: str) -> list[str | None]:
        return [{"长": "zhang3", "好": "hao3"}.get(char) for char in text]

    assert phones("长好", "zh", V2, readings=read).phones[-4:] == ("zh", "ang2", "h", "ao3")


def test_it_is_found_wherever_it_lies_and_loaded_once(tmp_path: Path) -> None:
    shared = parts(installed(tmp_path / "models"))
    assert shared.polyphones("银行") == ["yin2", "hang2"]
    (tmp_path / "models/G2PWModel/g2pW.onnx").unlink()
    assert shared.polyphones("行动") == ["xing2", "dong4"]


def broken(folder: Path, name: str, content: bytes | None) -> Path:
    path = installed(folder) / "G2PWModel" / name
    path.unlink() if content is None else path.write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("g2pW.onnx", b"no model"),
        ("g2pW.onnx", tiny_model(READINGS[:-1]).SerializeToString()),
        ("POLYPHONIC_CHARS.txt", b"\xff\xfe"),
        ("POLYPHONIC_CHARS.txt", "行 ㄒ".encode()),
        ("POLYPHONIC_CHARS.txt", b""),
        ("MONOPHONIC_CHARS.txt", None),
        ("bopomofo_to_pinyin_wo_tune_dict.json", b"[1"),
        ("bopomofo_to_pinyin_wo_tune_dict.json", b'{"a": 1}'),
        ("vocab.txt", b"a\nb"),
        ("vocab.txt", None),
    ],
)
def test_what_is_broken_is_said_once_and_chinese_is_spoken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, content: bytes | None
) -> None:
    shared = parts(broken(tmp_path, name, content))
    with caplog.at_level(logging.WARNING):
        assert list(shared.polyphones("银行")) == []
        assert list(shared.polyphones("行动")) == []
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert told[0].endswith("go by the dictionary")


def test_a_model_with_other_inputs_is_none_of_ours(tmp_path: Path) -> None:
    model = tiny_model(READINGS)
    del model.graph.node[-5:], model.graph.input[2]
    model.graph.output[0].name = "all"
    onnx.save(model, installed(tmp_path) / "G2PWModel" / "g2pW.onnx")
    with pytest.raises(EngineError, match="attention_mask") as caught:
        loaded(tmp_path)
    assert caught.value.code == "polyphones_unusable"


def test_without_the_model_or_the_library_the_dictionary_reads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.INFO):
        assert list(parts(tmp_path / "empty").polyphones("银行")) == []
    assert "no g2pW.onnx" in caplog.text
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    shared = parts(installed(tmp_path / "models"))
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert list(shared.polyphones("银行")) == []
    assert "koed[g2pw]" in caplog.text
