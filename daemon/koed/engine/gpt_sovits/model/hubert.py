"""chinese-hubert-base: a wave becomes features at 50 Hz, and those become semantic codes at 25 Hz.

Shapes: B batch, S samples at 16 kHz, F frames of 20 ms, T codes, C channels (768).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad
from torch.nn.utils.parametrize import remove_parametrizations

from koed.engine.gpt_sovits.model.loading import State, build, fill, read_folder, sizes, spelled

SIZES: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "conv_dim": [512] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
}
"""Of hubert-base, in config.json's names. What is not here (group norm in the first convolution,
none in the others, no bias there, layer norm behind each layer) is the library's default."""

PAUSE_SAMPLES = 4_800


def with_pause(wave: Tensor) -> Tensor:
    """[S] at 16 kHz -> [S + pause]: the prompt ends in silence, so that new speech starts fresh."""
    return pad(wave, (0, PAUSE_SAMPLES))


class Hubert:
    """The speech encoder. The wave goes in as it is: it was not normalised in training."""

    def __init__(
        self,
        state: State,
        config: Mapping[str, Any] | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """``config`` as in a Hub folder's config.json; without it the sizes of hubert-base.

        Raises `EngineError` ``model_incomplete`` or ``model_mismatch``.
        """
        # Seconds to import, so only when a voice is prepared.
        from transformers import HubertConfig, HubertModel

        # Without masks (training's augmentation) the body has no mask embedding to load.
        plan = HubertConfig(**sizes(config or {}, SIZES), mask_time_prob=0.0, mask_feature_prob=0.0)
        body = build(lambda: HubertModel(plan), "the HuBERT model")
        remove_parametrizations(body.encoder.pos_conv_embed.conv, "weight")
        fill(body, spelled(state, "hubert."), "the HuBERT model", dtype)
        self.body = body.to(device)
        self.dtype = dtype

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu", **options: Any) -> Hubert:
        """From a folder of the Hub. Raises `EngineError` ``model_*``."""
        config, state = read_folder(folder)
        return cls(state, config, device, **options)

    @torch.inference_mode()
    def __call__(self, wave: Tensor) -> Tensor:
        """``[S]`` -> ``[1, C, F]``, F = (S - 400) // 320 + 1."""
        heard = wave.to(self.body.device, self.dtype)[None]
        out: Tensor = self.body(heard).last_hidden_state
        return out.transpose(1, 2)


def project(ssl: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``[B, C, F]`` -> ``[B, C, T]``, T = F // 2: the sound model's ``ssl_proj``, 25 Hz."""
    return conv1d(ssl, weight, bias, stride=2)


def codes(ssl: Tensor, weight: Tensor, bias: Tensor, codebook: Tensor) -> Tensor:
    """``[1, C, F]``, ``ssl_proj`` ``[C, C, 2]``, ``[C]``, codebook ``[K, C]`` -> int64 ``[T]``.

    Float32 whatever the networks run in: near ties would fall otherwise.
    """
    frames = project(ssl.float(), weight.float(), bias.float())[0].T
    return nearest(frames, codebook.float())


def nearest(frames: Tensor, codebook: Tensor) -> Tensor:
    """``[T, C]``, ``[K, C]`` -> ``[T]``: entry at the smallest squared distance.

    ``|x - c|^2`` without ``|x|^2``, which is the same for each entry.
    """
    return ((codebook**2).sum(1) - 2 * frames @ codebook.T).argmin(1)
