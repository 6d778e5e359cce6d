# koed: every target does its own set-up (scripts/setup.sh), and says what it does.
#
#   make run       the daemon in the foreground; Ctrl-C ends it
#   make test      the tests, on a PulseAudio of their own
#   PYTHON=python3.12 make run     another interpreter
#   KOED_NO_INSTALL=1 make run     never install system packages, print the command instead
#   KOED_VOICE=small make run      without the natural voices: nothing more to fetch (remembered)

SHELL := /bin/bash
VENV  := .venv/bin
ARGS  :=
MINUTES := 10

.DEFAULT_GOAL := help
.PHONY: help run demo proof test test-slow fuzz test-pipewire test-debian13 bench lint package install-service uninstall-service clean

help:
	@echo 'make run                start koed here (ARGS="--help" for its options;'
	@echo '                        KOED_VOICE=small: without the natural voices)'
	@echo 'make demo               a run that ends: demo.wav, demo.png and a timing table'
	@echo 'make proof              a real OBS records koed; what is heard and read in the file is judged'
	@echo 'make bench              the figures of the README (ARGS="onset stop" for some)'
	@echo 'make test               the tests (ARGS="-k queue" for some)'
	@echo 'make test-slow          the tests that take longer'
	@echo 'make fuzz               random sequences through the player (MINUTES=10)'
	@echo 'make test-pipewire      the tests that touch sound, on PipeWire'
	@echo 'make test-debian13      make run and make test on a fresh Debian 13 below a folder (root)'
	@echo 'make lint               ruff and mypy'
	@echo 'make package            build the wheel, try the thin client in a fresh environment'
	@echo 'make install-service    start koed with your session (DRY=1 only shows it)'
	@echo 'make uninstall-service  undo that'
	@echo 'make clean              remove .venv and all that was built'

run:
	@scripts/setup.sh run
	@exec $(VENV)/koed run $(ARGS)

demo:
	@scripts/setup.sh demo
	@exec $(VENV)/koed demo --out . $(ARGS)

proof:
	@scripts/setup.sh proof
	@exec $(VENV)/koed proof --out build/proof $(ARGS)

bench:
	@scripts/setup.sh bench $(ARGS)
	@exec $(VENV)/koed bench $(ARGS)

test:
	@scripts/setup.sh test
	@# three at once: most tests wait for sound or for a process, not for a processor
	@exec $(VENV)/python -m pytest -n 3 --dist loadfile $(ARGS)

test-slow:
	@scripts/setup.sh test
	@exec $(VENV)/python -m pytest -n 3 --dist loadfile -m slow $(ARGS)

fuzz:
	@scripts/setup.sh test
	@exec $(VENV)/python -m tests.playback.sequences --minutes $(MINUTES)

test-pipewire:
	@scripts/setup.sh test-pipewire
	@KOED_TEST_AUDIO=pipewire exec $(VENV)/python -m pytest tests/audio \
		tests/daemon/test_faults.py tests/daemon/test_life.py \
		tests/daemon/test_who_hears.py $(ARGS)

test-debian13: export ARGS := $(ARGS)
test-debian13:
	@scripts/debian13.sh

lint:
	@scripts/setup.sh lint
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy

package:
	@scripts/setup.sh lint
	@scripts/check_package.sh

install-service:
	@scripts/setup.sh run
	@$(VENV)/python scripts/service.py install $(if $(WORKER),--worker) $(if $(DRY),--dry)

uninstall-service:
	@python3 scripts/service.py uninstall $(if $(DRY),--dry)

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf demo.wav demo.png clients/examples/node_modules
	find daemon clients tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
