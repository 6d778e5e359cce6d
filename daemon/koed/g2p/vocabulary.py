"""The vocabulary of a BERT, as folders of the Hub hold it."""

from __future__ import annotations

import json
from pathlib import Path

from koed.errors import EngineError


def read_vocabulary(folder: Path) -> dict[str, int]:
    """Token -> id from ``vocab.txt`` (a token a line) or ``tokenizer.json``.

    Raises `EngineError` ``model_missing``, ``model_damaged``.
    """
    path = folder / "vocab.txt"
    try:
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            return {token: i for i, token in enumerate(text.removesuffix("\n").split("\n"))}
        path = folder / "tokenizer.json"
        if path.is_file():
            vocabulary = json.loads(path.read_text(encoding="utf-8")).get("model", {}).get("vocab")
            return {str(token): int(i) for token, i in (vocabulary or {}).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:  # the last two: other JSON
        raise EngineError("model_damaged", f"{path}: {error}", "fetch the folder anew") from error
    raise EngineError(
        "model_missing", f"no vocabulary in {folder}", "it should hold vocab.txt or tokenizer.json"
    )
