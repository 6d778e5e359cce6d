"""Phones to semantic codes: the autoregressive model of GPT-SoVITS, one token a step.

A decoder over [text ; codes]. Text sees all text, codes see all text and the codes before them, so
text keys and values are final after ``prefill`` (and differ with every sentence: there is nothing
to reuse between utterances). ``step`` reads each weight once and writes its keys and values into
the row's place in the cache. ``decode.py`` runs the loop.

Shapes: B rows, N phones, T codes, P positions (N + T), C channels, H heads, D head width, L layers,
V codes incl. the end mark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from koed.engine.gpt_sovits.checkpoints.s1_s2_keys import S1
from koed.engine.gpt_sovits.model.linear import Linear, Precision, activation_dtype, make_linear
from koed.errors import EngineError

MOST_POSITIONS = 4000  # of text and of codes; the official tables end here


@dataclass
class State:
    """The caches of B rows, each row an utterance. Written in place, never grown.

    Positions are counted twice: on the device for the computation, on the host so that nobody has
    to ask the device.
    """

    # float [L, 2, B, H, P, D]: keys and values; prefill fills a row, step adds one position
    cache: Tensor
    # int64 [B]: filled positions of a row = where the next key goes; prefill, step
    filled: Tensor
    # int64 [B]: codes of a row, prompt included = position of the next code; prefill, step
    said: Tensor
    # float [B, 1, 1, P]: 0 where filled, -inf elsewhere; prefill, step
    bias: Tensor
    # filled, as the host knows it
    lengths: list[int]

    def clear(self, row: int) -> None:
        """Forget what ``row`` holds."""
        self.filled[row] = 0
        self.said[row] = 0
        self.bias[row] = -torch.inf
        self.lengths[row] = 0


@dataclass(frozen=True)
class Layer:
    """One block, post-norm: x = norm1(x + attention(x)); x = norm2(x + down(relu(up(x))))."""

    qkv: Linear
    out: Linear
    up: Linear
    down: Linear
    norm1: tuple[Tensor, Tensor]
    norm2: tuple[Tensor, Tensor]


class T2S:
    """The model. Holds no state of an utterance: that is ``State``, handed in."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        heads: int,
        *,
        precision: Precision = "fp32",
        device: str | torch.device = "cpu",
    ) -> None:
        """``weights`` as an s1 file has them (shapes of `S1`, any float type), with or without the
        ``model.`` of their keys; how many ``heads`` they are for is in no shape. Raises
        EngineError, naming what is missing or of another shape.
        """
        shapes = {key: tuple(value.shape) for key, value in weights.items()}
        self.dims, self.heads = S1.checked(shapes, "the text model"), heads
        assert self.dims.width % heads == 0
        self.device, self.precision = torch.device(device), precision
        self.dtype = activation_dtype(self.device, precision)
        found = {key.removeprefix("model."): value for key, value in weights.items()}

        def linear(prefix: str, joint: str = ".") -> Linear:
            bias = found.get(f"{prefix}{joint}bias")
            weight = found[f"{prefix}{joint}weight"].to(self.device, torch.float32)
            if bias is not None:
                bias = bias.to(self.device, torch.float32)
            return make_linear(weight, bias, precision)

        def tensor(key: str) -> Tensor:
            return found[key].to(self.device, torch.float32)

        def norm(prefix: str) -> tuple[Tensor, Tensor]:
            return (
                tensor(f"{prefix}.weight").to(self.dtype),
                tensor(f"{prefix}.bias").to(self.dtype),
            )

        self.layers = [
            Layer(
                qkv=linear(f"h.layers.{n}.self_attn.in_proj", "_"),
                out=linear(f"h.layers.{n}.self_attn.out_proj"),
                up=linear(f"h.layers.{n}.linear1"),
                down=linear(f"h.layers.{n}.linear2"),
                norm1=norm(f"h.layers.{n}.norm1"),
                norm2=norm(f"h.layers.{n}.norm2"),
            )
            for n in range(self.dims.layers)
        ]
        table = sinusoid(MOST_POSITIONS, self.dims.width).to(self.device)
        self.phone_table = tensor("ar_text_embedding.word_embeddings.weight")
        self.code_table = tensor("ar_audio_embedding.word_embeddings.weight")
        self.phone_positions = tensor("ar_text_position.alpha") * table
        self.code_positions = tensor("ar_audio_position.alpha") * table
        # Done once a sentence, and the last decides near-ties: both as exact as the device can.
        self.bert_weight, self.bert_bias = tensor("bert_proj.weight"), tensor("bert_proj.bias")
        head: Precision = "fp16" if precision == "int8" else precision
        weight = found["ar_predict_layer.weight"].to(self.device, torch.float32)
        self.predict = make_linear(weight, None, head)

    def new_state(self, rows: int, positions: int, *, poison: bool = False) -> State:
        """Room for ``rows`` utterances of ``positions`` (text, prompt and codes) each.

        ``poison`` fills it with what must never be read: NaN, or with several rows, where masked
        places are read and weighted zero, huge numbers.
        """
        heads, depth = self.heads, self.dims.width // self.heads
        shape = (self.dims.layers, 2, rows, heads, positions, depth)
        empty = torch.empty if rows == 1 else torch.zeros  # masked places must be finite
        cache = empty(shape, dtype=self.dtype, device=self.device)
        if poison:
            cache.fill_(math.nan if rows == 1 else 1e4)
        counts = torch.zeros(2, rows, dtype=torch.int64, device=self.device)
        bias = torch.full((rows, 1, 1, positions), -torch.inf, dtype=self.dtype, device=self.device)
        return State(cache, counts[0], counts[1], bias, [0] * rows)

    @torch.inference_mode()
    def prefill(
        self, state: State, row: int, phones: Tensor, bert: Tensor | None, prompt: Tensor
    ) -> Tensor:
        """phones [N] int64, bert [1024, N] or None (zeros), prompt [T] int64 (T may be 0) -> logits
        [V] of the first code. Phones are those of the prompt's transcript and of the text.
        """
        n, t = phones.numel(), prompt.numel()
        self._check(state, phones, bert, prompt)
        state.clear(row)
        x = torch.cat([self._embed_text(phones, bert), self._embed_codes(prompt)]).to(self.dtype)
        seen = torch.ones(n + t, n + t, dtype=torch.bool, device=self.device).tril_()
        seen[:, :n] = True
        for layer, cache in zip(self.layers, state.cache, strict=True):
            q, k, v = layer.qkv(x).view(n + t, 3, self.heads, -1).permute(1, 2, 0, 3)
            cache[0, row, :, : n + t] = k
            cache[1, row, :, : n + t] = v
            if layer is self.layers[-1]:  # from here on nobody asks for the other positions
                q, x, seen = q[:, -1:], x[-1:], seen[-1:]
            heard = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=seen)
            x = self._rest(layer, x, heard[0].transpose(0, 1).reshape(x.shape))
        state.filled[row] = state.lengths[row] = n + t
        state.said[row] = t
        state.bias[row, ..., : n + t] = 0
        logits: Tensor = self.predict(x)[0].float()
        return logits

    @torch.inference_mode()
    def step(self, state: State, codes: Tensor) -> Tensor:
        """codes [B] int64 -> logits [B, V] float32 of the next codes."""
        lengths = state.lengths
        span = max(lengths) + 1
        if span > state.bias.shape[-1]:
            raise EngineError("too_long", f"the cache holds {span - 1} positions, no more fit")
        logits = self.forward(state, codes, span, None if len(set(lengths)) > 1 else span - 1)
        state.lengths = [length + 1 for length in lengths]
        return logits

    def forward(self, state: State, codes: Tensor, span: int, place: int | None) -> Tensor:
        """codes [B] -> logits [B, V]; rows attend to the first ``span`` positions, less what
        ``bias`` hides. ``place``: the position that all rows write, if the host knows it; None
        takes ``state.filled`` (a captured graph can only have that).
        """
        b = codes.numel()
        rows = torch.arange(b, device=self.device)
        filled, said = state.filled, state.said
        x = (self.code_table[codes] + self.code_positions[said]).to(self.dtype)
        hidden = None
        if place is None:
            state.bias.scatter_(3, filled.view(b, 1, 1, 1), 0.0)
            hidden = state.bias[..., :span]
        else:
            state.bias[..., place] = 0
        for layer, cache in zip(self.layers, state.cache, strict=True):
            qkv = layer.qkv(x).view(b, 3, self.heads, -1)
            if place is None:
                cache[:, rows, :, filled] = qkv[:, 1:]
            else:
                cache[:, :, :, place] = qkv[:, 1:].transpose(0, 1)
            heard = F.scaled_dot_product_attention(
                qkv[:, 0].unsqueeze(2), cache[0, ..., :span, :], cache[1, ..., :span, :], hidden
            )
            x = self._rest(layer, x, heard.view(b, -1))
        filled += 1
        said += 1
        logits: Tensor = self.predict(x).float()
        return logits

    def _rest(self, layer: Layer, x: Tensor, heard: Tensor) -> Tensor:
        """x [P, C], heard [P, C] (attention before its projection) -> [P, C]"""
        x = F.layer_norm(x + layer.out(heard), x.shape[-1:], *layer.norm1)
        return F.layer_norm(x + layer.down(layer.up(x).relu_()), x.shape[-1:], *layer.norm2)

    def _embed_text(self, phones: Tensor, bert: Tensor | None) -> Tensor:
        """phones [N], bert [1024, N] or None -> [N, C]"""
        features = (
            self.bert_bias
            if bert is None
            else F.linear(bert.to(self.device, torch.float32).T, self.bert_weight, self.bert_bias)
        )
        return self.phone_table[phones] + features + self.phone_positions[: phones.numel()]

    def _embed_codes(self, codes: Tensor) -> Tensor:
        """codes [T] -> [T, C]"""
        return self.code_table[codes] + self.code_positions[: codes.numel()]

    def _check(self, state: State, phones: Tensor, bert: Tensor | None, prompt: Tensor) -> None:
        """What a user's text or reference can cause, told before it becomes an index error."""
        n, t = phones.numel(), prompt.numel()
        if not n:
            raise EngineError("no_phones", "there is nothing to say", "the text has no phones")
        if n > MOST_POSITIONS or n + t >= state.bias.shape[-1]:
            raise EngineError(
                "too_long", f"{n} phones and {t} codes do not fit", "split the text into sentences"
            )
        for name, ids, size in (
            ("phone", phones, self.dims.phones),
            ("code", prompt, self.dims.end),
        ):
            if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < size:
                raise EngineError("unknown_id", f"a {name} is not among the {size} of this model")
        assert bert is None or bert.shape == (self.dims.bert, n)


def sinusoid(positions: int, width: int) -> Tensor:
    """-> [P, C] float32: sine in the even, cosine in the odd channels, 10000^(-2i/C) per position.

    Computed in float32 throughout: far out, a finer angle would be another one.
    """
    frequency = torch.exp(torch.arange(0, width, 2).float() * -(math.log(10000.0) / width))
    angle = torch.arange(positions).float().unsqueeze(1) * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).reshape(positions, width)
