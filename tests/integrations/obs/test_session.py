"""Whatever OBS does, koed speaks on, and is connected again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from koed.testing.rig import Rig, rig
from tests.integrations.obs.follower import HIGH, LOW, Follower, talking
from tests.rigs.hearing import seconds, voices
from tests.rigs.waiting import wait_for
from tools.counterparts.obs import ObsStudio

pytestmark = pytest.mark.slow

LINE = "la la la la la la la la"


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.touch(mode=0o600)
    return path


@pytest.fixture
def daemon(obs: ObsStudio, password_file: Path) -> Iterator[Rig]:
    """koed with the password of ``obs`` in a file; it is started before OBS and knows no other."""
    password_file.write_text(obs.password + "\n")
    section = obs.config() | {
        "password_file": str(password_file),
        "broadcast": False,  # nothing but koed's own care finds out that OBS hangs
        "scenes": {"Low": {"voice": "low"}, "High": {"voice": "high"}},
    }
    with obs.link() as link:
        obs.scenes(link, "Low", "High")
    obs.quit()
    queue = {"line_pause_s": 0.0, "max_lines": 200}
    with rig(
        {"voice": "low", "obs": section, "queue": queue, "audio": {"history_s": 600.0}},
        {"low": LOW, "high": HIGH},
        environ={"KOED_OBS_PASSWORD": ""},
    ) as running:
        running.wait_ready()
        yield running


def attempts(daemon: Rig) -> int:
    return int(daemon.client.status()["companions"]["obs"]["attempts"])


def test_koed_speaks_on_whatever_obs_does(obs: ObsStudio, daemon: Rig, password_file: Path) -> None:
    watch = daemon.watch("obs.", "utterance.", "voice.changed")
    told = Follower(watch)
    with talking(daemon, LINE, "low"):
        began = told.next("utterance.started")
        obs_misbehaves(obs, daemon, password_file, told)
    assert not told.seen("utterance.failed", "utterance.skipped", "utterance.dropped")
    sounds_all_the_time(daemon, told, began.t)
    watch.close()


def obs_misbehaves(obs: ObsStudio, daemon: Rig, password_file: Path, told: Follower) -> None:
    assert daemon.client.status()["companions"]["obs"]["code"] == "obs_absent"

    obs.start()
    assert told.next("obs.up").scene == "Low"

    obs.kill()
    assert told.next("obs.down").code == "obs_gone"
    told.speaks()

    # another password: one word, and no hammering
    obs.start(password="another")
    assert told.next("obs.down").code == "obs_password"
    tried = attempts(daemon)
    told.speaks(3)
    assert attempts(daemon) == tried
    assert daemon.log().count("does not take koed's password") == 1
    password_file.write_text("another\n")
    told.next("obs.up")

    # one that hangs, and goes on
    obs.hang()
    assert told.next("obs.down").code == "obs_silent"
    told.speaks()
    obs.go_on()
    told.next("obs.up")
    with obs.link() as link:
        link.call("SetCurrentProgramScene", sceneName="High")
    told.next("voice.changed", voice="high")

    # one that hangs, and is replaced
    obs.hang()
    assert told.next("obs.down").code == "obs_silent"
    obs.kill()
    obs.start()
    told.next("obs.up")

    # refused, and then back with the password that koed has, which nobody touched
    obs.kill()
    obs.start(password="a third")
    told.next("obs.down", code="obs_password")
    obs.kill()
    obs.start(password="another")
    told.next("obs.up")
    told.speaks()


def sounds_all_the_time(daemon: Rig, told: Follower, since_t: float) -> None:
    """What was heard is as long as what was said."""
    daemon.client.clear()
    wait_for(lambda: not daemon.client.queue().speaking, what="silence")
    finished = told.seen("utterance.finished")
    heard = voices(daemon.sound(since_t - 0.1), {"low": 400.0})
    assert seconds(heard, "low") > 0.9 * sum(event.spoken_s for event in finished) > 0


def test_a_koed_that_ends_waits_for_no_obs(obs: ObsStudio, daemon: Rig) -> None:
    watch = daemon.watch("obs.")
    obs.start()
    Follower(watch).next("obs.up")
    watch.close()
    obs.hang()
    daemon.process.terminate()
    assert daemon.process.wait(30) == 0
    assert "Traceback" not in daemon.log()
