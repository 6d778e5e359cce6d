"""Reference audio for the networks: resampling, the linear spectrogram, the Kaldi filter bank.

Resampling and filter bank are torchaudio's where it imports, else small twins with the same
numbers: torchaudio must match torch's build exactly, so it cannot be required.

Shapes: S samples, F frames, C channels (frequency bins). Waves are float32 in -1..1.
"""

from __future__ import annotations

import functools
import importlib
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv1d, pad

from koed.recordings.recording import Recording as Recording
from koed.recordings.recording import check_prompt as check_prompt
from koed.recordings.recording import read as read

MODEL_HZ = 32_000
SPEECH_HZ = 16_000
"""Of HuBERT and of the speaker network."""

FFT, HOP = 2048, 640
BANDS = 80


# --- what each network hears -----------------------------------------------------------------


def for_prompt(recording: Recording) -> Tensor:
    """``[S]`` at 16 kHz for HuBERT. Resampled by soxr "HQ", which keeps all up to 7.3 kHz."""
    if recording.rate_hz == SPEECH_HZ:
        return torch.from_numpy(recording.samples)
    return _by_soxr(recording.samples, recording.rate_hz, SPEECH_HZ)


def for_style(recording: Recording) -> Tensor:
    """``[S]`` at 32 kHz for the spectrogram, a level above full scale brought down.

    By a factor of 2 at most, as the models know it: what is louder is no audio.
    """
    wave = resample(torch.from_numpy(recording.samples), recording.rate_hz, MODEL_HZ)
    peak = float(wave.abs().max())
    return wave / min(2.0, peak) if peak > 1.0 else wave


def for_speaker(wave: Tensor) -> Tensor:
    """``[S]`` at 32 kHz, of `for_style` -> ``[S // 2]`` at 16 kHz for the speaker network."""
    return resample(wave, MODEL_HZ, SPEECH_HZ)


def spectrogram(wave: Tensor) -> Tensor:
    """``[S]`` at 32 kHz -> linear magnitudes ``[1, 1025, F]``, F = S // 640, 20 ms each."""
    edge = (FFT - HOP) // 2
    padded = pad(wave[None], (edge, edge), mode="reflect")
    window = torch.hann_window(FFT, dtype=wave.dtype, device=wave.device)
    bins = torch.stft(padded, FFT, HOP, FFT, window, center=False, return_complex=True)
    return (bins.real**2 + bins.imag**2 + 1e-8).sqrt()


# --- resampling ------------------------------------------------------------------------------


def resample(wave: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """``[S]`` -> ``[ceil(S * to_hz / from_hz)]``, with torchaudio's default filter."""
    if from_hz == to_hz:
        return wave
    common = math.gcd(from_hz, to_hz)
    if (from_hz // common) * (to_hz // common) > 1 << 24:
        # Rates with hardly a common divisor would need a bank of gigabytes.
        return _by_soxr(wave.cpu().numpy(), from_hz, to_hz).to(wave.device)
    if torchaudio() is not None:
        # The class, not the function: that one computes its filter in single precision.
        out: Tensor = torchaudio().transforms.Resample(from_hz, to_hz).to(wave.device)(wave)
        return out
    return resample_twin(wave, from_hz // common, to_hz // common)


def resample_twin(wave: Tensor, old: int, new: int) -> Tensor:
    """``[S]`` -> ``[ceil(S * new / old)]``: one windowed sinc for each of ``new`` phases."""
    bank, reach = _sinc_bank(old, new)
    padded = pad(wave[None, None], (reach, reach + old))
    phases = conv1d(padded, bank.to(wave)[:, None], stride=old)
    return phases[0].T.reshape(-1)[: math.ceil(len(wave) * new / old)]


@functools.lru_cache(maxsize=8)
def _sinc_bank(old: int, new: int) -> tuple[Tensor, int]:
    """``[new, 2 * reach + old]`` and reach: how many input samples a filter looks to each side.

    A low pass at 0.99 of the lower Nyquist frequency, six zero crossings wide, under a Hann
    window (Smith, "Digital Audio Resampling").
    """
    crossings, cutoff = 6, 0.99 * min(old, new)
    reach = math.ceil(crossings * old / cutoff)
    position = torch.arange(-reach, reach + old, dtype=torch.float64) / old
    phase = torch.arange(new) / new  # in single precision, as torchaudio does
    t = ((position - phase[:, None]) * cutoff).clamp(-crossings, crossings)
    window = torch.cos(t * (math.pi / crossings / 2)) ** 2
    return (torch.sinc(t) * window * (cutoff / old)).float(), reach


def _by_soxr(samples: NDArray[np.float32], from_hz: int, to_hz: int) -> Tensor:
    import soxr

    out = soxr.resample(samples, from_hz, to_hz, quality="HQ")
    length = math.ceil(len(samples) * to_hz / from_hz)  # soxr may give one sample more or less
    return pad(torch.from_numpy(out[:length]), (0, max(0, length - len(out))))


# --- filter bank -----------------------------------------------------------------------------


def fbank(wave: Tensor) -> Tensor:
    """``[S]`` at 16 kHz -> log energies ``[F, 80]``: frames of 25 ms, every 10 ms."""
    if torchaudio() is not None:
        kaldi = torchaudio().compliance.kaldi
        out: Tensor = kaldi.fbank(wave[None], num_mel_bins=BANDS, sample_frequency=SPEECH_HZ)
        return out
    return fbank_twin(wave)


def fbank_twin(wave: Tensor) -> Tensor:
    """``[S]`` -> ``[F, 80]`` as Kaldi does it: offset, pre-emphasis, Povey window, power, log."""
    frames = wave.unfold(0, 400, 160)
    frames = frames - frames.mean(1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], 1)
    window = torch.hann_window(400, periodic=False, dtype=wave.dtype, device=wave.device) ** 0.85
    power: Tensor = torch.fft.rfft((frames - 0.97 * before) * window, n=512).abs() ** 2
    energies = power @ _kaldi_mel().to(wave).T
    return energies.clamp_min(torch.finfo(torch.float32).eps).log()


@functools.lru_cache(maxsize=1)
def _kaldi_mel() -> Tensor:
    """``[80, 257]``: triangles between 20 Hz and 8 kHz, even on the mel scale.

    In float32 on purpose: near silence the log shows the rounding that the network was trained on.
    """
    low, high = (1127.0 * math.log(1.0 + hz / 700.0) for hz in (20.0, SPEECH_HZ / 2))
    corners = low + torch.arange(BANDS + 2.0)[:, None] * ((high - low) / (BANDS + 1))
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    bins = 1127.0 * (1.0 + torch.arange(256.0) * (SPEECH_HZ / 512) / 700.0).log()
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return pad(torch.minimum(rising, falling).clamp_min(0.0), (0, 1))  # the last bin is no one's


@functools.lru_cache(maxsize=1)
def torchaudio() -> Any:
    """The library, or None where it is missing or was built for another torch."""
    try:
        importlib.import_module("torchaudio.transforms")
        importlib.import_module("torchaudio.compliance.kaldi")
        return importlib.import_module("torchaudio")
    except (ImportError, OSError, RuntimeError):  # each is how a mismatch shows
        return None
