"""`koed check` tells what there is of GPUs, and what it means, for cards that are not here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from koed.cli import gpus
from koed.cli.gpus import Seen

SMI = """0, NVIDIA GeForce RTX 3060, 550.54.14, 12288 MiB, 10400 MiB
1, NVIDIA GeForce GT 1030, 550.54.14, 2048 MiB, 1900 MiB
"""
THERE = gpus.read(SMI)
SPOKE: dict[str, Any] = {"device": "cpu", "torch": "2.8.0", "cuda": "12.8", "card": "", "why": ""}
ON_CARD = {
    **SPOKE, "device": "cuda", "card": "cuda:0 (NVIDIA GeForce RTX 3060)", "capability": "8.6",
    "total_mb": 12288, "free_mb": 10240, "formats": "fp16 and bfloat16", "models": 11,
}  # fmt: skip


def test_what_nvidia_smi_prints_is_read() -> None:
    assert THERE[0] == Seen(0, "NVIDIA GeForce RTX 3060", "550.54.14", "12288 MiB", "10400 MiB")
    assert len(THERE) == 2
    assert gpus.read("NVIDIA-SMI has failed\nNo devices were found\n") == []


@pytest.mark.parametrize(
    ("there", "trial", "good", "words"),
    [
        (
            THERE,
            ON_CARD,
            True,
            ["driver 550.54.14", "cuda:0", "CUDA 12.8", "10.0 of 12.0", "11 base"],
        ),
        (None, ON_CARD, True, ["cuda:0 (NVIDIA GeForce RTX 3060)", "capability 8.6"]),
        (THERE, {**SPOKE, "cuda": ""}, None, ["RTX 3060", "built without CUDA", "processor"]),
        (
            THERE,
            {**SPOKE, "why": "torch finds no GPU, so"},
            None,
            ["RTX 3060", "torch finds no GPU"],
        ),
        (THERE, SPOKE, None, ["as koed.yaml says"]),
        (THERE, {}, None, ["RTX 3060", "has not spoken"]),
        (None, {**SPOKE, "cuda": ""}, None, ["no NVIDIA GPU", "processor"]),
        (None, {}, None, ["none"]),
    ],
)
def test_it_is_told_what_that_means(
    there: list[Seen] | None, trial: dict[str, Any], good: bool | None, words: list[str]
) -> None:
    found, detail, _ = gpus.meaning(there, trial)
    assert found is good
    assert all(word in detail for word in words), detail
    assert "\n" not in detail


def test_who_has_little_memory_left_or_a_torch_without_cuda_gets_a_hint() -> None:
    assert "device: cpu" in gpus.meaning(THERE, {**ON_CARD, "free_mb": 1500})[2]
    assert "CUDA" in gpus.meaning(THERE, {**SPOKE, "cuda": ""})[2]
    assert not gpus.meaning(THERE, ON_CARD)[2]


@pytest.mark.parametrize(
    ("script", "count"),
    [(f"cat <<'END'\n{SMI}END", 2), ("echo broken; exit 9", None), (None, None)],
)
def test_the_program_is_asked(
    script: str | None, count: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script is not None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(gpus.shutil, "which", lambda name: str(tmp_path / name) if script else None)
    found = gpus.seen()
    assert (found if found is None else len(found)) == count
