"""``python -m koe.cli`` is `koe`."""

import sys

from koe.cli import main

sys.exit(main())
