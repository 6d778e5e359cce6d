"""What base models share: HuBERT and the speaker network, which prepare voices; BERT and g2pW, for
Chinese.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import torch

from koed.engine.gpt_sovits.checkpoints import checkpoint
from koed.engine.gpt_sovits.model.bert import Bert
from koed.engine.gpt_sovits.model.hubert import Hubert
from koed.engine.gpt_sovits.model.speaker_encoder import Speaker
from koed.engine.gpt_sovits.store.store import Store
from koed.errors import EngineError
from koed.g2p import chinese_g2pw
from koed.g2p.chinese_g2pw import Polyphones

log = logging.getLogger(__name__)

T = TypeVar("T")
Part = Literal["hubert", "bert", "sv"]

PART_NAMES: dict[Part, str] = {
    "hubert": "chinese-hubert-base, which hears the reference",
    "bert": "chinese-roberta-wwm-ext-large, which reads Chinese",
    "sv": "the speaker network, which v2Pro models need",
}


class Parts:
    """What base models share, each loaded when it is first asked for."""

    def __init__(self, store: Store, device: torch.device) -> None:
        self._store, self._device = store, device
        self._loaded: dict[Part, Any] = {}
        self._polyphones: Polyphones | None = None
        self._polyphones_sought = False
        self._lock = threading.Lock()

    def hubert(self) -> Hubert:
        return self._get("hubert", lambda path: Hubert.load(path, self._device))

    def bert(self) -> Bert | None:
        """None where it is not installed: Chinese is then read without its features."""
        try:
            return self._get("bert", lambda path: Bert.load(path, self._device))
        except EngineError as error:
            if error.code != "model_missing":
                raise
            if "bert" not in self._loaded:
                log.warning("%s; Chinese is spoken with less expression", error)
                self._loaded["bert"] = None
            return None

    def polyphones(self, text: str) -> Sequence[str | None]:
        """As `koed.g2p.converted.Pinyin`; nothing where g2pW is not installed."""
        with self._lock:
            if not self._polyphones_sought:
                self._polyphones_sought = True
                self._polyphones = self._found_polyphones()
        try:
            return self._polyphones(text) if self._polyphones is not None else ()
        except EngineError as error:
            log.warning("%s; characters with several readings go by the dictionary", error)
            self._polyphones = None
            return ()

    def _found_polyphones(self) -> Polyphones | None:
        model = self._store.file(chinese_g2pw.MODEL)
        if model is None:
            log.info("no %s: characters with several readings go by the dictionary",
                     chinese_g2pw.MODEL)  # fmt: skip
            return None
        try:
            vocabulary = self._store.part("bert")
        except EngineError:
            vocabulary = model.parent
        try:
            return Polyphones.of(model.parent, vocabulary)
        except EngineError as error:
            log.warning("%s; characters with several readings go by the dictionary", error)
            return None

    def speaker(self) -> Speaker:
        return self._get("sv", lambda path: Speaker(checkpoint.load_state(path), self._device))

    def release(self) -> None:
        """Forget what only preparing needs."""
        with self._lock:
            self._loaded.pop("hubert", None)
            self._loaded.pop("sv", None)

    def _get(self, part: Part, load: Callable[[Path], T]) -> T:
        with self._lock:
            if part not in self._loaded:
                self._loaded[part] = load(self._path(part))
            return cast(T, self._loaded[part])

    def _path(self, part: Part) -> Path:
        try:
            return self._store.part(part)
        except EngineError as error:
            what = f"the models folder lacks {PART_NAMES[part]}"
            raise EngineError(error.code, what, error.hint) from error
