"""``python -m koed.cli`` is `koed`."""

import sys

from koed.cli import main

sys.exit(main())
