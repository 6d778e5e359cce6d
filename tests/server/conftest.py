"""The daemon that `tests/daemon` shares, too."""

from tests.daemon.conftest import daemon as daemon
from tests.daemon.conftest import watch as watch
