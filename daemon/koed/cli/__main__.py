"""`python -m koed.cli` is `koed`."""

from koed.cli.main import main

raise SystemExit(main())
