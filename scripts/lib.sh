# shellcheck shell=bash
# What all scripts share. A script sources this file and calls `launch` or `table`.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/setup.sh
source "$ROOT/scripts/setup.sh"

# absolute PATH: as seen from where the script was called
absolute() {
    case $1 in
    /* | "~"*) echo "$1" ;;
    *) echo "$PWD/$1" ;;
    esac
}

DATA=$(absolute "${DATA:-data}")
OUTPUT=$(absolute "${OUTPUT:-output}")
if [ -f "${BACKBONE:-}" ] || [ -f "${BACKBONE:-}/config.json" ] ||
    [ -f "${BACKBONE:-}/open_clip_config.json" ]; then
    BACKBONE=$(absolute "$BACKBONE")
    export BACKBONE
fi
export DATA OUTPUT

# launch METHOD SCRIPT ARGUMENTS...: the runs of a script (protocols/launch.py)
launch() {
    export CALLED_FROM=$PWD # where relative paths among the arguments start
    cd "$ROOT"
    exec "$PYTHON" -W ignore -m protocols.launch "$0" "$@"
}

# table PROTOCOL METHOD ARGUMENTS...: all runs of a table, then the table
table() {
    local protocol=$1 method=$2
    shift 2
    cd "$ROOT"
    "$PYTHON" -W ignore -m protocols.run "$protocol" --methods "$method" --report "$@"
}

# first_run METHOD: it, beside zero-shot CLIP, on built-in data; so small a CLIP gains nothing from threads
first_run() {
    cd "$ROOT"
    "$PYTHON" -W ignore -m protocols.run base2new --methods ZeroshotCLIP "$1" \
        --datasets builtin_flowers --config builtin --jobs 2 --threads 1 --with-teacher --report
}
