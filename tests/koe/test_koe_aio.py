"""koe.aio against real sockets."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from koe import protocol
from koe.aio import AsyncClient, NoDaemon, Refused
from koe.protocol import StateChanged, UtteranceFinished, UtteranceStarted, WireError
from tests.koe.fake_daemon import PCM, FakeDaemon

STARTED = UtteranceStarted(utterance=7, text="a", voice="hana", output="main", heard_t=1.0)


def play(script: Callable[[AsyncClient], Coroutine[Any, Any, None]], directory: Path) -> None:
    """Run ``script`` with a client, under a limit."""

    async def scene() -> None:
        async with asyncio.timeout(120), AsyncClient(directory, timeout_s=40) as client:
            await script(client)

    asyncio.run(scene())


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(40):
        while not condition():
            await asyncio.sleep(0.002)


def test_each_verb_is_one_request(daemon: FakeDaemon, tmp_path: Path) -> None:
    async def script(c: AsyncClient) -> None:
        said = await c.say("hi", voice="mei", ttl_s=2, author="bob")
        assert (said.utterance, said.voice, said.position) == (1, "mei", 2)
        assert (await c.stop(), await c.skip("main"), await c.clear(priority="chatter")) == (
            2,
            7,
            1,
        )
        for act in (c.pause, c.resume, c.mute, c.unmute, c.panic, c.release):
            await act()
        assert await c.mode() == "speak"
        await c.set_mode("chat_muted", "main")
        assert await c.voice() == "hana"
        assert (await c.set_voice("mei", "now")).voice == "mei"
        assert [voice.name for voice in await c.voices()] == ["hana", "rex"]
        assert (await c.phrase("hello")).canned
        assert [p.name for p in await c.phrases()] == ["hello"]
        assert (await c.queue()).has(8)
        assert await c.cancel(8) == (8,)
        assert (await c.chat(protocol.Chat(text="hi", author="bob"))).utterance
        assert await c.chat_delete(author="bob") == (7,)
        assert (await c.status())["uptime_s"] == 1.25
        assert (await c.reload()).changed == ("mei",)

    play(script, tmp_path)
    assert daemon.requests[0] == protocol.Say(id=1, text="hi", voice="mei", ttl_s=2, author="bob")
    assert daemon.requests[2] == protocol.Skip(id=3, output="main")
    elsewhere = {"say_open", "say_append", "say_close", "save"}
    assert set(daemon.ops()) | elsewhere == set(protocol.REQUESTS)


def test_tasks_share_a_client_and_replies_come_in_any_order(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    async def script(c: AsyncClient) -> None:
        waits = [asyncio.create_task(c.say(str(n), wait=True)) for n in range(50)]
        await until(lambda: len(daemon.requests) == 50)
        voices = await asyncio.gather(*(c.set_voice(f"v{n}") for n in range(200)))
        assert [result.voice for result in voices] == [f"v{n}" for n in range(200)]
        for utterance in range(50, 0, -1):
            daemon.finish(utterance, reason=str(utterance))
        over = await asyncio.gather(*waits)
        assert [result.reason for result in over] == [str(n + 1) for n in range(50)]

    play(script, tmp_path)


def test_a_cancelled_wait_leaves_nothing_behind(daemon: FakeDaemon, tmp_path: Path) -> None:
    async def script(c: AsyncClient) -> None:
        wait = asyncio.create_task(c.say("long", wait=True))
        await until(lambda: daemon.requests)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait, 0.1)
        daemon.finish(1)
        assert (await c.say("next")).utterance == 2

    play(script, tmp_path)


def test_refusals_and_what_cannot_be_sent(daemon: FakeDaemon, tmp_path: Path) -> None:
    def refuse(_: Any) -> dict[str, Any]:
        raise WireError("queue_full", "the queue is full", "wait")

    async def script(c: AsyncClient) -> None:
        for text, code in [("hi", "queue_full"), ("\udc80", "invalid_utf8")]:
            with pytest.raises(Refused) as refused:
                await c.say(text)
            assert refused.value.code == code

    daemon.answers["say"] = refuse
    play(script, tmp_path)


def test_no_daemon_silence_and_a_daemon_that_goes(tmp_path: Path) -> None:
    async def script(c: AsyncClient) -> None:
        for call in (c.say("a"), c.push("a")):
            with pytest.raises(NoDaemon) as absent:
                await call
            assert absent.value.code == "no_daemon"
        with FakeDaemon(tmp_path) as daemon:
            daemon.silent = {"skip"}
            with pytest.raises(NoDaemon) as silence:
                await c.ask(protocol.Skip(), timeout_s=0.1)
            assert silence.value.code == "no_reply"
            wait = asyncio.create_task(c.say("long", wait=True))
            await until(lambda: "say" in daemon.ops())
        with FakeDaemon(tmp_path) as daemon:
            with pytest.raises(NoDaemon) as lost:
                await wait
            assert lost.value.code == "no_reply"
            await c.say("next")
            assert daemon.ops() == ["say"]

    play(script, tmp_path)


def test_an_open_line(daemon: FakeDaemon, tmp_path: Path) -> None:
    async def script(c: AsyncClient) -> None:
        async with c.open_line(voice="mei") as line:
            for piece in ("hel", "lo"):
                await line.append(piece)
        with pytest.raises(ZeroDivisionError):
            async with c.open_line() as line:
                await line.append(str(1 // 0))

    play(script, tmp_path)
    assert daemon.ops() == [
        "say_open", "say_append", "say_append", "say_close", "say_open", "say_close",
    ]  # fmt: skip


def test_events_texts_and_waiting_for_an_end(daemon: FakeDaemon, tmp_path: Path) -> None:
    async def script(c: AsyncClient) -> None:
        async with c.events(["utterance."]) as events:
            await until(lambda: "utterance." in daemon.topics)
            daemon.publish(StateChanged(state="paused"))
            daemon.publish(STARTED)
            async for event in events:
                assert isinstance(event, UtteranceStarted)
                break
            assert await events.next(0.01) is None
        wait = asyncio.create_task(c.wait_for(7))
        await until(lambda: "queue" in daemon.ops() and daemon.topics.count("utterance.") == 2)
        daemon.publish(UtteranceFinished(utterance=7, output="main"))
        assert isinstance(await wait, UtteranceFinished)
        await c.push("声")
        await until(lambda: daemon.texts == ["声"])

    play(script, tmp_path)


def test_save(daemon: FakeDaemon, tmp_path: Path) -> None:
    async def script(c: AsyncClient) -> None:
        saved = await c.save(tmp_path / "last.wav")
        assert saved.frames == len(PCM) // 2

    play(script, tmp_path)
    with wave.open(str(tmp_path / "last.wav")) as sound:
        assert sound.readframes(1_000_000) == PCM
