"""A real browser: no web page makes the stream talk, and one that is allowed to does.

The same attacks go to a naive server as well, which shows that each of them arrives.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

from koed.testing.rig import Rig, Watch
from tests.koe.bridge.bouyomi import LIMIT_S, Bridge, bridge
from tests.rigs.waiting import wait_for
from tools.counterparts.obs import free_port

HOSTILE = Path(__file__).with_name("hostile.html").read_text(encoding="utf-8")
REBOUND = "rebound.example"
"""A name that the browser believes to be at 127.0.0.1, as after a rebinding."""


class Site:
    """Serves the hostile page, and notes whoever asks it to talk as a naive Bouyomi-chan would.
    ``port`` 0 = any."""

    def __init__(self, port: int = 0) -> None:
        site = self
        self.texts: set[str] = set()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                site.texts.update(parse_qs(url.query).get("text", ()))
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                page = HOSTILE.encode() if url.path == "/" else b"{}"
                kind = "text/html" if url.path == "/" else "application/json"
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            do_POST = do_OPTIONS = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class RawSite:
    """Notes the first bytes that a browser sends to a port that speaks no HTTP."""

    def __init__(self) -> None:
        self.began: set[bytes] = set()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                visitor, _ = self._server.accept()
            except OSError:
                return
            with visitor:
                visitor.settimeout(2.0)
                try:
                    self.began.add(visitor.recv(2))
                except OSError:
                    continue

    def close(self) -> None:
        self._server.close()


@pytest.fixture(scope="module")
def evil() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture(scope="module")
def good() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A browser extension with no rights but its own page, and its origin."""
    folder = tmp_path_factory.mktemp("extension").resolve()
    manifest = {"manifest_version": 3, "name": "viewer", "version": "1"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "page.html").write_text("<!doctype html><title>viewer</title>")
    # Chromium's rule for an extension without a key: the hash of its folder, a to p for 0 to f
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:32]
    name = "".join(chr(ord("a") + int(digit, 16)) for digit in digest)
    return folder, f"chrome-extension://{name}"


@pytest.fixture(scope="module")
def bouyomi(daemon: Rig, good: Site, extension: tuple[Path, str]) -> Iterator[Bridge]:
    origins = [f"--allow-origin={good.url}", f"--allow-origin={extension[1]}"]
    with bridge(daemon.folder / "run", *origins) as running:
        yield running


@pytest.fixture(scope="module")
def browser(
    extension: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrowserContext]:
    program = shutil.which("chromium")
    assert program, "chromium is not installed; make test installs it"
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("chromium"),
            executable_path=program,
            headless=True,
            timeout=2 * LIMIT_S * 1000,
            ignore_default_args=["--disable-extensions"],
            args=[
                "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1",
                f"--load-extension={extension[0]}",
            ],
        )  # fmt: skip
        context.set_default_timeout(LIMIT_S * 1000)
        yield context
        context.close()


def visit(browser: BrowserContext, url: str) -> Page:
    page = browser.new_page()
    page.goto(url)
    return page


def doors(bouyomi: Bridge, port: int) -> list[str]:
    return [f"http://{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")]


def attack(page: Page, bases: list[str]) -> None:
    page.evaluate("bases => attack(bases)", bases)


def texts(watch: Watch, last: str) -> list[str]:
    def said() -> list[str]:
        return [e.text for e in watch.events if e.event == "utterance.queued"]  # type: ignore[attr-defined]

    wait_for(lambda: last in said(), LIMIT_S, f"{last} among {said()}")
    return said()


def speak_up(bouyomi: Bridge, text: str) -> None:
    """A line from a program on this machine: what the page sent was before it."""
    assert bouyomi.get(f"/talk?text={text}").status == 200


FETCH = """
async (url) => {
  try { const answer = await fetch(url); return [answer.status, await answer.json()]; }
  catch (error) { return [0, String(error)]; }
}
"""


def test_no_web_page_makes_the_stream_talk(
    browser: BrowserContext, bouyomi: Bridge, watch: Watch, evil: Site
) -> None:
    page = visit(browser, evil.url)
    ways = set(page.evaluate("Object.keys(WAYS)"))
    attack(page, [*doors(bouyomi, bouyomi.http), evil.url])
    wait_for(lambda: evil.texts >= ways, LIMIT_S, f"{ways - evil.texts} arrive")
    page.close()
    speak_up(bouyomi, "sentinel")
    assert texts(watch, "sentinel") == ["sentinel"]
    wait_for(lambda: evil.url in bouyomi.notes(), LIMIT_S, "it is told")


def test_no_web_page_gets_through_the_raw_door(
    browser: BrowserContext, bouyomi: Bridge, watch: Watch, evil: Site
) -> None:
    raw = RawSite()
    page = visit(browser, evil.url)
    attack(page, [*doors(bouyomi, bouyomi.tcp), f"http://127.0.0.1:{raw.port}"])
    wait_for(lambda: raw.began >= {b"GE", b"PO"}, LIMIT_S, "requests arrive at a raw port")
    page.close()
    raw.close()
    speak_up(bouyomi, "sentinel")
    assert texts(watch, "sentinel") == ["sentinel"]
    wait_for(lambda: "speaks something else" in bouyomi.notes(), LIMIT_S, "it is told")


def test_a_rebound_name_does_not_help(
    browser: BrowserContext, daemon: Rig, watch: Watch, good: Site
) -> None:
    """The page comes from the attacker's server; then its name and port mean the bridge."""
    site = Site(free_port())  # nobody else gets it before the bridge has it
    page = visit(browser, f"http://{REBOUND}:{site.port}/")
    site.close()
    options = ["--http-port", str(site.port), f"--allow-origin={good.url}"]
    with bridge(daemon.folder / "run", *options) as bouyomi:
        attack(page, [f"http://{REBOUND}:{bouyomi.http}"])
        status, told = page.evaluate(FETCH, "/talk?text=own")
        assert (status, told["error"]["code"]) == (403, "bad_host")
        speak_up(bouyomi, "sentinel")
        assert texts(watch, "sentinel") == ["sentinel"]
    page.close()


def test_an_allowed_page_talks_and_reads_the_answer(
    browser: BrowserContext, bouyomi: Bridge, watch: Watch, good: Site
) -> None:
    page = visit(browser, good.url)
    for base in doors(bouyomi, bouyomi.http):
        status, value = page.evaluate(FETCH, f"{base}/talk?text=allowed")
        assert (status, list(value)) == (200, ["taskId"]), value
        watch.wait("utterance.queued", value["taskId"])
    page.close()


def test_an_allowed_extension_talks(
    browser: BrowserContext, bouyomi: Bridge, watch: Watch, extension: tuple[Path, str]
) -> None:
    page = visit(browser, f"{extension[1]}/page.html")
    status, value = page.evaluate(FETCH, f"http://localhost:{bouyomi.http}/talk?text=extension")
    assert status == 200, value
    watch.wait("utterance.queued", value["taskId"])
    page.close()
