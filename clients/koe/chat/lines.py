"""``koe chat lines``: JSON lines into koed. A line that is broken is told and left out."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from typing import Any

import zmq

from koe.chat import record
from koe.chat.pipeline import Pipeline
from koe.chat.sources import ChatSource, Pull, StandardInput
from koe.cli.format import plain
from koe.transport.connection import require
from koe.wire.framing import WireError
from koe.wire.requests import Chat

DONE, REFUSED = 0, 1


class Reporter:
    """Tells what became of lines: with ``--json`` of each, else only of those that failed."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self.failed = 0

    def tell(self, number: int, outcome: dict[str, Any] | WireError) -> None:
        if isinstance(outcome, WireError):
            self.failed += 1
            self._complain(number, outcome)
        elif self._as_json:
            print(json.dumps({"line": number} | outcome), flush=True)

    def _complain(self, number: int, error: WireError) -> None:
        if self._as_json:
            print(json.dumps({"line": number, "error": error.to_map()}), flush=True)
            return
        hint = f" ({error.hint})" if error.hint else ""
        text = f"koe: line {number}: {error.message}{hint}"
        print(plain(text), file=sys.stderr, flush=True)


def run(args: Namespace, place: dict[str, Any]) -> int:
    """Until the input ends (or Ctrl-C); 1 if a line was broken or could not be handed over."""
    source: ChatSource = Pull(args.pull, args.pull_keys) if args.pull else StandardInput()
    reporter = Reporter(getattr(args, "json", False))
    try:
        if isinstance(source, Pull):
            print(f"koe: pulling at {source.endpoint}", file=sys.stderr, flush=True)
        with Pipeline(**place) as pipeline:
            require(pipeline.address.control)  # no daemon at all: said at once
            _pump(source, pipeline, reporter, args)
    finally:
        source.close()
    return REFUSED if reporter.failed else DONE


def _pump(source: ChatSource, pipeline: Pipeline, reporter: Reporter, args: Namespace) -> None:
    number = 0
    waiting: list[bytes] | None = []
    while True:
        for answer in pipeline.answers():
            reporter.tell(*answer)
        while waiting and pipeline.room:
            number += 1
            _hand_over(number, waiting.pop(0), pipeline, reporter, args)
        if waiting:
            _wait(pipeline, None)
            continue
        _wait(pipeline, source)
        waiting = source.read() if _readable(source) else []
        if waiting is None:
            break
    for answer in pipeline.answers(wait=True):
        reporter.tell(*answer)


def _wait(pipeline: Pipeline, source: ChatSource | None) -> None:
    """Until there is an answer, or (unless too much is under way) something to read."""
    poller = zmq.Poller()
    pipeline.watch(poller)
    if source is not None:
        poller.register(source.pollable, zmq.POLLIN)
    poller.poll(None if pipeline.idle else 1000)


def _readable(source: ChatSource) -> bool:
    poller = zmq.Poller()
    poller.register(source.pollable, zmq.POLLIN)
    return bool(poller.poll(0))


def _hand_over(
    number: int, data: bytes, pipeline: Pipeline, reporter: Reporter, args: Namespace
) -> None:
    if not data.strip():
        return
    try:
        request = record.to_map(record.parse(data).request)
        if not request.get("platform"):
            request["platform"] = args.platform
        if args.output and request["op"] == Chat.op:
            request.setdefault("output", args.output)
        pipeline.send(number, request)
    except WireError as error:
        reporter.tell(number, error)
