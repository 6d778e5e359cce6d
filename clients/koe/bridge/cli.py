"""``koe bridge``: each bridge is the package or module ``koe.bridge.NAME.main`` runs."""

from __future__ import annotations

from argparse import Namespace
from typing import Any


def run(args: Namespace, place: dict[str, Any]) -> int:
    """Run the bridge ``args.bridge`` until it is interrupted; the exit code.

    ``place``: where koed is, as the clients' arguments. Raises `koe.wire.framing.WireError`.
    """
    if args.bridge == "bouyomi":
        from koe.bridge.bouyomi.main import run as bouyomi

        return bouyomi(args, place)
    if args.bridge == "vts":
        from koe.bridge.vts.main import run as vts

        return vts(args, place)
    raise AssertionError(args.bridge)
