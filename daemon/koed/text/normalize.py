"""From what people type in a chat to what a voice can say.

One pass, left to right: `Cleaner` gives clean characters, `_TOKEN` cuts them into tokens, each is
rewritten, `_Writer` limits repetition and collapses space. What a token becomes depends on what
came before it and on at most `_LOOKAHEAD` characters after it, so a stream gives exactly what the
whole text gives, and the time is linear in its length.
"""

from __future__ import annotations

import re
import unicodedata

from koed.config.daemon import TextConfig
from koed.text.characters import Cleaner
from koed.text.emoji_names import SYMBOLS, emoji_names
from koed.text.language import first_language, has_kana, last_language
from koed.text.laughter import fives_word, is_fives, is_w_run, laugh_word, may_laugh, spelled_laugh
from koed.text.repeats import RepeatFilter

_LOOKAHEAD = 200
_MAX_CHUNK = 4096
_MAX_RUN = 256

_TOKEN = re.compile(
    rf"(?P<space>\s{{1,{_MAX_RUN}}})"
    rf"|(?P<chunk>[!-~]{{1,{_MAX_CHUNK}}})"
    rf"|(?P<symbols>[{SYMBOLS}]{{1,{_MAX_RUN}}})"
    rf"|(?P<laugh>[ㅋㅎ]{{1,{_MAX_RUN}}}|哈{{1,{_MAX_RUN}}}|草{{1,{_MAX_RUN}}})"
    rf"|(?P<other>[^\s!-~{SYMBOLS}ㅋㅎ哈草]{{1,{_MAX_RUN}}})"
)
_HOST = r"(?<![a-z0-9.@-])[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){0,4}"
_TOP_LEVEL = "com|net|org|gg|tv|io|jp|cn|kr|tw|dev|app|xyz|info|co|me|ly|link|live|be|moe"
_CODE = re.compile(
    r"(?P<url>(?:https?|ftp|rtmp)://[^\s<>\"]+|www\.[^\s<>\"]+\.[^\s<>\"]+"
    rf"|{_HOST}\.(?:{_TOP_LEVEL})(?![a-z0-9-])(?:[/?#:][^\s<>\"]*)?)"
    r"|<a?:(?P<discord>\w{2,32}):\d{5,20}>"
    r"|(?<![a-z0-9]):(?P<emote>_?[a-z][a-z0-9_+-]{1,31}):(?![a-z0-9])",
    re.IGNORECASE,
)
_URL_TAIL = ".,!?;:'\")]}>"
_EMOTE_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LINK = {"en": "link", "ja": "リンク", "zh": "链接", "yue": "链接", "ko": "링크"}
_LINK |= {"de": "Link", "fr": "lien", "es": "enlace", "pt": "link", "it": "link", "ru": "ссылка"}
_MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_LAUGH_MARKS = ".,!?~"
_OPENING = frozenset('([{「『（"')
_CLOSING = frozenset(".,!?;:)]}、。！？…」』）")
_CUT_MARKS = re.compile(r"[.!?。！？…,;:、，；：\n]+[\"'”’」』）)\]]*")


def speakable(text: str) -> bool:
    """Whether a voice could say any of it: a letter, a digit or an emoji."""
    return any(char.isalnum() or "\U0001f000" <= char <= "\U0001faff" for char in text)


def normalize(text: str, config: TextConfig, lang: str | None = None) -> str:
    """``text`` as it shall be spoken; "" if nothing can be.

    ``lang`` is the language of links and emoji where no letters stand around them (default: en).
    """
    stream = StreamNormalizer(config, lang)
    result = (stream.feed(text) + stream.close()).strip()
    return result if speakable(result) else ""


def clip(text: str, max_chars: int) -> tuple[str, bool]:
    """``text`` cut to ``max_chars``, and whether it was cut.

    After a mark in the last two fifths if there is one, else after a word, else anywhere that does
    not part a letter from its accents.
    """
    if len(text) <= max_chars:
        return text, False
    lowest = max_chars * 3 // 5
    cut = 0
    for mark in _CUT_MARKS.finditer(text, lowest, max_chars):
        if not text[mark.end()].isalnum() or not text[mark.end()].isascii():
            cut = mark.end()
    if not cut:
        spaces = [i for i in range(lowest, max_chars + 1) if text[i].isspace()]
        cut = spaces[-1] if spaces else max_chars
        while not spaces and cut > lowest and unicodedata.category(text[cut])[0] in "MC":
            cut -= 1
    return text[:cut].rstrip(), True


class _Writer:
    """Collects what is to be said: one space between words, no word or sound without end."""

    def __init__(self, max_repeat: int) -> None:
        self._keep = max(1, max_repeat)
        self._letters = max(2, max_repeat)
        self._long = re.compile(rf"([^\d\s])\1{{{self._letters},}}")
        self._filter = RepeatFilter(max_repeat)
        self._parts: list[str] = []
        self._recent = ""
        """The end of what earlier calls of `take` gave."""
        self._word = ""
        self._count = 0
        """How often `_word` came in a row."""
        self._gap = False
        """A space is due, unless a repetition that is dropped or a closing mark follows."""
        self.last = ""
        """The last character written, before the filter of repetitions; empty at first."""
        self.laughed = False
        """The last word was laughter."""

    def take(self) -> str:
        text = "".join(self._parts)
        self._parts = []
        self._recent = (self._recent + text)[-_LOOKAHEAD:]
        return text

    def recent(self) -> str:
        """The last characters that went out: always as many, however the text was cut."""
        pieces: list[str] = []
        size = 0
        for part in reversed(self._parts):
            pieces.append(part)
            size += len(part)
            if size >= _LOOKAHEAD:
                break
        else:
            pieces.append(self._recent)
        return "".join(reversed(pieces))[-_LOOKAHEAD:]

    def space(self, line_end: bool) -> None:
        if line_end:
            self._word, self._gap = "", False
        if self.last in ("", "\n") or (self.last == " " and not line_end):
            return
        self.last = "\n" if line_end else " "
        if self._count >= self._keep and self._word and not line_end:
            self._gap = True
        else:
            self._parts.append(self._filter.push(self.last))

    def other(self, text: str) -> None:
        """Anything but ASCII, or a piece of it."""
        self._close_gap(text)
        self._word = ""
        self.laughed = False
        self.last = text[-1]
        self._parts.append(self._filter.push(text))

    def word(self, text: str) -> None:
        """A word of ASCII with the marks around it."""
        core = text.strip(_MARKS)
        if core:
            self.laughed = False
            key = core.lower()
            self._count = self._count + 1 if key == self._word else 1
            self._word = key
            if self._count > self._keep:
                text = text[text.rindex(core) + len(core) :]
                if not text:
                    return
                self._gap = False
        self._close_gap(text)
        if not text.isalnum() or len(text) > self._letters:
            text = self._long.sub(lambda run: run[1] * self._letters, text)
        self._parts.append(self._filter.flush())
        self._parts.append(text)
        self.last = text[-1]

    def named(self, words: str) -> None:
        """Words that stand for something else: set off by spaces."""
        if self.last not in _OPENING:
            self.space(line_end=False)
        self._close_gap(words)
        self._word = ""
        self._parts.append(self._filter.flush())
        self._parts.append(words)
        self.last = " "
        self._gap = True

    def _close_gap(self, text: str) -> None:
        if self._gap:
            self._gap = False
            if text[0] not in _CLOSING:
                self._parts.append(" ")

    def close(self) -> None:
        self._parts.append(self._filter.flush())


class StreamNormalizer:
    """`normalize` for a text that is still coming: the outputs, joined, are what it would give.

    (But for white space at the ends, and marks alone are given back as they are.) A word is held
    until something follows it; a link or an emoji before any letter waits for the first letters,
    to be named in their language.
    """

    def __init__(self, config: TextConfig, lang: str | None = None) -> None:
        self._config = config
        self._default = lang or "en"
        self._cleaner = Cleaner()
        self._writer = _Writer(config.max_repeat)
        self._buffer = ""
        """Clean text whose tokens may still change; at most some `_MAX_CHUNK` characters."""
        self._at = 0
        """End of the token at work, in `_buffer`."""
        self._final = False

    def feed(self, text: str) -> str:
        out: list[str] = []
        # In pieces, so that what is copied per piece stays small.
        for start in range(0, len(text), _MAX_CHUNK):
            self._buffer += self._cleaner.feed(text[start : start + _MAX_CHUNK])
            self._run()
            out.append(self._writer.take())
        return "".join(out)

    def close(self) -> str:
        self._buffer += self._cleaner.close()
        self._final = True
        self._run()
        self._writer.close()
        return self._writer.take()

    def _run(self) -> None:
        position = 0
        while position < len(self._buffer):
            token = _TOKEN.match(self._buffer, position)
            assert token is not None, "the token classes cover every character"
            self._at = token.end()
            if not self._write(token.lastgroup or "", token[0]):
                break
            position = token.end()
        self._buffer = self._buffer[position:]

    def _write(self, kind: str, text: str) -> bool:
        """Rewrite one token; False if it must wait for more text (nothing was written then)."""
        if kind == "space":
            self._writer.space("\n" in text)
            return True
        if kind == "other":
            self._writer.other(text)
            return True
        size = _MAX_CHUNK if kind == "chunk" else _MAX_RUN
        if self._at == len(self._buffer) and len(text) < size and not self._final:
            return False
        lang, found = self._default, False
        if self._needs_language(kind, text):
            context = self._context()
            if context is None:
                return False
            lang, found = context
        if kind == "symbols":
            self._symbols(text, lang)
        elif kind == "laugh":
            self._laugh_run(text, lang)
        else:
            self._chunk(text, lang, found)
        return True

    def _needs_language(self, kind: str, text: str) -> bool:
        """Whether what is said for a token depends on the letters around it."""
        if kind == "symbols":
            return self._config.emoji == "name"
        if kind == "laugh":
            return text[0] == "草"
        if self._config.laughter != "say" and may_laugh(text.strip(_LAUGH_MARKS)):
            return True
        if "." not in text and ":" not in text:
            return False
        return any(code["url"] for code in _CODE.finditer(text))

    def _context(self) -> tuple[str, bool] | None:
        """The language around the token and whether there are letters at all; None: wait."""
        lang = last_language(self._writer.recent(), self._default)
        if lang is None:
            lang = first_language(self._buffer, self._default, self._at, self._at + _LOOKAHEAD)
        if lang is not None:
            return lang, True
        if not self._final and len(self._buffer) - self._at < _LOOKAHEAD:
            return None
        return self._default, False

    # --- one kind of token each ---------------------------------------------------------------

    def _symbols(self, run: str, lang: str) -> None:
        if not run.strip("\u200d"):
            return  # a joiner that joins no emoji: the letters around it are one word
        if self._config.emoji == "say":
            self._writer.other(run)
            return
        names = emoji_names(run, lang) if self._config.emoji == "name" else []
        for name in names[: max(1, self._config.max_repeat)]:
            self._writer.named(name)
        if not names:
            self._writer.space(line_end=False)

    def _laugh_run(self, run: str, lang: str) -> None:
        grass = run[0] == "草"
        laughs = self._is_grass(run, lang) if grass else len(run) > (2 if run[0] == "哈" else 1)
        if self._config.laughter == "say" or not laughs:
            self._writer.other(run)
        elif grass:
            self._laugh(run[0])
        else:
            self._laugh(laugh_word("zh" if run[0] == "哈" else "ko"))

    def _is_grass(self, run: str, lang: str) -> bool:
        """草 stands for laughter in Japanese if it stands alone; else it is grass."""
        before, after = self._writer.last, self._buffer[self._at : self._at + 1]
        alone = not before.isalnum() and (not after.isalnum() or after in "wW")
        return (lang == "ja" or self._default == "ja") and (alone or len(run) > 1)

    def _laugh(self, word: str) -> None:
        if self._config.laughter == "drop":
            self._writer.space(line_end=False)
        elif not self._writer.laughed:
            self._writer.named(word)
            self._writer.laughed = True

    def _chunk(self, text: str, lang: str, found: bool) -> None:
        if "." not in text and ":" not in text:
            self._word(text, lang, found)
            return
        position = 0
        for code in _CODE.finditer(text):
            end = code.end()
            if code["url"]:
                end = code.start() + len(code["url"].rstrip(_URL_TAIL))
            if code.start() > position:
                self._word(text[position : code.start()], lang, found)
            self._code(code, text[code.start() : end], lang)
            position = end
        if position < len(text):
            self._word(text[position:], lang, found)

    def _code(self, code: re.Match[str], text: str, lang: str) -> None:
        url = code["url"] is not None
        choice = self._config.urls if url else self._config.emotes
        if choice == "say":
            self._writer.word(text)
        elif choice == "drop":
            self._writer.space(line_end=False)
        elif url:
            self._writer.named(_LINK.get(lang, "link"))
        else:
            name = code["discord"] or code["emote"]
            self._writer.named(" ".join(_EMOTE_WORD.findall(name)) or name)

    def _word(self, text: str, lang: str, found: bool) -> None:
        core = text.strip(_LAUGH_MARKS)
        if self._config.laughter != "say" and may_laugh(core):
            laugh = self._laughter(core, lang, found)
            if laugh is not None:
                before, _, after = text.partition(core)
                if before:
                    self._writer.word(before)
                self._laugh(laugh)
                if after:
                    self._writer.word(after)
                return
        self._writer.word(text)

    def _laughter(self, core: str, lang: str, found: bool) -> str | None:
        """The word for ``core`` if it is laughter where it stands."""
        if is_w_run(core):
            attached = has_kana(self._writer.last) or self._writer.last in ("草", "笑")
            if len(core) > 1 or attached or (found and lang == "ja"):
                return laugh_word(lang if found else "ja")
            return None
        if is_fives(core):
            return fives_word(lang) if not found or lang in ("th", "zh", "yue") else None
        return spelled_laugh(core, lang)
