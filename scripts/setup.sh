#!/usr/bin/env bash
# Finds or makes a Python that has everything, and exports it as PYTHON.
#   source scripts/setup.sh              # for running
#   source scripts/setup.sh --dev        # for tests and lint too
# The active Python is used as it is where nothing is missing, whatever the versions; otherwise a .venv
# is made in the checkout, with the versions of requirements.txt. Our Dassl is installed only where
# `import dassl` fails.

setup() {
    local root requirements="requirements.txt" candidate
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || return
    [ "${1:-}" = --dev ] && requirements="requirements-dev.txt"

    for candidate in python "$root/.venv/bin/python"; do
        if [ -z "$(missing "$candidate" "$root/$requirements")" ]; then
            PYTHON=$(command -v "$candidate")
            echo "Using $PYTHON, which has everything" >&2
            export PYTHON
            return
        fi
    done

    echo "Installing $requirements into $root/.venv: the active Python lacks some of it" >&2
    candidate=$(command -v python3 || command -v python) || {
        echo "No python3 was found: install Python 3.10 to 3.13 and call this again" >&2
        return 1
    }
    [ -x "$root/.venv/bin/python" ] || "$candidate" -m venv "$root/.venv" || return
    PYTHON=$root/.venv/bin/python
    # torch comes first and alone: a CPU build at hand is then kept, whatever others would ask for
    install "$(grep '^torch==' "$root/requirements.txt")" "setuptools<81" &&
        install -r "$root/$requirements" || return
    "$PYTHON" -c "import dassl" 2>/dev/null ||
        install --no-build-isolation --no-deps -e "$root/engine" || return
    candidate=$(missing "$PYTHON" "$root/$requirements")
    if [ -n "$candidate" ]; then
        echo "The installation in $root/.venv lacks $candidate: remove that folder and try again" >&2
        return 1
    fi
    echo "Using $PYTHON" >&2
    export PYTHON
}

install() {
    "$PYTHON" -m pip install --quiet --disable-pip-version-check "$@"
}

# missing PYTHON REQUIREMENTS: what of it that Python lacks; imports nothing, for speed
missing() {
    "$1" - "$2" 2>/dev/null <<'PYTHON' || echo "a Python of 3.10 or later"
import re
import sys
from importlib import metadata, util
from pathlib import Path


def names(path):
    for line in path.read_text().splitlines():
        if line.startswith("-r "):
            yield from names(path.with_name(line[3:].strip()))
        elif found := re.match(r"[\w.-]+", line):
            yield found[0]


def installed(name):
    if name == "clip-anytorch":  # or clip as its authors give it
        spec = util.find_spec("clip")
        return spec is not None and Path(spec.origin).with_name("model.py").is_file()
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


assert sys.version_info >= (3, 10)
lacking = [name for name in names(Path(sys.argv[1])) if not installed(name)]
if util.find_spec("dassl") is None:
    lacking.append("dassl")
print(*lacking)
PYTHON
}

setup "$@"
