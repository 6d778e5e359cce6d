"""The clipboard (X's CLIPBOARD selection), asked for without waiting: its owner may be hung."""

from __future__ import annotations

from typing import Any

ANSWER_S = 1.0
"""An owner that has not answered by then is not waited for."""
_PIECE_WORDS = 16384
"""Words of four bytes in one read of a property."""


class Clipboard:
    """One question at a time. Feed it all events; `text` has the answer once."""

    def __init__(self, connection: Any, root: int, max_chars: int) -> None:
        import xcffib.xproto

        self._proto = xcffib.xproto
        self._connection = connection
        self._max_bytes = 4 * max_chars
        core = connection.core
        names = ("CLIPBOARD", "UTF8_STRING", "INCR", "KOED_CLIPBOARD")
        asked = [core.InternAtom(False, len(name), name) for name in names]
        self._selection, self._utf8, self._incr, self._property = (
            cookie.reply().atom for cookie in asked
        )
        self._window = connection.generate_id()
        core.CreateWindow(
            0, self._window, root, 0, 0, 1, 1, 0, self._proto.WindowClass.InputOnly, 0,
            self._proto.CW.EventMask, [self._proto.EventMask.PropertyChange],
        )  # fmt: skip
        self._deadline: float | None = None
        self._pieces: list[bytes] = []
        self._incremental = False

    def ask(self, now: float) -> bool:
        """Begin; False while another question is open."""
        if self._deadline is not None:
            return False
        self._deadline = now + ANSWER_S
        self._pieces, self._incremental = [], False
        core = self._connection.core
        core.DeleteProperty(self._window, self._property)
        core.ConvertSelection(
            self._window, self._selection, self._utf8, self._property, self._proto.Time.CurrentTime
        )
        self._connection.flush()
        return True

    @property
    def deadline(self) -> float | None:
        """When the open question is given up."""
        return self._deadline

    def expired(self, now: float) -> bool:
        """The owner did not answer in time; the question is over."""
        if self._deadline is None or now < self._deadline:
            return False
        self._deadline = None
        return True

    def text(self, event: Any) -> str | None:
        """The clipboard's text, at most so many bytes; ``""`` if it holds none; None = not yet."""
        if self._deadline is None:
            return None
        if isinstance(event, self._proto.SelectionNotifyEvent):
            return self._selected(event)
        new = isinstance(event, self._proto.PropertyNotifyEvent) and (
            (event.atom, event.state) == (self._property, self._proto.Property.NewValue)
        )
        return self._next_piece() if new and self._incremental else None

    def _selected(self, event: Any) -> str | None:
        if event.requestor != self._window:
            return None
        if not event.property:  # there is no owner, or it has no text
            return self._done()
        kind, data = self._read()
        if kind != self._incr:
            self._pieces.append(data)
            return self._done()
        self._incremental = True  # deleting the property, as reading did, asks for the first piece
        return None

    def _next_piece(self) -> str | None:
        _, data = self._read()
        self._pieces.append(data)
        if data and sum(map(len, self._pieces)) < self._max_bytes:
            return None
        return self._done()

    def _read(self) -> tuple[int, bytes]:
        reply = self._connection.core.GetProperty(
            True, self._window, self._property, self._proto.Atom.Any, 0, _PIECE_WORDS
        ).reply()
        return reply.type, bytes(reply.value.buf()) if reply.value_len else b""

    def _done(self) -> str:
        self._deadline = None
        return b"".join(self._pieces)[: self._max_bytes].decode("utf-8", "ignore")


def sayable(text: str, max_chars: int) -> str:
    """One line of text, cut at a word."""
    line = " ".join(text.split())
    if len(line) <= max_chars:
        return line
    cut = line.rfind(" ", max_chars // 2, max_chars + 1)
    return line[: cut if cut > 0 else max_chars].rstrip()
