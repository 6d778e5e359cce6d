"""A real daemon for each test module."""

from tests.rigs.daemon import daemon as daemon
from tests.rigs.daemon import watch as watch
