"""CURVE keys: files, permissions, and a real handshake."""

from __future__ import annotations

import argparse
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
import zmq

from koe.transport.address import read_keys
from koed.auth import keys
from koed.auth.zap import ZapHandler
from koed.errors import KoedError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refused(code: str, function: Any, *args: Any) -> KoedError:
    with pytest.raises(KoedError) as caught:
        function(*args)
    assert caught.value.code == code
    return caught.value


def test_the_pair_of_the_server_is_made_once_and_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "keys"
    before = os.umask(0)
    try:
        pair = keys.server_pair(folder)
    finally:
        os.umask(before)
    assert keys.server_pair(folder) == pair
    assert zmq.curve_public(pair[1]) == pair[0]
    assert mode(folder) == 0o700
    assert mode(folder / "server.key_secret") == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["server.key", "server.key_secret"]


def test_two_daemons_at_once_get_one_pair(tmp_path: Path) -> None:
    barrier, pairs = threading.Barrier(8), []

    def first_need() -> None:
        barrier.wait()
        pairs.append(keys.server_pair(tmp_path))

    threads = [threading.Thread(target=first_need) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pairs) == 8
    assert len(set(pairs)) == 1


def test_a_client_gets_a_file_with_three_keys(tmp_path: Path) -> None:
    made = keys.new(tmp_path, "gaming-pc")
    assert mode(made.secret_path) == 0o600
    assert mode(tmp_path / "clients") == 0o700
    assert made.secret not in repr(made)
    assert keys.admitted(tmp_path) == {"gaming-pc": made.public}
    carried = keys.client_keys(made.secret_path)
    assert (carried.public, carried.secret, carried.server) == (
        made.public, made.secret, keys.server_pair(tmp_path)[0].decode(),
    )  # fmt: skip
    seen_by_client = read_keys(made.secret_path)
    assert seen_by_client.secret.decode() == made.secret
    assert seen_by_client.server.decode() == made.server


def test_a_name_is_taken_once_and_can_be_removed(tmp_path: Path) -> None:
    first = keys.new(tmp_path, "bot")
    refused("key_exists", keys.new, tmp_path, "bot")
    assert keys.admitted(tmp_path) == {"bot": first.public}, "the first one stays"
    keys.remove(tmp_path, "bot")
    assert keys.names(tmp_path) == []
    assert not first.secret_path.exists()
    refused("unknown_key", keys.remove, tmp_path, "bot")
    assert keys.new(tmp_path, "bot").public != first.public


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a.b", "/etc/x", "a\0", "a b", "x" * 33, "ä"])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    refused("bad_key_name", keys.new, tmp_path / "keys", name)
    refused("bad_key_name", keys.remove, tmp_path / "keys", name)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("bits", [0o040, 0o004, 0o020])
def test_a_secret_that_others_may_touch_is_refused(tmp_path: Path, bits: int) -> None:
    keys.server_pair(tmp_path)
    secret = tmp_path / "server.key_secret"
    secret.chmod(0o600 | bits)
    assert "chmod 600" in refused("unsafe_keys", keys.server_pair, tmp_path).hint


def test_a_folder_where_others_may_write_is_refused(tmp_path: Path) -> None:
    keys.server_pair(tmp_path)
    tmp_path.chmod(0o777)
    refused("unsafe_keys", keys.new, tmp_path, "bot")


@pytest.mark.parametrize(
    "text", ["", "garbage\n", 'public-key = "short"\nsecret-key = "x"', "\xff"]
)
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "server.key_secret"
    path.write_text(text)
    path.chmod(0o600)
    assert str(path) in refused("bad_keys", keys.server_pair, tmp_path).message
    assert path.read_text() == text, "never overwritten"


def test_keys_of_two_pairs_are_noticed(tmp_path: Path) -> None:
    one, two = keys.new(tmp_path, "one"), keys.new(tmp_path, "two")
    one.secret_path.write_text(one.secret_path.read_text().replace(one.public, two.public))
    assert "belong together" in refused("bad_keys", keys.client_keys, one.secret_path).message


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused("keys_unwritable", keys.server_pair, tmp_path / "file" / "keys")


def test_the_command_prints_what_the_client_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = argparse.Namespace(action="new", name="bot", json=False)
    assert keys.command(tmp_path, arguments) == 0
    printed = tmp_path / "printed"
    printed.write_text(capsys.readouterr().out)
    assert read_keys(printed) == read_keys(tmp_path / "clients" / "bot.key_secret")
    assert keys.command(tmp_path, argparse.Namespace(action="list", name="", json=False)) == 0
    listed = capsys.readouterr().out
    assert "bot" in listed
    assert read_keys(printed).secret.decode() not in listed


def test_a_real_handshake_admits_the_client_and_nobody_else(tmp_path: Path) -> None:
    client, stranger = keys.new(tmp_path, "friend"), keys.new(tmp_path / "other", "stranger")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    judged: list[str] = []

    def admits(key: str) -> bool:
        judged.append(key)
        return key in keys.admitted(tmp_path).values()

    zap = ZapHandler(context, keys.server_pair(tmp_path), admits)
    server = context.socket(zmq.PULL)
    zap.guard(server)
    port = server.bind_to_random_port("tcp://127.0.0.1")
    senders = []
    try:
        for pair in (stranger, client):
            sender = context.socket(zmq.PUSH)
            sender.curve_serverkey = client.server.encode()
            sender.curve_publickey = pair.public.encode()
            sender.curve_secretkey = pair.secret.encode()
            sender.connect(f"tcp://127.0.0.1:{port}")
            sender.send_string(pair.name, zmq.NOBLOCK)
            senders.append(sender)
        assert _heard(server, zap, judged) == ["friend"]
        assert set(judged) == {client.public, stranger.public}
    finally:
        context.destroy(linger=0)


def _heard(server: zmq.Socket[bytes], zap: ZapHandler, judged: list[str]) -> list[str]:
    """What arrives until two handshakes were judged and the socket is quiet."""
    poller, heard = zmq.Poller(), list[str]()
    poller.register(server, zmq.POLLIN)
    poller.register(zap.socket, zmq.POLLIN)
    for _ in range(100):
        ready = dict(poller.poll(40_000 if len(judged) < 2 or not heard else 100))
        if not ready:
            break
        if zap.socket in ready:
            zap.answer()
        if server in ready:
            heard.append(server.recv_string())
    return heard
