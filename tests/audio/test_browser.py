"""A real browser that records koed hears nothing else, whatever becomes of koed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.audio.conftest import OURS_HZ, STREET_HZ, Stage
from tests.rigs.sound import SoundServer
from tests.rigs.waiting import wait_for

PAGE = b"""<!doctype html><script>
const heard = {};  // for so many milliseconds of each tone
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
  let last = performance.now();
  setInterval(() => {
    analyser.getFloatFrequencyData(bins);
    const now = performance.now();
    for (const hz of tones) {
      const level = bins[Math.round(hz * analyser.fftSize / context.sampleRate)];
      // a browser that stood still has not listened meanwhile
      heard[hz] = (heard[hz] ?? 0) + (level > -50 ? Math.min(now - last, 100) : 0);
    }
    last = now;
  }, 20);
}
</script>"""


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


def heard_ms(page: Page, pitch_hz: float) -> float:
    return float(page.evaluate(f"heard[{pitch_hz:.0f}] ?? 0"))


def hears_us(page: Page) -> None:
    """For a second from now on."""
    enough = heard_ms(page, OURS_HZ) + 1000.0
    wait_for(lambda: heard_ms(page, OURS_HZ) > enough, what="our sound")


def test_a_page_that_records_koed_hears_no_other_microphone(
    sound: SoundServer, stage: Stage, page: Page, tmp_path: Path
) -> None:
    sound.real_microphone(STREET_HZ)
    output = stage.start()
    page.evaluate(f"record('koed', [{OURS_HZ:.0f}, {STREET_HZ:.0f}])")
    hears_us(page)
    output.stop(20.0)
    assert output.left
    stage.start()
    hears_us(page)
    assert heard_ms(page, STREET_HZ) == 0.0
    sound.unload("koed_mic")
    wait_for(lambda: "koed_mic" in sound.names("sources"), what="it is made anew")
    hears_us(page)
    assert heard_ms(page, STREET_HZ) <= 1000.0 * stage.leak_s()
    assert page.evaluate("track.readyState") == "live"
