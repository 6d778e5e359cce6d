"""What `koed check` tells of GPUs, and what it means for who speaks there. Loads no torch.

The driver is asked through nvidia-smi, torch by the trial line of the neural voice, which runs in a
process of its own.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ASK = ("--query-gpu=index,name,driver_version,memory.total,memory.free", "--format=csv,noheader")
ASK_S = 10.0
CPU_TORCH = "install a torch that is built for CUDA, then see koed check again"
LITTLE_MB = 2048


@dataclass(frozen=True, slots=True)
class Seen:
    """A GPU, as the driver tells."""

    index: int
    name: str
    driver: str
    total: str
    """With its unit."""
    free: str


def seen() -> list[Seen] | None:
    """As nvidia-smi says; None where there is no such program, or it cannot reach the driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *ASK], capture_output=True, text=True, timeout=ASK_S, check=True,
            errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return read(done.stdout)


def read(answer: str) -> list[Seen]:
    """A line for each card; what is no such line is left out."""
    lines = [[word.strip() for word in line.split(",")] for line in answer.splitlines()[:64]]
    return [
        Seen(int(line[0]), *line[1:]) for line in lines if len(line) == 5 and line[0].isdecimal()
    ]


def meaning(there: list[Seen] | None, trial: Mapping[str, Any]) -> tuple[bool | None, str, str]:
    """Good or not, what it means for the neural voice, and a hint. ``trial``: what the trial line
    answered, empty if there was none (no torch)."""
    listed = "; ".join(
        f"{card.index}: {card.name}, driver {card.driver}, {card.free} of {card.total} free"
        for card in there or ()
    )
    if trial.get("card"):
        return _speaks(listed, trial)
    on_cpu = "the neural voice speaks on the processor"
    if not trial:
        return None, f"{listed}; the neural voice has not spoken" if listed else "none", ""
    if trial.get("why"):
        return None, f"{listed}; {trial['why']}" if listed else str(trial["why"]), ""
    if listed and not trial.get("cuda"):
        return (
            None,
            f"{listed}; torch {trial['torch']} is built without CUDA, so {on_cpu}",
            CPU_TORCH,
        )
    if listed:
        return None, f"{listed}; {on_cpu}, as koed.yaml says", ""
    return None, f"no NVIDIA GPU that answers: {on_cpu}", ""


def _speaks(listed: str, trial: Mapping[str, Any]) -> tuple[bool | None, str, str]:
    free, total = trial["free_mb"], trial["total_mb"]
    detail = (
        f"{listed or trial['card']}; the neural voice speaks on {trial['card']} in"
        f" {trial['formats']} (capability {trial['capability']}, CUDA {trial['cuda']} of torch);"
        f" {free / 1024:.1f} of {total / 1024:.1f} GB are free: room for about"
        f" {trial['models']} base model{'s' if trial['models'] > 1 else ''}"
    )
    hint = "close what else uses the GPU, or engines: {gpt_sovits: {device: cpu}}"
    return True, detail, hint if free < LITTLE_MB else ""
