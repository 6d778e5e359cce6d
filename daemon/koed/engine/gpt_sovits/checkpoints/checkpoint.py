"""Weight files by their content: what is this, is all of it there, and its tensors.

File names, folders and sizes decide nothing: keys and shapes do. `inspect` reads no weights and
needs no torch; `load` maps the file, so that a tensor that stays in the file's dtype costs no
memory of its own until it is moved or converted.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from koed.engine.gpt_sovits.checkpoints import s1_s2_keys, shared_keys
from koed.engine.gpt_sovits.checkpoints.s1_s2_keys import Known, Shape
from koed.engine.tensor_files import contents
from koed.engine.tensor_files.contents import BYTES, Contents, Place
from koed.errors import EngineError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Kind = Literal["s1", "s2", "lora", "hubert", "bert", "sv", "vocoder", "discriminator"]

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Of a Hub folder, in order of preference."""
RATES: Shape = (10, 8, 2, 2, 2)
"""Upsampling of all official generators that end at 32 kHz: 640 samples a frame."""
SPEAKING = ("v1", "v2", "v2Pro", "v2ProPlus")
"""Versions of the sound model that koed can speak with."""
PHONES_S1 = {512: "v1", 732: "v2"}
PHONES_S2 = {322: "v1", 732: "v2"}
MARKS = {"02": "v3", "03": "v3", "04": "v4", "05": "v2Pro", "06": "v2ProPlus"}
HEADS_MD5 = {"43797be674a37c1c83ee81081941ed0f": "v3", "4f26b9476d0c5033e04162c486074374": "v4"}
"""MD5 of the first 8192 bytes of the official s2Gv3 and s2Gv4, whose keys and shapes are equal."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a weight file is."""

    kind: Kind
    version: str = ""
    """s2 and lora: v1, v2, v2Pro, v2ProPlus, v3, v4, or "v3/v4" where nothing tells them apart."""
    symbols: str = ""
    """Phone table of s1 and s2: "v1" or "v2" (the latter for all later versions)."""
    dims: Mapping[str, Any] = field(default_factory=dict)
    """Sizes, as the dataclass of `s1_s2_keys` for this kind names them; s1 also ``heads``."""
    upsample_rates: Shape = ()
    """s2: the one thing that shapes do not tell."""
    dtype: str = ""
    """Of most numbers: F16, BF16, F32."""
    parameters: int = 0
    info: str = ""
    """The trainer's remark, like "GPT-e15"."""
    source_sha256: str = ""
    """Of the file, or of the one that it was imported from; empty where it was not asked for."""

    @property
    def speaks(self) -> bool:
        """Whether koed can use it as it is."""
        return self.kind in ("s1", "hubert", "bert", "sv") or (
            self.kind == "s2" and self.version in SPEAKING
        )


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded file."""

    info: ModelInfo
    config: dict[str, Any]
    """As the trainer wrote it."""
    state: dict[str, Tensor]


def inspect(path: Path, with_hash: bool = False) -> ModelInfo:
    """What a weight file or a Hub folder is, checked to be whole. Reads hardly any of it.

    Raises EngineError: ``model_missing``, ``model_damaged``, ``checkpoint_unsafe``,
    ``model_unknown``, ``model_incomplete`` or ``model_mismatch`` (both naming the keys).
    """
    found = contents.read(weights_of(path))
    return describe(found, sha256(found.path) if with_hash else "")


def load(
    path: Path, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> Checkpoint:
    """Describe, check and load; see `inspect` and `load_state`."""
    found = contents.read(weights_of(path))
    info = describe(found)
    return Checkpoint(info, found.config, _tensors(found, dtype, device))


def load_state(
    path: Path, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """The tensors of any weight file or Hub folder by name, whatever it is a model of.

    ``dtype`` is for those of floats; None leaves them as they are. What is neither converted nor
    moved is a view of the file: writing to it is allowed and does not reach the disk.
    """
    return _tensors(contents.read(weights_of(path)), dtype, device)


def weights_of(path: Path) -> Path:
    """The weight file of a Hub folder; a file is its own."""
    if not path.is_dir():
        return path
    for name in WEIGHTS:
        if (path / name).is_file():
            return path / name
    raise EngineError(
        "model_missing", f"no weights in {path}", f"it should hold {' or '.join(WEIGHTS)}"
    )


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(found: Contents, digest: str = "") -> ModelInfo:
    """What ``found`` is; raises as `inspect`."""
    kind = _kind(found)
    info = _DESCRIBE[kind](found)
    numbers: Counter[str] = Counter()
    for place in found.tensors.values():
        numbers[place.dtype] += place.numel
    source = found.metadata.get("source_sha256")
    return dataclasses.replace(
        info,
        dtype=numbers.most_common(1)[0][0],
        parameters=numbers.total(),
        info=found.info,
        source_sha256=source if isinstance(source, str) and source else digest,
    )


def used(found: Contents) -> list[str]:
    """Names of the tensors of an s1 or s2 file that are spoken with; the rest is for training."""
    shapes = _shapes(found)
    if _kind(found) == "s1":
        table = s1_s2_keys.S1.checked(shapes, found.path.name).shapes()
        return [name for name in shapes if f"model.{name.removeprefix('model.')}" in table]
    sound = s1_s2_keys.S2.checked(shapes, found.path.name).shapes()
    return [name for name in shapes if name in sound]


def _kind(found: Contents) -> Kind:
    names = found.tensors
    if found.lora_rank or any(".lora_A." in name for name in names):
        return "lora"
    for kind, pattern in _TRAITS:
        if any(name.startswith(pattern) for name in names):
            return kind
    some = s1_s2_keys.listed(list(names)) or "no tensors"
    raise EngineError(
        "model_unknown",
        f"{found.path.name} is no part of GPT-SoVITS; it holds {some}",
        "wanted: the GPT file (.ckpt) and the SoVITS file (.pth) of a voice",
    )


_TRAITS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("s2", ("enc_p.mrte.", "enc_p.text_embedding.", "ref_enc.spectral.", "quantizer.vq.", "cfm.")),
    ("s1", ("model.ar_", "model.h.layers.", "ar_text_embedding.", "ar_predict_layer.")),
    ("hubert", ("feature_extractor.conv_layers.", "hubert.feature_extractor.conv_layers.")),
    ("bert", ("embeddings.word_embeddings.", "bert.embeddings.word_embeddings.")),
    ("sv", ("layer3_ds.", "fuse34.")),
    ("discriminator", ("discriminators.",)),
    ("vocoder", ("conv_pre.", "ups.0.")),
)
"""Beginnings of keys that tell a kind; the first that is found decides."""


def _shapes(found: Contents) -> dict[str, Shape]:
    return {name: place.shape for name, place in found.tensors.items()}


def _s1(found: Contents) -> ModelInfo:
    table = s1_s2_keys.S1.checked(_shapes(found), f"the GPT file {found.path.name}")
    said = _section(found, "model")
    dims = {**dataclasses.asdict(table), "heads": _heads(found, said, table.width)}
    for name, key in (("n_layer", "layers"), ("hidden_dim", "width"), ("vocab_size", "codes")):
        if said.get(name, dims[key]) != dims[key]:
            raise _mismatch(found, f"its configuration says {name} {said[name]}, not {dims[key]}")
    return ModelInfo("s1", symbols=_symbols(found, PHONES_S1, table.phones), dims=dims)


def _heads(found: Contents, said: Mapping[str, Any], width: int) -> int:
    """In no shape, so from the configuration; 16 of 32 channels in all official files."""
    heads = said.get("head", max(width // 32, 1))
    if type(heads) is not int or heads < 1 or width % heads:
        raise _mismatch(found, f"{width} channels cannot be shared by {str(heads)[:20]} heads")
    return heads


def _s2(found: Contents) -> ModelInfo:
    shapes = _shapes(found)
    if any(name.startswith("cfm.") for name in shapes):
        return ModelInfo("s2", _v3_or_v4(found), "v2")
    table = s1_s2_keys.S2.checked(shapes, f"the SoVITS file {found.path.name}")
    symbols = _symbols(found, PHONES_S2, table.phones)
    version = symbols
    if table.speaker:
        # ProPlus has a wider generator and another first kernel.
        version = "v2ProPlus" if table.dec >= 768 or table.up_kernels[0] == 20 else "v2Pro"
    rates = _section(found, "model").get("upsample_rates", list(RATES))
    usual = isinstance(rates, list) and all(type(rate) is int and rate > 0 for rate in rates)
    if not usual or len(rates) != len(table.up_kernels):
        raise _mismatch(found, f"it has no upsampling rate for each of {len(table.up_kernels)}")
    dims = dataclasses.asdict(table)
    return ModelInfo("s2", version, symbols, dims, upsample_rates=tuple(rates))


def _lora(found: Contents) -> ModelInfo:
    return ModelInfo("lora", _v3_or_v4(found), "v2", {"rank": found.lora_rank})


def _v3_or_v4(found: Contents) -> str:
    said = _section(found, "model").get("version")
    known = HEADS_MD5.get(hashlib.md5(found.data[:8192], usedforsecurity=False).hexdigest())
    return MARKS.get(found.mark) or known or (said if said in ("v3", "v4") else "v3/v4")


def _hubert(found: Contents) -> ModelInfo:
    known = _spelled(found, "hubert.", "the HuBERT file")
    table = shared_keys.Hubert.read(known)
    known.check(table.shapes())
    return ModelInfo("hubert", dims=dataclasses.asdict(table))


def _bert(found: Contents) -> ModelInfo:
    known = _spelled(found, "bert.", "the BERT file")
    table = shared_keys.Bert.read(known)
    # The last two layers are never used.
    known.check(dataclasses.replace(table, layers=max(table.layers - 2, 1)).shapes())
    return ModelInfo("bert", dims=dataclasses.asdict(table))


def _sv(found: Contents) -> ModelInfo:
    known = Known(_shapes(found), f"the speaker file {found.path.name}")
    table = shared_keys.SpeakerKeys.read(known)
    known.check(table.shapes())
    return ModelInfo("sv", dims={"base": table.base, "embedding": table.embedding})


_DESCRIBE: dict[Kind, Callable[[Contents], ModelInfo]] = {
    "s1": _s1,
    "s2": _s2,
    "lora": _lora,
    "hubert": _hubert,
    "bert": _bert,
    "sv": _sv,
    "vocoder": lambda _: ModelInfo("vocoder"),
    "discriminator": lambda _: ModelInfo("discriminator"),
}


def _spelled(found: Contents, prefix: str, what: str) -> Known:
    shapes = {shared_keys.plain(name, prefix): shape for name, shape in _shapes(found).items()}
    return Known(shapes, f"{what} {found.path.name}")


def _section(found: Contents, name: str) -> dict[str, Any]:
    section = found.config.get(name)
    return section if isinstance(section, dict) else {}


def _symbols(found: Contents, known: Mapping[int, str], phones: int) -> str:
    if phones not in known:
        expected = " or ".join(map(str, known))
        raise _mismatch(found, f"it knows {phones} phones, and not {expected}")
    return known[phones]


def _mismatch(found: Contents, what: str) -> EngineError:
    hint = "it was made by another program than GPT-SoVITS, or changed afterwards"
    return EngineError("model_mismatch", f"{found.path.name} cannot be used: {what}", hint)


# --- tensors -------------------------------------------------------------------------------------


def _tensors(
    found: Contents, dtype: torch.dtype | None, device: torch.device | str
) -> dict[str, Tensor]:
    return {name: _to(_view(found, place), dtype, device) for name, place in found.tensors.items()}


def _to(tensor: Tensor, dtype: torch.dtype | None, device: torch.device | str) -> Tensor:
    return tensor.to(device, dtype if tensor.is_floating_point() else None)


def _view(found: Contents, place: Place) -> Tensor:
    """The tensor as a view of the mapped file; a copy where the processor could not read it."""
    import torch

    dtype = _torch_dtypes()[place.dtype]
    if not place.span:
        return torch.empty(place.shape, dtype=dtype)
    size = place.span * BYTES[place.dtype]
    if place.start % BYTES[place.dtype]:
        aligned = bytearray(found.data[place.start : place.start + size])
        flat = torch.frombuffer(aligned, dtype=dtype)
    else:
        flat = torch.frombuffer(found.data, dtype=dtype, count=place.span, offset=place.start)
    return flat.as_strided(place.shape, place.stride)


def _torch_dtypes() -> dict[str, torch.dtype]:
    import torch

    return {
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "F32": torch.float32,
        "F64": torch.float64,
        "I8": torch.int8,
        "U8": torch.uint8,
        "I16": torch.int16,
        "I32": torch.int32,
        "I64": torch.int64,
        "BOOL": torch.bool,
    }
