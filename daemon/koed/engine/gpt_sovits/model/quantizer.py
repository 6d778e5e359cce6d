"""Semantic codes and the vectors behind them: one codebook of 1024 entries at 25 Hz."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Quantizer(nn.Module):
    """Features to codes (`encode`, for a reference clip) and codes to features (`decode`)."""

    def __init__(self, entries: int, width: int) -> None:
        super().__init__()
        self.register_buffer("codebook", torch.empty(entries, width))
        self.ssl_proj = nn.Conv1d(width, width, kernel_size=2, stride=2)
        self.codebook: Tensor

    def encode(self, ssl: Tensor) -> Tensor:
        """ssl [1, C, F] at 50 Hz -> codes [F // 2] int64 at 25 Hz: the nearest entry of each"""
        features: Tensor = self.ssl_proj(ssl)[0].T
        # |x - e|^2 without |x|^2, which is the same for every entry.
        distance = self.codebook.square().sum(1) - 2 * features @ self.codebook.T
        return distance.argmin(1)

    def decode(self, codes: Tensor) -> Tensor:
        """codes [T] int64 -> features [1, C, 2T] at 50 Hz, each code said twice."""
        features = functional.embedding(codes, self.codebook)
        return features.repeat_interleave(2, dim=0).T.unsqueeze(0)
