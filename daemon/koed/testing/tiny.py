"""A tiny GPT-SoVITS that has never learned anything, in the layout of the official files.

    python -m koed.testing.tiny OUT

makes s1 and s2 files of v1, v2 and v2Pro, and the HuBERT, BERT and speaker networks, about 15 MB in
all, always the same for a seed. It babbles: sentences end by chance after some tenths of a second.
Tests and `koed check` run the whole engine on it.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import math
import re
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koed.engine.gpt_sovits.checkpoints import s1_s2_keys, shared_keys
from koed.engine.gpt_sovits.checkpoints.s1_s2_keys import Shape, Shapes
from koed.engine.gpt_sovits.store.hub import (
    BERT,
    HUBERT,
    S1_PRO,
    S1_V1,
    S1_V2,
    S2_PRO,
    S2_V1,
    S2_V2,
    SPEAKER,
)

T2S = s1_s2_keys.S1(layers=2, width=32)
HEADS = 2
SOUND = s1_s2_keys.S2(
    ssl=32,
    width=32,
    filter=64,
    head=16,
    mix=32,
    layers=(1, 2, 1),
    style=32,
    style_width=16,
    couplings=2,
    flow_width=32,
    flow_layers=2,
    dec=64,
)
SPEAKERS = shared_keys.SpeakerKeys(base=8)
EARS = shared_keys.Hubert(width=32, filter=64, layers=2, convs=(16,) * 7, positions=16, groups=4)
READER = shared_keys.Bert(filter=32, layers=1, words=512, positions=512)
"""As wide as the large model, because s1 files expect 1024 features."""

GAINS = {
    r"ar_predict_layer\.weight": 4.0,
    r"(in_proj_weight|[qk]_proj\.weight|query\.weight|key\.weight)$": 2.0,
    r"(out_proj|linear2|output\.dense|output_dense)\.weight$": 0.2,
    r"codebook\.embed$": 5.0,
}
"""What makes logits differ from step to step, and keeps the sum of many layers of order one."""
END_GAIN = 2.0
"""For the row of the end mark: about every twentieth step prefers it."""


def make(folder: Path, seed: int = 0, end_gain: float = END_GAIN) -> Path:
    """Write the whole set under ``folder``, existing files replaced; returns ``folder``."""
    v1: dict[str, Any] = {"phones": 322, "bins": 1025}
    pro: dict[str, Any] = {"style": 64, "speaker": SPEAKERS.embedding}
    for name, phones in ((S1_V1, 512), (S1_V2, 732), (S1_PRO, 732)):
        _write_s1(folder / name, dataclasses.replace(T2S, phones=phones), seed, end_gain)
    for name, other, mark in ((S2_V1, v1, ""), (S2_V2, {}, ""), (S2_PRO, pro, "05")):
        _write_s2(folder / name, dataclasses.replace(SOUND, **other), mark, seed)
    save(folder / SPEAKER, weights(SPEAKERS.shapes(), seed))
    save(folder / HUBERT / "pytorch_model.bin", half(weights(EARS.shapes(), seed)))
    _write_json(folder / HUBERT / "config.json", hubert_config(EARS))
    state = {f"bert.{key}": value for key, value in weights(READER.shapes(), seed).items()}
    save(folder / BERT / "pytorch_model.bin", half(state))
    _write_json(folder / BERT / "config.json", _bert_config())
    _write_json(folder / BERT / "tokenizer.json", _tokenizer())
    return folder


def weights(shapes: Shapes, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Random values for each key, depending on key, shape and ``seed`` alone."""
    return {key: _values(key, shape, seed) for key, shape in shapes.items()}


def _values(key: str, shape: Shape, seed: int) -> NDArray[Any]:
    last = key.rpartition(".")[2]
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    drawn = np.random.default_rng([seed, zlib.crc32(key.encode())]).standard_normal(
        shape, np.float32
    )
    if last in ("running_var", "inited", "cluster_size"):
        return np.ones(shape, np.float32)
    if last.endswith(("bias", "beta", "running_mean")):
        return drawn * np.float32(0.02)
    if last in ("weight_g", "gamma", "alpha") or (last == "weight" and len(shape) == 1):
        level = 0.25 if "prelu" in key else 1.0
        return np.float32(level) + np.float32(0.02) * drawn
    if last == "weight_v" or "embedding" in key:
        return drawn
    gain = math.prod(g for pattern, g in GAINS.items() if re.search(pattern, key))
    return drawn * np.float32(gain / math.sqrt(math.prod(shape[1:])))


def half(state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Floats as fp16, as trainers save them."""
    return {k: v.astype(np.float16) if v.dtype.kind == "f" else v for k, v in state.items()}


def _write_s1(path: Path, table: s1_s2_keys.S1, seed: int, end_gain: float) -> None:
    state = weights(table.shapes(), seed)
    state["model.ar_predict_layer.weight"][-1] *= np.float32(end_gain)
    model = {
        "vocab_size": table.codes,
        "phoneme_vocab_size": table.phones,
        "embedding_dim": table.width,
        "hidden_dim": table.width,
        "head": HEADS,
        "linear_units": 2048,
        "n_layer": table.layers,
        "dropout": 0,
        "EOS": table.codes - 1,
        "random_bert": 0,
    }
    config = {"model": model, "data": {"max_sec": 54, "pad_val": 1024}, "inference": {"top_k": 15}}
    save(path, {"weight": OrderedDict(half(state)), "config": config, "info": "GPT-e0"})


def _write_s2(path: Path, table: s1_s2_keys.S2, mark: str, seed: int) -> None:
    model = {
        "inter_channels": table.width,
        "hidden_channels": table.width,
        "filter_channels": table.filter,
        "n_heads": table.width // table.head,
        "upsample_rates": [10, 8, 2, 2, 2],
        "upsample_initial_channel": table.dec,
        "upsample_kernel_sizes": list(table.up_kernels),
        "gin_channels": table.style,
        "semantic_frame_rate": "25hz",
    }
    data = {"sampling_rate": 32000, "filter_length": 2048, "hop_length": 640, "win_length": 2048}
    weight = OrderedDict(half(weights(table.shapes(), seed)))
    config = {"model": model, "data": data}
    save(path, {"weight": weight, "config": config, "info": "0epoch_0iteration"}, mark)


def hubert_config(ears: shared_keys.Hubert) -> dict[str, Any]:
    return {
        "model_type": "hubert",
        "architectures": ["HubertModel"],
        "hidden_size": ears.width,
        "intermediate_size": ears.filter,
        "num_hidden_layers": ears.layers,
        "num_attention_heads": max(2, ears.width // 64),
        "conv_dim": list(ears.convs),
        "conv_kernel": list(ears.kernels),
        "conv_stride": [5, 2, 2, 2, 2, 2, 2],
        "num_conv_pos_embeddings": ears.positions,
        "num_conv_pos_embedding_groups": ears.groups,
    }


def _bert_config() -> dict[str, Any]:
    return {
        "model_type": "bert",
        "architectures": ["BertForMaskedLM"],
        "vocab_size": READER.words,
        "hidden_size": READER.width,
        "intermediate_size": READER.filter,
        # The last two layers are never loaded, so the file does without them.
        "num_hidden_layers": READER.layers + 2,
        "num_attention_heads": 16,
        "max_position_embeddings": READER.positions,
    }


def _tokenizer() -> dict[str, Any]:
    """Special tokens, ASCII and marks, then common ideographs, as many as there are rows."""
    signs = [chr(code) for code in range(33, 127)] + list("，。！？、：；…—")
    common = (bytes((row, column)).decode("gb2312") for row, column in _level_one())
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *signs, *common][: READER.words]
    model = {"type": "WordPiece", "unk_token": "[UNK]", "max_input_chars_per_word": 100}
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return {"version": "1.0", "model": {**model, "vocab": vocabulary}}


def _level_one() -> Iterable[tuple[int, int]]:
    """Every eighth of the common ideographs of GB 2312."""
    cells = [(row, column) for row in range(0xB0, 0xD7) for column in range(0xA1, 0xFA)]
    return cells[::8]


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def save(path: Path, value: Mapping[str, Any], mark: str = "") -> None:
    """Write ``value`` with torch.save, arrays as tensors; ``mark`` replaces the first bytes."""
    import torch

    def tensors(entries: Mapping[str, Any]) -> dict[str, Any]:
        return OrderedDict(
            (k, torch.from_numpy(np.ascontiguousarray(v)) if isinstance(v, np.ndarray) else v)
            for k, v in entries.items()
        )

    whole = tensors(value)
    if "weight" in value:
        whole["weight"] = tensors(value["weight"])
    buffer = io.BytesIO()
    torch.save(dict(whole), buffer)
    data = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mark.encode() + data[len(mark) :])


def main(argv: list[str] | None = None) -> int:
    """Make the set in a folder and say what is in it."""
    parser = argparse.ArgumentParser(prog="koed.testing.tiny", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder; made if it is not there")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--end-gain", type=float, default=END_GAIN, help="higher = shorter lines")
    args = parser.parse_args(argv)
    folder = make(args.out, args.seed, args.end_gain)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        print(f"{path.stat().st_size:10,}  {path.relative_to(folder)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
