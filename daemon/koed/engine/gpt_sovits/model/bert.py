"""chinese-roberta-wwm-ext-large: features of Chinese text, a row for each phone.

The text models were trained on the output of layer 22 of 24, so the last two are never loaded.

Shapes: B batch, T characters (tokens), N phones, C channels (1024).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from koed.engine.gpt_sovits.model.linear import Half, packs
from koed.engine.gpt_sovits.model.loading import State, build, fill, read_folder, sizes, spelled
from koed.errors import EngineError
from koed.g2p.vocabulary import read_vocabulary

SIZES: dict[str, Any] = {
    "vocab_size": 21128,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "max_position_embeddings": 512,
}
"""Of the large model, in config.json's names."""

UNUSED_LAYERS = 2
LONGEST = 510
"""Characters: 512 positions less the two marks around the text."""
BATCH_TOKENS = 2048
"""Padding included; bounds the memory of long texts."""


class Bert:
    """The text encoder, with its vocabulary."""

    def __init__(
        self,
        state: State,
        vocabulary: Mapping[str, int],
        config: Mapping[str, Any] | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """``config`` as in a Hub folder's config.json; without it the sizes of the large model.
        ``dtype`` of all numbers on a GPU, and of those between the layers. On a processor a file of
        halves is kept as halves, which multiply exactly, in half the time and memory (`Half`).

        Raises `EngineError` ``model_incomplete``, ``model_mismatch`` or ``model_damaged``.
        """
        from transformers import BertConfig, BertModel

        plan = sizes(config or {}, SIZES)
        plan["num_hidden_layers"] -= UNUSED_LAYERS
        body = build(lambda: BertModel(BertConfig(**plan), add_pooling_layer=False), "BERT")
        device, state = torch.device(device), spelled(state, "bert.")
        if device.type == "cpu" and dtype == torch.float32 and packs() and _is_half(state):
            fill(body, state, "the BERT model", torch.float16)
            _pack(body)
        else:
            fill(body, state, "the BERT model", dtype)
        # The two buffers that no file holds.
        for name in ("position_ids", "token_type_ids"):
            held = getattr(body.embeddings, name)
            numbers = torch.arange(held.shape[-1]) if name == "position_ids" else 0
            made = torch.zeros(held.shape, dtype=torch.long) + numbers
            body.embeddings.register_buffer(name, made, persistent=False)
        self.body = body.to(device)
        self.device = device
        self.vocabulary = _checked(vocabulary, plan["vocab_size"])

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu", **options: Any) -> Bert:
        """From a folder of the Hub. Raises `EngineError` ``model_*``."""
        config, state = read_folder(folder)
        return cls(state, read_vocabulary(folder), config, device, **options)

    def features(self, pieces: Sequence[tuple[str, Sequence[int]]]) -> list[Tensor]:
        """``(text, word2ph)`` a piece -> ``[C, N]`` a piece, float32, N = sum of word2ph.

        Each piece is encoded for itself, all in few passes. Pieces may have any length; what is
        longer than 510 characters is encoded in parts.
        """
        for text, word2ph in pieces:
            assert len(text) == len(word2ph), (text, word2ph)
        parts = [_parts(self.tokens(text)) for text, _ in pieces]
        rows = iter(self.encode([part for piece in parts for part in piece]))
        out = []
        for (_, word2ph), piece in zip(pieces, parts, strict=True):
            characters = torch.cat([next(rows) for _ in piece])
            counts = torch.tensor(word2ph, dtype=torch.long, device=characters.device)
            out.append(characters.repeat_interleave(counts, dim=0).T)
        return out

    def tokens(self, text: str) -> list[int]:
        """One id a character, as the model's own tokenizer gives for Chinese text.

        That one lower-cases, takes accents off and splits around each ideograph and mark. Latin
        words and digits, which normalised text does not hold, become single letters here.
        """
        return [self.vocabulary.get(_plain(c), self.vocabulary["[UNK]"]) for c in text]

    @torch.inference_mode()
    def encode(self, texts: Sequence[Sequence[int]]) -> list[Tensor]:
        """Ids without marks, ``[T]`` a text, T <= 510 -> ``[T, C]`` a text, float32."""
        out: list[Tensor] = [torch.empty(0)] * len(texts)
        for batch in _batches([len(ids) for ids in texts]):
            longest = max(len(texts[i]) for i in batch) + 2
            begin, end, filler = (self.vocabulary[m] for m in ("[CLS]", "[SEP]", "[PAD]"))
            ids = torch.full((len(batch), longest), filler)
            for row, i in enumerate(batch):
                marked = [begin, *texts[i], end]
                ids[row, : len(marked)] = torch.tensor(marked)
            lengths = torch.tensor([len(texts[i]) + 2 for i in batch])
            mask = torch.arange(longest) < lengths[:, None]
            # No mask where there is no padding: attention then takes its fastest way.
            attends = None if mask.all() else mask.to(self.device)
            hidden = self.body(ids.to(self.device), attention_mask=attends).last_hidden_state
            for row, i in enumerate(batch):
                out[i] = hidden[row, 1 : len(texts[i]) + 1].float()
        return out


class _Packed(nn.Module):
    """`Half` in place of a linear layer."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        bias = None if layer.bias is None else layer.bias.float()
        self._linear = Half(layer.weight.float(), bias)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., Ci] float32 -> [..., Co] float32"""
        return self._linear(x)


def _pack(body: nn.Module) -> None:
    """Linear layers as packed halves, one after the other so that no two copies of the network are
    there; all else as float32."""
    for parent in list(body.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(parent, name, _Packed(layer))
    body.float()


def _is_half(state: State) -> bool:
    return all(v.dtype == torch.float16 for v in state.values() if v.is_floating_point())


def _checked(vocabulary: Mapping[str, int], size: int) -> Mapping[str, int]:
    absent = [m for m in ("[UNK]", "[CLS]", "[SEP]", "[PAD]") if m not in vocabulary]
    if absent or max(vocabulary.values()) >= size:
        raise EngineError(
            "model_damaged",
            f"the BERT vocabulary {f'lacks {absent[0]}' if absent else 'is too large'}",
            "fetch the folder anew",
        )
    return vocabulary


def _plain(character: str) -> str:
    """Lower case, without accents; compatibility ideographs as what they stand for."""
    parts = unicodedata.normalize("NFD", character.lower())
    return "".join(p for p in parts if unicodedata.category(p) != "Mn")


def _parts(ids: list[int]) -> list[list[int]]:
    """In runs of at most `LONGEST`; a text without characters is one empty run."""
    return [ids[i : i + LONGEST] for i in range(0, max(1, len(ids)), LONGEST)]


def _batches(lengths: Sequence[int]) -> list[list[int]]:
    """Indices in groups of similar length, `BATCH_TOKENS` each at most (or one text)."""
    out: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        # Sorted, so that the new one is the longest of its group.
        if out and (len(out[-1]) + 1) * (lengths[i] + 2) <= BATCH_TOKENS:
            out[-1].append(i)
        else:
            out.append([i])
    return out
