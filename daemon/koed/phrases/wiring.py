"""Builds the book of phrases, and shows it to those who need it."""

from __future__ import annotations

from collections.abc import Callable

from koed.config import Config, cache_dir
from koed.desk import Desk
from koed.engines import EngineHosts
from koed.events import Bus
from koed.phrases.book import PhraseBook
from koed.phrases.desk import PhraseDesk
from koed.phrases.shelf import Shelf
from koed.phrases.studio import Studio
from koed.server import NOBODY
from koed.stage import Stage


def phrase_book(
    config: Config,
    stage: Stage,
    engines: EngineHosts,
    desk: Desk,
    bus: Bus,
    wake: Callable[[], None],
) -> PhraseBook:
    """``wake`` makes the main loop turn."""
    hosts, next_serial = engines.hosts, stage.jobs.next_serial
    phrases = PhraseBook(
        config,
        stage.book,
        hosts,
        bus,
        Shelf(cache_dir() / "phrases", int(config.phrase_cache.disk_mb * 1e6), wake),
        lambda done: Studio(hosts, next_serial, config.engine.lookahead_s, done),
        lambda: any(True for _ in stage.performances()),
        lambda: desk.voice,
    )
    engines.attach_phrases(phrases)
    stage.takes = phrases.take
    counter = PhraseDesk(phrases, lambda say: desk.handle(say, NOBODY) or {})
    desk.add("phrase", counter.phrase)
    desk.add("phrases", counter.phrases)
    return phrases
