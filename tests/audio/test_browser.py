"""A real browser that records koed hears nothing else, whatever becomes of koed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.audio.conftest import STREET_HZ, Stage
from tests.rigs import SoundServer, wait_for

PAGE = b"""<!doctype html><script>
const heard = {};  // the loudest so far of each tone, in dB
async function record(label, tones) {
  await navigator.mediaDevices.getUserMedia({audio: true});  // names are told after that
  const devices = await navigator.mediaDevices.enumerateDevices();
  const device = devices.find(d => d.kind == 'audioinput' && d.label == label);
  const plain = {echoCancellation: false, noiseSuppression: false, autoGainControl: false};
  const stream = await navigator.mediaDevices.getUserMedia(
    {audio: {deviceId: {exact: device.deviceId}, ...plain}});
  window.track = stream.getAudioTracks()[0];
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, {fftSize: 4096, smoothingTimeConstant: 0});
  context.createMediaStreamSource(stream).connect(analyser);
  const bins = new Float32Array(analyser.frequencyBinCount);
  setInterval(() => {
    analyser.getFloatFrequencyData(bins);
    for (const hz of tones) {
      const level = bins[Math.round(hz * analyser.fftSize / context.sampleRate)];
      heard[hz] = Math.max(heard[hz] ?? -200, level);
    }
  }, 20);
}
</script>"""
LOUD_DB = -50.0


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def page(sound: SoundServer) -> Iterator[Page]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    options = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--disable-gpu"]
    options += ["--autoplay-policy=no-user-gesture-required", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=options, env=dict(os.environ) | sound.env
        )
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_address[1]}/")
        yield page
        browser.close()
    server.shutdown()
    server.server_close()


def heard(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate("heard")
    return found


def hears_us_again(page: Page) -> None:
    page.evaluate("for (const hz in heard) heard[hz] = -200")
    wait_for(lambda: heard(page)["440"] > LOUD_DB, what="our sound")


def test_a_page_that_records_koed_hears_no_other_microphone(
    sound: SoundServer, stage: Stage, page: Page, tmp_path: Path
) -> None:
    sound.real_microphone(STREET_HZ)
    output = stage.start()
    page.evaluate(f"record('koed', [440, {STREET_HZ:.0f}])")
    hears_us_again(page)
    street = f"{STREET_HZ:.0f}"
    output.stop(20.0)
    assert output.left
    stage.start()
    wait_for(lambda: heard(page)["440"] > LOUD_DB, what="our sound, again")
    assert heard(page)[street] < LOUD_DB
    sound.unload("koed_mic")
    wait_for(lambda: "recorder_moved" in stage.codes(), what="it is told")
    hears_us_again(page)
    assert heard(page)[street] < LOUD_DB
    assert page.evaluate("track.readyState") == "live"
