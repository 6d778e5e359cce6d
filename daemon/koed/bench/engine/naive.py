"""The two models as one would write them first, in float32.

The text model has a cache that grows by concatenation, the generator works out its weights from
their norms at every call and keeps channels first. `koed bench engine` measures against them in the
same run, and tests compare what both say.

Shapes: B rows, P positions, C channels, H heads, D head width, V codes incl. the end mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from koed.engine.gpt_sovits.checkpoints.s1_s2_keys import S1
from koed.engine.gpt_sovits.model.generator import LAST_SLOPE, SLOPE, GeneratorDims
from koed.engine.gpt_sovits.model.sampling import Knobs, Noise, Sampling, pick
from koed.engine.gpt_sovits.model.t2s import sinusoid

Cache = list[tuple[Tensor, Tensor]]
"""Of each layer: keys and values, [B, H, P, D]."""


class NaiveT2S:
    """Makes as many codes as it is asked for; it knows no end and no Chinese."""

    def __init__(self, weights: Mapping[str, Tensor], dims: S1, heads: int) -> None:
        self.dims, self.heads = dims, heads
        self.weights = {key.removeprefix("model."): value for key, value in weights.items()}

    def codes(
        self, phones: Tensor, prompt: Tensor, count: int, sampling: Sampling, noise: Noise
    ) -> list[int]:
        """phones [N], prompt [T] int64 -> the next ``count`` codes"""
        said: list[int] = self.rows(phones[None], prompt[None], count, sampling, noise)[0].tolist()
        return said

    def rows(
        self, phones: Tensor, prompts: Tensor, count: int, sampling: Sampling, noise: Noise
    ) -> Tensor:
        """phones [B, N], prompts [B, T] int64 -> the next codes [B, count]; one noise for all"""
        return torch.stack(list(self.steps(phones, prompts, count, sampling, noise)), 1)

    def steps(
        self, phones: Tensor, prompts: Tensor, count: int, sampling: Sampling, noise: Noise
    ) -> Iterator[Tensor]:
        """The same one by one: codes [B]"""
        rows = len(phones)
        knobs = Knobs.of([sampling] * rows, self.dims.codes, phones.device)
        said = prompts
        with torch.inference_mode():
            logits, cache = self._begin(phones, prompts)
        for step in range(count):
            with torch.inference_mode():
                seen = torch.zeros(rows, self.dims.codes, dtype=torch.bool, device=phones.device)
                seen.scatter_(1, said, True)
                logits[:, self.dims.end] = -torch.inf
                token, _ = pick(logits, seen, knobs, noise(step).expand(rows, -1))
                x = self._embed("audio", token[:, None], said.shape[1])
                said = torch.cat([said, token[:, None]], 1)
                token.tolist()  # the first way asks after each code whether it is the end
                logits = self._through(x, cache, None)
            yield token

    def _begin(self, phones: Tensor, prompts: Tensor) -> tuple[Tensor, Cache]:
        """-> logits [B, V] and the cache of phones and prompts"""
        text = self._embed("text", phones, 0) + self.weights["bert_proj.bias"]
        x = torch.cat([text, self._embed("audio", prompts, 0)], 1)
        rows, positions, texts = x.shape[0], x.shape[1], phones.shape[1]
        hidden = torch.ones(positions, positions, dtype=torch.bool, device=x.device).triu(1)
        hidden[:, :texts] = False
        hidden[:texts, texts:] = True
        heads, depth = self.heads, self.dims.width // self.heads
        empty = torch.empty(rows, heads, 0, depth, device=x.device)
        cache: Cache = [(empty, empty) for _ in range(self.dims.layers)]
        return self._through(x, cache, hidden), cache

    def _embed(self, kind: str, ids: Tensor, first: int) -> Tensor:
        """ids [B, P], the first of them at position ``first`` -> [B, P, C]"""
        position = sinusoid(first + ids.shape[1], self.dims.width)[first:].to(ids.device)
        table = self.weights[f"ar_{kind}_embedding.word_embeddings.weight"]
        return table[ids] + self.weights[f"ar_{kind}_position.alpha"] * position

    def _through(self, x: Tensor, cache: Cache, hidden: Tensor | None) -> Tensor:
        """x [B, P, C] -> logits [B, V] behind the last position; ``cache`` grows by P"""
        for n in range(self.dims.layers):
            name = f"h.layers.{n}"
            qkv = self._linear(f"{name}.self_attn.in_proj_", x)
            q, k, v = qkv.view(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            cache[n] = torch.cat([cache[n][0], k], 2), torch.cat([cache[n][1], v], 2)
            scores = q @ cache[n][0].transpose(2, 3) / q.shape[-1] ** 0.5
            if hidden is not None:
                scores = scores.masked_fill(hidden, -torch.inf)
            heard = (scores.softmax(-1) @ cache[n][1]).transpose(1, 2).reshape(x.shape)
            x = self._norm(f"{name}.norm1", x + self._linear(f"{name}.self_attn.out_proj.", heard))
            up = self._linear(f"{name}.linear1.", x).relu()
            x = self._norm(f"{name}.norm2", x + self._linear(f"{name}.linear2.", up))
        return F.linear(x[:, -1], self.weights["ar_predict_layer.weight"])

    def _linear(self, name: str, x: Tensor) -> Tensor:
        """x [B, P, Ci] -> [B, P, Co]"""
        return F.linear(x, self.weights[f"{name}weight"], self.weights[f"{name}bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        """x [B, P, C] -> [B, P, C]"""
        scale, shift = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], scale, shift)


class NaiveGenerator:
    """Latent to sound, all of it in one go."""

    def __init__(self, weights: Mapping[str, Tensor], dims: GeneratorDims) -> None:
        """``weights`` as an s2 file has them."""
        self.dims, self.weights = dims, weights

    @torch.inference_mode()
    def __call__(self, z: Tensor, ge: Tensor) -> Tensor:
        """z [1, C, F], ge [1, G, 1] -> sound [1, S]"""
        x = self._conv("dec.conv_pre", z, 1) + self._conv("dec.cond", ge, 1)
        kernels = len(self.dims.block_kernels)
        for n, (rate, kernel) in enumerate(zip(self.dims.rates, self.dims.up_kernels, strict=True)):
            weight, bias = self._weights(f"dec.ups.{n}")
            pad = (kernel - rate) // 2
            x = F.conv_transpose1d(F.leaky_relu(x, SLOPE), weight, bias, rate, pad)
            blocks = [self._block(f"dec.resblocks.{n * kernels + i}", x) for i in range(kernels)]
            x = torch.stack(blocks).sum(0) / kernels
        return self._conv("dec.conv_post", F.leaky_relu(x, LAST_SLOPE), 1).tanh()[:, 0]

    def _block(self, name: str, x: Tensor) -> Tensor:
        """x [1, C, T] -> [1, C, T]"""
        for n, dilation in enumerate(self.dims.dilations):
            y = self._conv(f"{name}.convs1.{n}", F.leaky_relu(x, SLOPE), dilation)
            x = x + self._conv(f"{name}.convs2.{n}", F.leaky_relu(y, SLOPE), 1)
        return x

    def _conv(self, name: str, x: Tensor, dilation: int) -> Tensor:
        """x [1, C, T] -> [1, C', T]"""
        weight, bias = self._weights(name)
        reach = (weight.shape[-1] - 1) // 2 * dilation
        return F.conv1d(x, weight, bias, padding=reach, dilation=dilation)

    def _weights(self, name: str) -> tuple[Tensor, Tensor | None]:
        bias = self.weights.get(f"{name}.bias")
        if f"{name}.weight" in self.weights:
            return self.weights[f"{name}.weight"], bias
        direction, length = self.weights[f"{name}.weight_v"], self.weights[f"{name}.weight_g"]
        return torch._weight_norm(direction, length, 0), bias
