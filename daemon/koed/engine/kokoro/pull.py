"""`koed models pull kokoro`: the model as one file, where its packages cannot be had."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from pathlib import Path

from koed.engine.fetching import Pulled, Source, bring, download
from koed.engine.kokoro import weights
from koed.errors import EngineError

NAME = "kokoro"
ENDPOINT = "https://github.com/thewh1teagle/kokoro-onnx/releases/download/model-files-v1.0"
FILE = "kokoro-v1.0.int8.onnx"


def pull(
    models: Path, endpoint: str = "", told: Callable[[int], None] = lambda there: None
) -> Pulled:
    """Fetch `weights.FILE` into the folder ``models``, from the release or another folder of the
    web that has the same file; ``told`` how many of `weights.BYTES` are there.

    Raises EngineError ``pull_failed``, ``pull_checksum`` or ``pull_busy``.
    """
    endpoint = endpoint.rstrip("/") or ENDPOINT
    source = Source(f"{endpoint}/{FILE}", weights.BYTES, weights.SHA256)
    target = models / weights.FILE
    try:
        return bring(source, target, FILE, lambda file: download(source, file, told))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise EngineError(
            "pull_failed",
            f"cannot fetch {FILE} from {endpoint}: {str(error)[:200]}",
            f"run it again: it goes on where it stopped. Or fetch it by hand, as {target}",
        ) from error
