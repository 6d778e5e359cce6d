"""The chat under load: how long the policy thinks about a line, and whether each has its event."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace
from pathlib import Path

from koe.chat.pipeline import Pipeline
from koe.chat.record import to_map
from koe.client import Client
from koe.protocol import Chat
from koe.wire.framing import WireError
from koed.config.chat import ChatConfig, RaidConfig, RateConfig, RepeatsConfig
from koed.config.daemon import TextConfig
from koed.errors import KoedError
from koed.integrations.chat.policy import Policy, Scene
from koed.testing.rig import TONES, rig

SAYINGS = (
    "hello nice one gg wp that was so close lol PogChamp KEKW https://clips.example.com/a1b2 OMG"
    " what a play 😂😂 can we get some hype in the chat please こんにちは 草www かわいい ㅋㅋㅋㅋ"
    " 哈哈哈 加油 :smile: !play first time here love the stream from Brazil"
)
SEED = 4
SETTLE_S = 10.0


def crowd(n: int) -> list[Chat]:
    """``n`` lines as a raid has them: many authors, many repeats, some donations and commands."""
    chance = random.Random(SEED)
    words = SAYINGS.split(" ")
    lines = []
    for number in range(n):
        size = min(1 + int(chance.expovariate(1 / 6)), 60)
        text = " ".join(chance.choices(words, k=size))
        lines.append(
            Chat(
                text="gg" if chance.random() < 0.2 else text,
                author=f"viewer_{int(chance.paretovariate(0.6)) % 20000}",
                platform="twitch",
                line=str(number),
                roles=["sub"] if chance.random() < 0.2 else [],
                donation=5.0 if chance.random() < 0.01 else None,
                currency="EUR",
                emotes=["PogChamp", "KEKW"],
            )
        )
    return lines


def thinking(lines: list[Chat], rate: float, calm: bool = False) -> list[float]:
    """Milliseconds that `Policy.decide` takes for each line, in this process.

    ``calm``: no raid mode and no rate, so that every line is worded: the dearest case.
    """
    config = ChatConfig()
    if calm:
        config = replace(
            config,
            raid=RaidConfig(over_per_s=0),
            rate=RateConfig(lines=0),
            repeats=RepeatsConfig(window_s=0),
        )
    policy = Policy(config, TextConfig())
    policy.scene = Scene("hana", {"hana": "en"}, "main")
    took = []
    for number, line in enumerate(lines):
        began = time.perf_counter()
        policy.decide(line, number / rate)
        took.append((time.perf_counter() - began) * 1000)
    return took


class _Listener:
    """Counts the events of a daemon's chat on a thread of its own."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.seen: dict[str, int] = {}
        self._ended = False
        self._events = pipeline.events(("chat.",))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended:
            message = self._events.next_map(0.1)
            if message is not None:
                key = str(message.get("line"))
                self.seen[key] = self.seen.get(key, 0) + 1

    def close(self) -> None:
        self._ended = True
        self._thread.join()
        self._events.close()


def _send(pipeline: Pipeline, lines: list[Chat], rate: float) -> int:
    """At ``rate`` lines a second, or as fast as they are taken; how many were refused."""
    refused = 0
    began = time.monotonic()
    for number, line in enumerate(lines):
        left = began + number / rate - time.monotonic()
        if left > 0:
            time.sleep(left)
        while not pipeline.room:
            refused += sum(isinstance(what, WireError) for _, what in pipeline.answers())
            if not pipeline.room:
                pipeline.wait()
        pipeline.send(number, to_map(line))
        refused += sum(isinstance(what, WireError) for _, what in pipeline.answers())
    return refused + sum(isinstance(what, WireError) for _, what in pipeline.answers(wait=True))


def _until_heard(client: Client, listener: _Listener) -> None:
    """A subscription takes its time to arrive."""
    deadline = time.monotonic() + SETTLE_S
    while "probe" not in listener.seen:
        if time.monotonic() > deadline:
            raise KoedError("bench_timeout", "the daemon's events are not heard")
        client.chat(Chat(text="probe", author="probe", line="probe"))
        time.sleep(0.02)


def through_the_daemon(n: int, rate: float) -> dict[str, float]:
    """``n`` lines through a real daemon: ``{sent, events, twice, refused, took_s, decide_p99_ms}``;
    ``decide_p99_ms`` as the daemon itself measured it."""
    lines = crowd(n)
    with rig({"voice": "tone-a"}, TONES) as running:
        running.wait_ready()
        with Pipeline(directory=str(Path(running.folder) / "run")) as pipeline:
            listener = _Listener(pipeline)
            _until_heard(running.client, listener)
            began = time.monotonic()
            refused = _send(pipeline, lines, rate)
            took_s = time.monotonic() - began
            deadline = time.monotonic() + SETTLE_S
            while len(listener.seen) < n + 1 and time.monotonic() < deadline:
                time.sleep(0.05)
            listener.close()
            seen = dict(listener.seen)
        status = running.client.status()["companions"]["chat"]
    seen.pop("probe", None)
    return {
        "sent": n,
        "events": len(seen),
        "twice": sum(count > 1 for count in seen.values()),
        "refused": refused,
        "took_s": round(took_s, 2),
        "decide_p99_ms": status["decide_p99_ms"],
    }


def measure(n: int = 60, rate: float = 500.0) -> dict[str, list[float] | float]:
    """``n`` seconds of chat at ``rate`` lines a second, through a real daemon and in this process.

    ``policy_ms``: what `Policy.decide` took for each line, here; ``policy_daemon_p99_ms`` the same
    as the daemon measured it; ``policy_unaccounted``: lines that the daemon told by no event, or by
    two, or refused.
    """
    count = round(n * rate)
    figures = through_the_daemon(count, rate)
    lost = count - figures["events"] + figures["twice"] + figures["refused"]
    return {
        "policy_ms": thinking(crowd(count), rate),
        "policy_daemon_p99_ms": figures["decide_p99_ms"],
        "policy_unaccounted": lost,
    }
