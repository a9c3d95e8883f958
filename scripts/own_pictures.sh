#!/usr/bin/env bash
# Own pictures, from a folder to a classifier. own_pictures.sh FOLDER [--shots K] [--method METHOD]
#   [--classes-file FILE] [--builtin]
# Reads BACKBONE, PREC, CFG and OUTPUT; --help says more.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export CALLED_FROM=$PWD # where relative paths among the arguments start
cd "$ROOT"
exec "$PYTHON" -W ignore -m own_pictures "$@"
