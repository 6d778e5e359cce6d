"""Text encoder of the sound model: codes and phones become the mean and spread of a latent.

Attention here knows how far apart two positions are, up to four steps (Shaw et al. 2018, "Self-
attention with relative position representations"); sound attends to text in `CrossAttention`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

CROSS_HEADS = 4
NORM_EPS = 1e-5


@dataclass(frozen=True, slots=True)
class Encoded:
    """An utterance (or what is known of it) between encoder and decoder."""

    m: Tensor
    """[1, C, F] float32: mean of the latent; a frame is 20 ms."""
    logs: Tensor
    """[1, C, F] float32: logarithm of its standard deviation."""
    attention: Tensor
    """[F', N] float32: how much a frame attends to each phone; F' = F before speed changed it."""

    @property
    def frames(self) -> int:
        return self.m.shape[-1]


@dataclass(frozen=True, slots=True)
class EncoderDims:
    """Sizes, all read from a checkpoint's shapes."""

    phones: int
    ssl: int
    width: int
    """C: of the encoders and of the latent."""
    filter: int
    head: int
    window: int
    kernel: int
    style: int
    layers: tuple[int, int, int]
    """Of `encoder_ssl`, `encoder_text` and `encoder2`."""


class ChannelNorm(nn.Module):
    """LayerNorm over channels, under the names that checkpoints give its parameters."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(channels))
        self.beta = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, T] -> [B, C, T]"""
        rows = functional.layer_norm(
            x.transpose(1, 2), self.gamma.shape, self.gamma, self.beta, NORM_EPS
        )
        return rows.transpose(1, 2)


def _split(x: Tensor, heads: int) -> Tensor:
    """x [B, C, T] -> [B, H, T, D]"""
    batch, channels, length = x.shape
    return x.view(batch, heads, channels // heads, length).transpose(2, 3)


def _join(x: Tensor) -> Tensor:
    """x [B, H, T, D] -> [B, C, T]"""
    return x.transpose(2, 3).flatten(1, 2)


class _Projections(nn.Module):
    """The four 1x1 convolutions of an attention layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_q = nn.Conv1d(width, width, 1)
        self.conv_k = nn.Conv1d(width, width, 1)
        self.conv_v = nn.Conv1d(width, width, 1)
        self.conv_o = nn.Conv1d(width, width, 1)


class RelativeAttention(_Projections):
    """Self-attention; keys and values of near positions carry their distance."""

    def __init__(self, width: int, head: int, window: int) -> None:
        super().__init__(width)
        self.heads, self.window = width // head, window
        self.scale: float = head**-0.5
        self.emb_rel_k = nn.Parameter(torch.empty(1, 2 * window + 1, head))
        self.emb_rel_v = nn.Parameter(torch.empty(1, 2 * window + 1, head))

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, T] -> [B, C, T]"""
        q = _split(self.conv_q(x), self.heads) * self.scale
        k, v = _split(self.conv_k(x), self.heads), _split(self.conv_v(x), self.heads)
        scores = functional.pad(q @ k.transpose(2, 3), (self.window, self.window))
        self._near(scores).add_(q @ self.emb_rel_k[0].T)
        shares = scores[..., self.window : -self.window].softmax(-1)
        near = self._near(functional.pad(shares, (self.window, self.window)))
        out: Tensor = self.conv_o(_join(shares @ v + near @ self.emb_rel_v[0]))
        return out

    def _near(self, padded: Tensor) -> Tensor:
        """padded [B, H, T, T + 2 window] -> a view [B, H, T, 2 window + 1]: the near keys"""
        batch, heads, length, _ = padded.shape
        row = padded.stride(2)
        size = (batch, heads, length, 2 * self.window + 1)
        return padded.as_strided(size, (padded.stride(0), padded.stride(1), row + 1, 1))


class FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.conv_1 = nn.Conv1d(width, hidden, kernel, padding=(kernel - 1) // 2)
        self.conv_2 = nn.Conv1d(hidden, width, kernel, padding=(kernel - 1) // 2)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, T] -> [B, C, T]"""
        out: Tensor = self.conv_2(self.conv_1(x).relu_())
        return out


class Encoder(nn.Module):
    """Transformer layers, each normalised after its residual."""

    def __init__(self, layers: int, dims: EncoderDims) -> None:
        super().__init__()
        width = dims.width
        self.attn_layers = nn.ModuleList(
            RelativeAttention(width, dims.head, dims.window) for _ in range(layers)
        )
        self.norm_layers_1 = nn.ModuleList(ChannelNorm(width) for _ in range(layers))
        self.ffn_layers = nn.ModuleList(
            FeedForward(width, dims.filter, dims.kernel) for _ in range(layers)
        )
        self.norm_layers_2 = nn.ModuleList(ChannelNorm(width) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, T] -> [B, C, T]"""
        layers = (self.attn_layers, self.norm_layers_1, self.ffn_layers, self.norm_layers_2)
        for attention, norm_1, feed_forward, norm_2 in zip(*layers, strict=True):
            x = norm_1(x + attention(x))
            x = norm_2(x + feed_forward(x))
        return x


class CrossAttention(_Projections):
    """Sound looks for its phones."""

    def forward(self, sound: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """sound [1, C, F], text [1, C, N] -> what was found [1, C, F], shares [F, N]"""
        q = _split(self.conv_q(sound), CROSS_HEADS)
        k = _split(self.conv_k(text), CROSS_HEADS)
        v = _split(self.conv_v(text), CROSS_HEADS)
        shares = (q * q.shape[-1] ** -0.5 @ k.transpose(2, 3)).softmax(-1)
        return self.conv_o(_join(shares @ v)), shares[0].mean(0)


class Mrte(nn.Module):
    """Where sound, text and style meet; checkpoints call it ``mrte``."""

    def __init__(self, width: int, style: int) -> None:
        super().__init__()
        self.c_pre = nn.Conv1d(width, style, 1)
        self.text_pre = nn.Conv1d(width, style, 1)
        self.cross_attention = CrossAttention(style)
        self.c_post = nn.Conv1d(style, width, 1)

    def forward(self, sound: Tensor, text: Tensor, ge512: Tensor) -> tuple[Tensor, Tensor]:
        """sound [1, C, F], text [1, C, N], ge512 [1, 512, 1] -> mixed [1, C, F], shares [F, N]"""
        sound = self.c_pre(sound)
        found, shares = self.cross_attention(sound, self.text_pre(text))
        return self.c_post(found + sound + ge512), shares


class TextEncoder(nn.Module):
    """Codes' features and phones to the latent's distribution; checkpoints call it ``enc_p``."""

    def __init__(self, dims: EncoderDims) -> None:
        super().__init__()
        self.ssl_proj = nn.Conv1d(dims.ssl, dims.width, 1)
        self.encoder_ssl = Encoder(dims.layers[0], dims)
        self.text_embedding = nn.Embedding(dims.phones, dims.width)
        self.encoder_text = Encoder(dims.layers[1], dims)
        self.mrte = Mrte(dims.width, dims.style)
        self.encoder2 = Encoder(dims.layers[2], dims)
        self.proj = nn.Conv1d(dims.width, 2 * dims.width, 1)

    def read(self, phones: Tensor) -> Tensor:
        """phones [N] -> [1, C, N]: half of the work for a short piece of sound, and always the
        same for a text
        """
        text: Tensor = self.encoder_text(self.text_embedding(phones).T.unsqueeze(0))
        return text

    def forward(self, features: Tensor, text: Tensor, ge512: Tensor, speed: float) -> Encoded:
        """features [1, 768, F'], text [1, C, N], ge512 [1, 512, 1] -> `Encoded` of F frames.

        F is F' at speed 1 and ``int(F' / speed) + 1`` at any other.
        """
        sound = self.encoder_ssl(self.ssl_proj(features))
        mixed, shares = self.mrte(sound, text, ge512)
        y = self.at_speed(self.encoder2(mixed), speed)
        m, logs = self.proj(y).chunk(2, dim=1)
        return Encoded(m, logs, shares)

    @staticmethod
    def at_speed(y: Tensor, speed: float) -> Tensor:
        """y [1, C, F'] -> [1, C, F]: stretched or squeezed over time"""
        if speed == 1:
            return y
        return functional.interpolate(y, size=int(y.shape[-1] / speed) + 1, mode="linear")
