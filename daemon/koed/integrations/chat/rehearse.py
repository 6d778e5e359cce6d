"""`koed rehearse`: a recorded chat against tonight's configuration, without a sound."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from koe.chat import logs
from koe.chat.record import MAX_LINE_BYTES, Record
from koe.cli.format import plain
from koe.protocol import Chat, ChatDelete
from koe.wire.framing import WireError
from koed.config.daemon import Config, resolve, state_dir
from koed.config.profile_folder import ProfileFolder
from koed.errors import KoedError
from koed.integrations.chat import viewers as viewer_file
from koed.integrations.chat.ledger import Ledger, LedgerEntry, copy_of
from koed.integrations.chat.policy import Policy, Scene, Verdict
from koed.integrations.chat.simulation import Outcome, QueueSimulation

UNTIMED_S = 1.0
"""A line without a time comes so long after the one before."""


@dataclass(slots=True)
class Row:
    """What became of one line of the log."""

    line: int
    """Its number in the log."""
    at_s: float
    """Since the first line."""
    author: str
    text: str
    verdict: str = ""
    """said, cut (it began to sound and was ended), merged, dropped, deletion or error."""
    reason: str = ""
    said: str = ""
    voice: str = ""
    begins_s: float | None = None
    ends_s: float | None = None
    """Estimated."""


class Rehearsal:
    """Rows come out of `rows` in the order of the log, each as soon as its outcome is known."""

    def __init__(self, config: Config, langs: dict[str, str], outputs: dict[str, str]) -> None:
        self._config = config
        self.policy = Policy(config.chat, config.text)
        first = next(iter(config.outputs))
        self.policy.scene = Scene(config.voice, langs, first)
        self._outputs = outputs
        """Of voices whose profile names one."""
        self._simulation = QueueSimulation(config, self._ended)
        self._ledger = Ledger()
        self._open: dict[int, Row] = {}
        """By utterance."""
        self._rows: deque[Row] = deque()
        self._now = 0.0

    def play(self, number: int, at: float, request: Chat | ChatDelete) -> None:
        self._now = at
        self._simulation.advance(at)
        if isinstance(request, ChatDelete):
            self._delete(number, at, request)
            return
        row = Row(number, round(at, 3), request.name or request.author, request.text[:500])
        self._rows.append(row)
        verdict = self.policy.decide(request, at)
        row.reason, row.said = verdict.reason, verdict.text
        if verdict.action == "say":
            self._submit(row, request, verdict)
        elif verdict.action == "merge":
            row.verdict = "merged"
            entry = self._ledger.join(verdict.ticket, copy_of(request))
            mark = self._config.chat.repeats.count_mark
            there = self._simulation.queue.find(entry.utterance) if entry and mark else None
            if entry and there:
                text = entry.text + mark.format(n=verdict.copies)
                self._amend(entry, text, there.author, there.key)
        else:
            row.verdict = "dropped"

    def fault(self, number: int, error: WireError) -> None:
        row = Row(number, round(self._now, 3), "", error.message, "error", error.code)
        self._rows.append(row)

    def _submit(self, row: Row, line: Chat, verdict: Verdict) -> None:
        config, copy = self._config, copy_of(line)
        row.voice = verdict.voice or config.voice
        output = line.output or self._outputs.get(row.voice) or next(iter(config.outputs))
        if output not in config.outputs:
            row.verdict, row.reason = "dropped", "unknown_output"
            self.policy.release(verdict.ticket)
            return
        outcome = self._simulation.submit(
            verdict.text, row.voice, output, verdict.priority, copy.author, copy.key, self._now
        )
        utterance = outcome.line.utterance
        if outcome.dropped:
            row.verdict, row.reason = "dropped", outcome.dropped
            self.policy.release(verdict.ticket)
        elif outcome.open:
            self._open[utterance] = row
            self._ledger.add(
                LedgerEntry(verdict.ticket, utterance, verdict.text, verdict.plain, [copy])
            )

    def _delete(self, number: int, at: float, request: ChatDelete) -> None:
        self.policy.delete(request, at)
        cancelled = 0
        for entry in self._ledger.strike(request):
            if entry.orphaned:
                cancelled += self._simulation.cancel(entry.utterance, at)
            elif entry.copies:
                heir = entry.copies[0]
                self._amend(entry, entry.plain, heir.author, heir.key)
        what = request.line or request.author or "everything"
        row = Row(number, round(at, 3), request.author or "", what, "deletion")
        row.reason = f"{cancelled} silenced" if cancelled else ""
        self._rows.append(row)

    def _amend(self, entry: LedgerEntry, text: str, author: str | None, key: str | None) -> None:
        self._simulation.queue.amend(entry.utterance, text, author, key)

    def _ended(self, outcome: Outcome) -> None:
        utterance = outcome.line.utterance
        entry = self._ledger.end(utterance)
        if entry is not None and outcome.dropped:
            self.policy.release(entry.ticket)
        row = self._open.pop(utterance, None)
        if row is None:
            return
        row.reason, row.said = outcome.dropped, outcome.line.text
        if outcome.begins_s is None:
            row.verdict = "dropped"
            return
        row.verdict = "cut" if outcome.dropped else "said"
        row.begins_s = round(outcome.begins_s, 2)
        row.ends_s = round(outcome.ends_s or outcome.begins_s, 2)

    def rows(self) -> Iterator[Row]:
        """Those whose outcome is known, none before an earlier one."""
        while self._rows and self._rows[0].verdict:
            yield self._rows.popleft()

    def finish(self) -> None:
        self._simulation.finish()


# --- the command -----------------------------------------------------------------------------


def run(config: Config, log: str, as_json: bool = False, sums_only: bool = False) -> int:
    """Print what would have been said, when, in which voice, and what dropped, and why.

    0, or 1 if lines of the log could not be read. Raises `KoedError` for a log that cannot be read
    at all.
    """
    langs, outputs = _voices(config)
    rehearsal = Rehearsal(config, langs, outputs)
    with contextlib.suppress(KoedError):  # whoever has no voice yet gets one for the rehearsal
        viewer_file.load(rehearsal.policy.viewers, state_dir() / "viewers.json")
    report = Report(as_json, sums_only)
    try:
        with _opened(log) as lines:
            for number, at, found in timed(logs.read(lines)):
                if isinstance(found, WireError):
                    rehearsal.fault(number, found)
                else:
                    rehearsal.play(number, at, found.request)
                report.rows(rehearsal.rows())
    except WireError as error:
        raise KoedError(error.code, error.message, error.hint) from error
    except OSError as error:
        raise KoedError(
            "cannot_read",
            f"cannot read {log}: {error.strerror}",
            "give the file of a recorded chat",
        ) from error
    rehearsal.finish()
    report.rows(rehearsal.rows())
    report.summary()
    return 1 if report.verdicts["error"] else 0


@contextlib.contextmanager
def _opened(log: str) -> Iterator[Iterator[bytes]]:
    if log == "-":
        yield _bounded(sys.stdin.buffer)
        return
    with Path(log).open("rb") as file:
        yield _bounded(file)


def _bounded(file: IO[bytes]) -> Iterator[bytes]:
    """Lines; of one that is too long, its beginning."""
    while line := file.readline(MAX_LINE_BYTES + 2):
        yield line
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES + 2)


def timed(
    found: Iterable[tuple[int, Record | WireError]],
) -> Iterator[tuple[int, float, Record | WireError]]:
    """With seconds since the first line. A log that jumps back is played on in its order."""
    first: float | None = None
    at = 0.0
    for number, record in found:
        if isinstance(record, Record):
            if record.at is None:
                at += UNTIMED_S if first is not None else 0.0
                first = first if first is not None else 0.0
            else:
                first = record.at if first is None else first
                at = max(at, record.at - first)
        yield number, at, record


def _voices(config: Config) -> tuple[dict[str, str], dict[str, str]]:
    """Languages and outputs of the voices that there are; raises `KoedError` if there are none."""
    scan = ProfileFolder(resolve(config, "profiles"), outputs=tuple(config.outputs)).scan()
    langs = {name: profile.lang for name, profile in scan.voices.items()}
    outputs = {name: p.output for name, p in scan.voices.items() if p.output}
    return langs, outputs


class Report:
    """Prints rows as they are known, then the sums."""

    def __init__(self, as_json: bool, sums_only: bool) -> None:
        self._as_json = as_json
        self._sums_only = sums_only
        self._lines = 0
        self._spoken_s = 0.0
        self._latest_s = 0.0
        self._waits: list[float] = []
        self.verdicts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._voices: Counter[str] = Counter()

    def rows(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._count(row)
            if self._sums_only:
                continue
            if self._lines == 1 and not self._as_json:
                print(_columns("came  +waited", "what", "voice", "who", "text"))
            print(json.dumps(asdict(row), ensure_ascii=False) if self._as_json else _line(row))

    def _count(self, row: Row) -> None:
        self._lines += 1
        self.verdicts[row.verdict] += 1
        if row.verdict in ("dropped", "merged", "cut", "error"):
            self._reasons[f"{row.verdict}: {row.reason}"] += 1
        self._latest_s = max(self._latest_s, row.ends_s or row.at_s)
        if row.begins_s is not None:
            self._voices[row.voice] += 1
            self._waits.append(row.begins_s - row.at_s)
            self._spoken_s += (row.ends_s or row.begins_s) - row.begins_s

    def summary(self) -> None:
        waits = sorted(self._waits)
        sums = {
            "lines": self._lines,
            "verdicts": dict(self.verdicts),
            "reasons": dict(self._reasons.most_common()),
            "voices": dict(self._voices.most_common()),
            "spoken_s": round(self._spoken_s, 1),
            "length_s": round(self._latest_s, 1),
            "wait_median_s": round(waits[len(waits) // 2], 1) if waits else 0.0,
            "wait_worst_s": round(waits[-1], 1) if waits else 0.0,
        }
        if self._as_json:
            print(json.dumps({"summary": sums}, ensure_ascii=False))
            return
        print(
            f"\n{self._lines} lines in {_clock(self._latest_s)}; the voice speaks for"
            f" {_clock(self._spoken_s)} (estimated); a line waits {sums['wait_median_s']} s"
            f" (median), {sums['wait_worst_s']} s (worst)"
        )
        for name, number in sorted(self.verdicts.items()):
            if name not in ("dropped", "merged", "cut", "error"):
                print(f"{number:7}  {name}")
        for name, number in self._reasons.most_common():
            print(f"{number:7}  {name}")
        voices = ", ".join(f"{name} {number}" for name, number in self._voices.most_common())
        print(f"voices: {voices or 'none'}")


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"


def _line(row: Row) -> str:
    when = _clock(row.at_s)
    if row.begins_s is not None:
        when += f" +{row.begins_s - row.at_s:.1f}s"
    what = row.verdict + (f" ({row.reason})" if row.reason else "")
    text = row.said if row.verdict in ("said", "cut") else row.text
    return plain(_columns(when, what, row.voice, row.author[:16], text))


def _columns(*cells: str) -> str:
    return "{:14} {:24} {:10} {:16} {}".format(*cells)
