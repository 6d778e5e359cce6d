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
from torch import Tensor

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

        Raises `EngineError` ``model_incomplete``, ``model_mismatch`` or ``model_damaged``.
        """
        from transformers import BertConfig, BertModel

        plan = sizes(config or {}, SIZES)
        plan["num_hidden_layers"] -= UNUSED_LAYERS
        body = build(lambda: BertModel(BertConfig(**plan), add_pooling_layer=False), "BERT")
        fill(body, spelled(state, "bert."), "the BERT model", dtype)
        # The two buffers that no file holds.
        for name in ("position_ids", "token_type_ids"):
            held = getattr(body.embeddings, name)
            numbers = torch.arange(held.shape[-1]) if name == "position_ids" else 0
            made = torch.zeros(held.shape, dtype=torch.long) + numbers
            body.embeddings.register_buffer(name, made, persistent=False)
        self.body = body.to(device)
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
            device = self.body.device
            attends = None if mask.all() else mask.to(device)
            hidden = self.body(ids.to(device), attention_mask=attends).last_hidden_state
            for row, i in enumerate(batch):
                out[i] = hidden[row, 1 : len(texts[i]) + 1].float()
        return out


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
