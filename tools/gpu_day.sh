#!/usr/bin/env bash
# All that is to be known of a GPU, in one command: every gpu test, `koed bench engine` at full size,
# and tools/gpu_day.py. Leaves gpu_day.json and gpu_day.md in the folder that is named.
#   tools/gpu_day.sh [FOLDER]      (build/gpu_day without one)
set -u
cd "$(dirname "$0")/.." || exit 1
out=${1:-build/gpu_day}
python=${PYTHON:-.venv/bin/python}
mkdir -p "$out"
export CUDA_DEVICE_ORDER=PCI_BUS_ID OMP_WAIT_POLICY=PASSIVE
status=0
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
  echo "no GPU that torch can use: nothing was run" >&2
  exit 2
}
"$python" -m pytest -q -m gpu tests >"$out/tests.txt" 2>&1 || status=1
tail -n 1 "$out/tests.txt"
"$python" -m koed.cli bench engine >"$out/bench.txt" 2>&1 || status=1
tail -n 1 "$out/bench.txt"
"$python" -m tools.gpu_day "$out" || status=1
exit "$status"
