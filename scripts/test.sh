#!/usr/bin/env bash
# Sets up what is needed on a bare machine and runs all tests, those of the engine included.
#   bash scripts/test.sh [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh --dev
# the tests' models are too small to gain from threads, and their processes would fight for them
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
exec "$PYTHON" -m pytest --numprocesses logical --maxprocesses 8 --dist worksteal "$@"
