"""What base models share: HuBERT and the speaker network, which prepare voices; BERT and g2pW, for
Chinese; the dictionaries of each language.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import torch

from koed.engine.gpt_sovits import text_features, threads
from koed.engine.gpt_sovits.cards import EXACT, Card, formats
from koed.engine.gpt_sovits.checkpoints import checkpoint
from koed.engine.gpt_sovits.decoding.cuda_graph import CAPTURING
from koed.engine.gpt_sovits.model.bert import Bert
from koed.engine.gpt_sovits.model.hubert import Hubert
from koed.engine.gpt_sovits.model.speaker_encoder import Speaker
from koed.engine.gpt_sovits.store.store import Store
from koed.engine.gpt_sovits.symbols import Version
from koed.errors import EngineError
from koed.g2p import chinese_g2pw
from koed.g2p.chinese_g2pw import Polyphones

log = logging.getLogger(__name__)

T = TypeVar("T")
Part = Literal["hubert", "bert", "sv"]

SAMPLES = {
    "zh": "你好，今天怎么样？",
    "ja": "こんにちは、元気ですか。",
    "en": "Hello, how are you today?",
    "ko": "안녕하세요, 반갑습니다.",
    "yue": "你好，今日點呀？",
}
"""Sentences that a language is loaded with."""
PART_NAMES: dict[Part, str] = {
    "hubert": "chinese-hubert-base, which hears the reference",
    "bert": "chinese-roberta-wwm-ext-large, which reads Chinese",
    "sv": "the speaker network, which v2Pro models need",
}


class Parts:
    """What base models share, each loaded when it is first asked for."""

    def __init__(self, store: Store, device: torch.device, card: Card | None = None) -> None:
        self._store, self._device = store, device
        half = card is not None and formats(card, "auto") != EXACT
        self._bert_dtype = torch.float16 if half else torch.float32
        self._loaded: dict[Part, Any] = {}
        self._polyphones: Polyphones | None = None
        self._polyphones_sought = False
        self._turns = {name: threading.Lock() for name in (*PART_NAMES, chinese_g2pw.MODEL)}
        """So that each is loaded once; nobody else waits meanwhile."""
        self._lock = threading.Lock()
        """Of ``_languages``."""
        self._languages: dict[tuple[str, Version], Future[None]] = {}
        self._loader = ThreadPoolExecutor(len(SAMPLES), "language", threads.use, (1,))

    def language(self, lang: str, version: Version) -> Future[None]:
        """Of `SAMPLES`: done when all that reads it for a model of this version is in memory. It is
        loaded in a thread of its own, by reading a sentence. What was in vain is tried anew."""
        with self._lock:
            coming = self._languages.get((lang, version))
            if coming is None or (coming.done() and coming.exception() is not None):
                coming = self._loader.submit(self._learn, lang, version)
                self._languages[lang, version] = coming
            return coming

    def _learn(self, lang: str, version: Version) -> None:
        text_features.read(SAMPLES[lang], lang, version, self.bert, self.polyphones)

    def close(self) -> None:
        """What is being loaded is waited for."""
        self._loader.shutdown(cancel_futures=True)

    def hubert(self) -> Hubert:
        return self._get("hubert", lambda path: Hubert.load(path, self._device))

    def bert(self) -> Bert | None:
        """None where it is not installed: Chinese is then read without its features."""
        try:
            return self._get(
                "bert", lambda path: Bert.load(path, self._device, dtype=self._bert_dtype)
            )
        except EngineError as error:
            if error.code != "model_missing":
                raise
            if "bert" not in self._loaded:
                log.warning("%s; Chinese is spoken with less expression", error)
                self._loaded["bert"] = None
            return None

    def polyphones(self, text: str) -> Sequence[str | None]:
        """As `koed.g2p.converted.Pinyin`; nothing where g2pW is not installed."""
        with self._turns[chinese_g2pw.MODEL]:
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

    def release(self, all_of_them: bool = False) -> None:
        """Forget what only preparing needs; or everything, where memory ran out."""
        names: tuple[Part, ...] = ("hubert", "sv", "bert") if all_of_them else ("hubert", "sv")
        if all_of_them:
            with self._lock:
                self._languages.clear()  # who reads Chinese next waits in its own lane
        gone = [self._loaded.pop(name) for name in names if self._loaded.get(name) is not None]
        if gone and self._device.type == "cuda":
            gone.clear()
            with CAPTURING:
                torch.cuda.empty_cache()

    def _get(self, part: Part, load: Callable[[Path], T]) -> T:
        with self._turns[part]:
            if part not in self._loaded:
                self._loaded[part] = load(self._path(part))
            return cast(T, self._loaded[part])

    def _path(self, part: Part) -> Path:
        try:
            return self._store.part(part)
        except EngineError as error:
            what = f"the models folder lacks {PART_NAMES[part]}"
            raise EngineError(error.code, what, error.hint) from error
