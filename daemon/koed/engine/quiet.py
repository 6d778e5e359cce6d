"""No process of koed's talks to the internet unless it was asked to.

Some libraries do so by themselves: onnxruntime (which pyopenjtalk loads where it is installed)
writes a lasting id below ``~/.cache`` and reports what it runs, and the Hub's looks for newer
files. All of them can be told not to, by the environment, before they are loaded. What a user has
set stands.
"""

from __future__ import annotations

from collections.abc import MutableMapping

SILENT = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
"""Nothing is told of this machine."""
OFFLINE = {"HF_HUB_OFFLINE": "1"}
"""Nothing is fetched. `koed models pull` is there for that."""


def keep(environ: MutableMapping[str, str], *, fetching: bool = False) -> None:
    """For this process and those that it starts. ``fetching``: it was asked to fetch models."""
    for variable, value in (SILENT if fetching else SILENT | OFFLINE).items():
        environ.setdefault(variable, value)
