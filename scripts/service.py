"""Installs koed's systemd user units with the real paths of this checkout, and removes them.

Standard library only, so that `uninstall` works without .venv.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNITS = ("koed", "koed-worker")
REFUSED = set("\"'\\*?[") | {chr(code) for code in range(32)}
"""What systemd forbids in the name of a program, quoted or not."""


def specifier(path: str) -> str:
    """A path as the rest of a line of a unit: only ``%`` is special there."""
    return path.replace("%", "%%")


def word(path: str) -> str:
    """A path as the first word of ``ExecStart``: quoted, because it may have spaces."""
    return f'"{specifier(path)}"'


def render(template: Path, koed: str, root: str) -> str:
    """The text of a unit. ``koed``: the program; ``root``: the folder that it runs in."""
    if refused := REFUSED & set(koed + root):
        marks = " ".join(sorted(refused))
        raise ValueError(f"systemd runs no program whose path has {marks} in it")
    text = template.read_text(encoding="utf-8")
    values = {
        "@KOED@": word(koed),
        "@URI@": specifier(Path(root).as_uri()),
        "@ROOT@": specifier(root),
    }
    for mark, value in values.items():
        text = text.replace(mark, value)
    return text


def unit_dir() -> Path:
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(config) / "systemd" / "user"


class Hands:
    """Does what it says, or with ``dry`` only says it."""

    def __init__(self, dry: bool) -> None:
        self.dry = dry

    def write(self, path: Path, text: str) -> None:
        print(f"write {path}")
        if self.dry:
            print("".join(f"    {line}\n" for line in text.splitlines()), end="")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def remove(self, path: Path) -> None:
        print(f"remove {path}")
        if not self.dry:
            path.unlink(missing_ok=True)

    def call(self, *command: str) -> bool:
        print(shlex.join(command))
        return self.dry or subprocess.run(command, check=False).returncode == 0


def install(names: list[str], hands: Hands) -> int:
    koed = ROOT / ".venv" / "bin" / "koed"
    for name in names:
        text = render(ROOT / "systemd" / f"{name}.service.in", str(koed), str(ROOT))
        hands.write(unit_dir() / f"{name}.service", text)
    if shutil.which("systemctl") is None:
        print("this machine has no systemd: the units are written, nothing starts them")
        return 1
    services = [f"{name}.service" for name in names]
    if not hands.call("systemctl", "--user", "daemon-reload") or not hands.call(
        "systemctl", "--user", "enable", *services
    ):
        print("systemd of your session does not answer: run this as yourself, in your session")
        return 1
    print("koed starts with your next session. Now:  systemctl --user start", *services)
    print(f"What it says:  journalctl --user -f -u {services[0]}")
    return 0


def uninstall(names: list[str], hands: Hands) -> int:
    there = [name for name in names if (unit_dir() / f"{name}.service").exists()]
    if not there:
        print(f"no unit of koed in {unit_dir()}")
        return 0
    if shutil.which("systemctl"):
        services = [f"{name}.service" for name in there]
        hands.call("systemctl", "--user", "disable", "--now", *services)
    for name in there:
        hands.remove(unit_dir() / f"{name}.service")
    if shutil.which("systemctl"):
        hands.call("systemctl", "--user", "daemon-reload")
    return 0


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["install", "uninstall"])
    parser.add_argument("--worker", action="store_true", help="the engine worker, not the stage")
    parser.add_argument("--dry", action="store_true", help="only say what would be done")
    arguments = parser.parse_args(argv)
    hands = Hands(arguments.dry)
    if arguments.verb == "install":
        try:
            return install(["koed-worker" if arguments.worker else "koed"], hands)
        except ValueError as error:
            print(f"{error}: move the checkout to a plainer folder")
            return 1
    return uninstall(list(UNITS), hands)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
