"""The text of a line as segments, lazily, whether it is whole or still coming."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from koed.audio.arrangement import Joint
from koed.config.daemon import TextConfig
from koed.playback.queue import Line
from koed.text.normalize import StreamNormalizer
from koed.text.segment import Segment, Segmenter, segments
from koed.text.style_tags import Marks, TagReader


@dataclass(frozen=True, slots=True)
class Planned:
    """A segment that is to be spoken next, perhaps as the continuation of a broken one."""

    segment: Segment
    continues: int = 0
    """Serial of the part whose rest it says; 0 = it is a segment of its own."""
    joint: Joint | None = None
    """Of a restyled part: where it takes over from the one that it continues."""
    start_s: float = 0.0
    """Of a restyled part: where it begins in the sound of the segment."""
    by: str = ""
    """Name of the voice that says this one, as the line's does not speak its language."""

    @property
    def restyle_of(self) -> int:
        return self.joint.old if self.joint else 0


def _moved(segment: Segment, by: int, index: int, style: str) -> Segment:
    """A segment of a stretch of the text as one of the whole."""
    return replace(
        segment, start=segment.start + by, end=segment.end + by, index=index, style=style
    )


class Script:
    """The segments of a line, lazily, whether its text is whole or still coming."""

    def __init__(
        self, line: Line, config: TextConfig, default_lang: str, is_open: bool,
        sentence_chars: int = 0,
    ) -> None:  # fmt: skip
        """``sentence_chars``: as `segments` has it, for a text that is whole and in one style."""
        self.open = is_open
        self.received = line.text
        """All the (normalised) text so far."""
        self._pending: deque[Planned] = deque()
        self._source: Iterator[Segment] = iter(())
        self._line, self._config, self._lang = line, config, default_lang
        if is_open:
            self._tags = TagReader(line.tags)
            self._index = 0
            self._begin("")
        elif line.marks:
            self._source = self._marked(line.text, line.marks)
        else:
            self._source = segments(line.text, config, default_lang, line.lang, sentence_chars)
        self._look_ahead()

    @property
    def upcoming(self) -> Planned | None:
        """What `take` would give."""
        return self._pending[0] if self._pending else None

    def append(self, text: str) -> None:
        self._read(text)

    def close(self) -> None:
        """No more text; says so to the segmenter once."""
        if self.open:
            self._read("", final=True)
            self._end()
            self.open = False

    def _read(self, text: str, *, final: bool = False) -> None:
        for style, piece in self._tags.feed(text, final=final):
            if style:
                self._end()
                self._begin(style)
            self._take_in(self._normalizer.feed(piece))

    def _begin(self, style: str) -> None:
        """A stretch of the text in one style."""
        if self.received and not self.received[-1].isspace():
            self.received += " "
        self._style, self._offset = style, len(self.received)
        self._normalizer = StreamNormalizer(self._config, self._line.lang or self._lang)
        self._segmenter = Segmenter(self._config, self._lang, self._line.lang)

    def _end(self) -> None:
        self._take_in(self._normalizer.close())
        self._plan(self._segmenter.close())

    def _take_in(self, text: str) -> None:
        self.received += text
        self._plan(self._segmenter.feed(text))

    def _plan(self, found: Iterable[Segment]) -> None:
        for segment in found:
            self._pending.append(Planned(_moved(segment, self._offset, self._index, self._style)))
            self._index += 1

    def _marked(self, text: str, marks: Marks) -> Iterator[Segment]:
        """The segments of a whole text that changes its style."""
        index = 0
        for (start, style), (end, _) in itertools.pairwise([(0, ""), *marks, (len(text), "")]):
            cutter = Segmenter(self._config, self._lang, self._line.lang)
            for segment in [*cutter.feed(text[start:end]), *cutter.close()]:
                yield _moved(segment, start, index, style)
                index += 1

    def _look_ahead(self) -> None:
        if not self._pending:
            self._pending.extend(Planned(s) for s in [next(self._source, None)] if s)

    def take(self) -> Planned | None:
        """The next thing to speak, or None if there is none (yet)."""
        planned = self._pending.popleft() if self._pending else None
        self._look_ahead()
        return planned

    def give_back(self, planned: Planned) -> None:
        """Put something in front again, because the sound made of it was lost or is not wanted."""
        self._pending.appendleft(planned)

    def forget(self, continued: Collection[int]) -> None:
        """Plans that continue these parts were not asked for yet, and are not wanted any more."""
        while self._pending and self._pending[0].continues in continued:
            self.take()

    @property
    def exhausted(self) -> bool:
        return not self.open and not self._pending
