"""Text to segments: pieces that a voice speaks in one go, in order, as early as they are certain.

A clause ends at a mark (`koed.text.clause_ends`), a language switch parts it, and short ones are
joined. Each decision is made by the text so far and a few characters after it, and never taken
back: whole texts and texts that come in pieces are cut alike.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace

from koed.config.daemon import TextConfig
from koed.text.clause_ends import CLAUSE, LINE, SENTENCE, UNDECIDED, is_wide, next_break
from koed.text.language import HAN_LANGUAGES, has_kana, language_spans
from koed.text.normalize import speakable

_SWITCH = 0
"""The strength of a break that no mark made."""

_PIECE = 256
"""Characters looked at before what is certain is given out, and the longest look ahead."""

_AHEAD = 16
"""Characters behind a mark that may decide what it is."""

_MIN_WORDS = 2
_MIN_WIDE = 6
_LONG_WORD = 64
"""The first segment may become so long before a word in it is cut."""

_STICKY = "ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶーゝゞヽヾ々〜"
"""No cut before these; closing marks and combining marks neither."""


@dataclass(frozen=True, slots=True)
class Segment:
    text: str
    """``whole[start:end]``: no white space at the ends, something speakable within."""
    lang: str
    start: int
    """Offset in the whole text, in characters."""
    end: int
    pause_s: float
    """Silence to add after it. 0 within a clause and after the last segment of `segments`; the
    last one of a `Segmenter` may carry a pause, for it was given out before the end was known."""
    index: int
    style: str = ""
    """That the text asks for; empty = that of its line."""


@dataclass(slots=True)
class _Pending:
    """Clauses joined so far, not yet given out."""

    start: int
    end: int
    lang: str
    """Empty while it has no letters."""
    strength: int


def segments(
    text: str,
    config: TextConfig,
    default_lang: str,
    forced_lang: str | None = None,
    sentence_chars: int = 0,
) -> Iterator[Segment]:
    """The segments of a whole text, one at a time: work is done as they are asked for.

    The first one is the whole first sentence if that has at most ``sentence_chars`` (wide ones
    count twice); a longer one is cut as ever.
    """
    whole_to = _sentence_end(text, sentence_chars) if sentence_chars else 0
    segmenter = Segmenter(config, default_lang, forced_lang, whole_to)
    held: Segment | None = None
    for start in range(0, len(text) + _PIECE, _PIECE):
        piece = text[start : start + _PIECE]
        for segment in segmenter.feed(piece) if piece else segmenter.close():
            if held is not None:
                yield held
            held = segment
    if held is not None:
        yield replace(held, pause_s=0.0)


class Segmenter:
    """Cuts a text that comes in pieces of any size.

    Marks that stand alone, with nothing to say in their line, belong to no segment. The work per
    `feed` is bounded by its text and `TextConfig.segment_chars`, however long a line stays open.
    """

    def __init__(
        self, config: TextConfig, default_lang: str, forced_lang: str | None = None,
        whole_to: int = 0,
    ) -> None:  # fmt: skip
        self._config = config
        self._whole_to = whole_to
        """The first segment does not end before this at any mark."""
        self._default = default_lang
        self._forced = forced_lang
        self._buffer = ""
        """Text from the start of what is not given out yet."""
        self._base = 0
        """Offset of `_buffer` in the whole text."""
        self._clause = 0
        """Start of the open clause in `_buffer`, as all positions below."""
        self._scan = 0
        """No clause ends between `_clause` and here."""
        self._pending: _Pending | None = None
        self._line_kana = False
        """Kana was seen earlier in this line."""
        self._lang = forced_lang or default_lang
        """Of the last letters: what digits alone are spoken in."""
        self._index = 0
        self._out: list[Segment] = []

    def feed(self, text: str) -> list[Segment]:
        """More text; gives the segments that are certain now."""
        out: list[Segment] = []
        for start in range(0, len(text), _PIECE):
            self._buffer += text[start : start + _PIECE]
            self._advance(final=False)
            out += self._take()
        return out

    def close(self) -> list[Segment]:
        """No more text comes; gives the rest."""
        self._advance(final=True)
        self._end_segment()
        segments = self._take()
        if segments:
            segments[-1] = replace(segments[-1], pause_s=0.0)
        return segments

    def _take(self) -> list[Segment]:
        done = self._pending.start if self._pending else self._clause
        self._buffer = self._buffer[done:]
        self._base += done
        self._clause -= done
        self._scan -= done
        if self._pending:
            self._pending.start -= done
            self._pending.end -= done
        out, self._out = self._out, []
        return out

    # --- clauses ------------------------------------------------------------------------------

    def _advance(self, final: bool) -> None:
        while True:
            self._skip_space()
            if self._clause == len(self._buffer):
                return
            found, self._scan = next_break(self._buffer, self._clause, self._scan, final)
            if found is None and final:
                end, strength = len(self._buffer), SENTENCE
            elif found is None or found.strength == UNDECIDED:
                end, strength = found.end if found else self._scan, -1
            else:
                end, strength = found.end, found.strength
            cut = self._overlong_cut(end)
            if cut is not None:
                end, strength = cut, _SWITCH
            elif strength < 0:
                return
            if not self._add_clause(end, strength, final, hard=cut is not None):
                self._scan = self._clause
                return
            self._clause = self._scan = end

    def _skip_space(self) -> None:
        buffer, size = self._buffer, len(self._buffer)
        while self._clause < size and buffer[self._clause].isspace():
            if buffer[self._clause] == "\n":
                self._end_line()
            self._clause += 1
        if self._pending and self._clause - self._pending.start > self._limit():
            self._end_segment()
        self._scan = max(self._scan, self._clause)

    def _end_line(self) -> None:
        self._line_kana = False
        if self._pending:
            self._pending.strength = LINE
            self._end_segment()

    def _limit(self) -> int:
        """The longest clause that is not split."""
        first, longest = self._config.first_segment_chars, self._config.segment_chars
        if self._index:
            return max(1, longest)
        return max(1, self._whole_to, min(longest, first + first // 4))

    def _overlong_cut(self, end: int) -> int | None:
        """Where to split a clause that goes on to ``end`` (or beyond) and is too long.

        None: it is not too long, or where to split is not certain yet.
        """
        pending = self._pending
        if pending and end - pending.start > self._limit():
            # It does not fit in any more, wherever it ends.
            self._end_segment(keep_marks=True)
        start, limit = self._clause, self._limit()
        if end - start <= limit:
            return None
        target = start + min(limit, self._config.first_segment_chars if not self._index else limit)
        hard = start + max(limit, min(max(2 * limit, _LONG_WORD), self._config.segment_chars))
        return self._best_cut(start, target, hard, end)

    def _best_cut(self, start: int, target: int, hard: int, end: int) -> int | None:
        """The last place up to ``target`` that is fit, else the first one after it."""
        for cut in range(target, (start + target) // 2, -1):
            if _is_phrase_end(self._buffer, cut) and self._fit(start, cut):
                return cut
        for cut in range(target, start, -1):
            if self._fit(start, cut):
                return cut
        for cut in range(target + 1, min(hard + 1, end)):
            if self._fit(start, cut):
                return cut
        if end <= hard:
            return None  # the clause may end there, or the next letter may be fit
        cut = hard
        while cut > start + 1 and not _parts(self._buffer, cut):
            cut -= 1
        return cut if cut > start + 1 else hard

    def _fit(self, start: int, cut: int) -> bool:
        """A boundary of words with enough before it to be worth a breath."""
        text = self._buffer
        space = text[cut - 1].isspace() and not text[cut].isspace()
        wide = is_wide(text[cut - 1]) and is_wide(text[cut]) and _parts(text, cut)
        if not space and not (wide and text[cut].isalnum()):
            return False
        piece = text[start:cut]
        if sum(map(is_wide, piece)) >= _MIN_WIDE:
            return True
        return len(piece.split()) >= _MIN_WORDS

    # --- languages ----------------------------------------------------------------------------

    def _add_clause(self, end: int, strength: int, final: bool, hard: bool) -> bool:
        """Hand the clause on, parted by language; False: its language is not certain yet."""
        start, text = self._clause, self._buffer[self._clause : end]
        if self._forced:
            self._add(start, end, self._forced if speakable(text) else "", strength, hard)
            return True
        kana = self._line_kana or has_kana(text)
        spans = language_spans(text, self._default, kana)
        if not kana and any(span.lang in HAN_LANGUAGES for span in spans):
            ahead = self._kana_ahead(end, strength, final)
            if ahead is None:
                return False
            if ahead:
                spans = language_spans(text, self._default, kana=True)
        self._line_kana = kana
        for span in spans:
            last = span is spans[-1]
            self._add(
                start + span.start,
                start + span.end,
                span.lang,
                strength if last else _SWITCH,
                hard and last,
            )
        if strength == LINE:
            self._line_kana = False
        return True

    def _kana_ahead(self, end: int, strength: int, final: bool) -> bool | None:
        """Whether kana follows soon in this line; None: wait. Japanese by default needs none."""
        if self._default == "ja" or strength == LINE:
            return False
        reach = end + (8 if self._default in HAN_LANGUAGES else 16)
        line_end = self._buffer.find("\n", end, reach)
        if line_end >= 0:
            reach = line_end
        if has_kana(self._buffer, end, reach):
            return True
        return False if final or line_end >= 0 or len(self._buffer) >= reach else None

    # --- segments -----------------------------------------------------------------------------

    def _add(self, start: int, end: int, lang: str, strength: int, hard: bool) -> None:
        pending = self._pending
        if pending and lang and pending.lang and lang != pending.lang:
            self._end_segment()
            pending = None
        if pending and pending.lang and end - pending.start > self._limit():
            self._end_segment()
            pending = None
        if pending is None:
            self._pending = pending = _Pending(start, end, lang, strength)
        else:
            pending.end, pending.strength = end, strength
            pending.lang = pending.lang or lang
        if hard or strength == LINE or self._is_enough(pending):
            self._end_segment(keep_marks=strength < LINE)

    def _is_enough(self, pending: _Pending) -> bool:
        """The first segment ends at its first mark, or with its sentence; later ones grow, so that
        speech flows."""
        if pending.strength < CLAUSE:
            return False
        if self._index == 0:
            return self._base + pending.end >= self._whole_to
        width = _width(self._buffer[pending.start : pending.end])
        first, longest = self._config.first_segment_chars, self._config.segment_chars
        wanted = min(longest, first << min(self._index, 8)) // 2
        return width >= (min(wanted, first) if pending.strength >= SENTENCE else wanted)

    def _end_segment(self, keep_marks: bool = False) -> None:
        """Give the pending clauses out; marks alone are kept for the next clause or dropped."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        text = self._buffer[pending.start : pending.end]
        if not speakable(text):
            if keep_marks and len(text) <= self._limit():
                self._pending = pending
            return
        start = pending.start + len(text) - len(text.lstrip())
        end = pending.start + len(text.rstrip())
        self._lang = pending.lang or self._lang
        self._out.append(
            Segment(
                text=self._buffer[start:end],
                lang=self._lang,
                start=self._base + start,
                end=self._base + end,
                pause_s=self._pause_s(pending.strength),
                index=self._index,
            )
        )
        self._index += 1

    def _pause_s(self, strength: int) -> float:
        if strength >= SENTENCE:
            return self._config.sentence_pause_s
        return self._config.comma_pause_s if strength == CLAUSE else 0.0


def _width(text: str) -> int:
    return len(text) + sum(map(is_wide, text))


def _sentence_end(text: str, most: int) -> int:
    """Where the first sentence ends; 0: it is wider than ``most``."""
    head = text[: most + _AHEAD]
    end = 0
    while _width(head[:end]) <= most:
        found, _ = next_break(head, end, end, final=True)
        end = found.end if found else len(head)
        if (found is None or found.strength >= SENTENCE) and _width(head[:end]) <= most:
            return end
    return 0


def _parts(text: str, cut: int) -> bool:
    """Whether a cut before ``text[cut]`` leaves letters, numbers and marks whole."""
    char = text[cut]
    if char in _STICKY or char == "\u200d" or unicodedata.combining(char):
        return False
    return not (text[cut - 1].isdigit() and char.isdigit())


def _is_phrase_end(text: str, cut: int) -> bool:
    """A space, or hiragana before something else: in Japanese mostly after a particle."""
    return text[cut - 1].isspace() or (
        "\u3041" <= text[cut - 1] <= "\u309f" and not "\u3041" <= text[cut] <= "\u309f"
    )
