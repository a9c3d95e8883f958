#!/usr/bin/env bash
# Any script of any method: run.sh METHOD SCRIPT ARGUMENTS... Without arguments it lists both.
# run.sh METHOD base2new_train alone: a first run on built-in data, seeds 1 2 3, with the table.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
if [ $# -eq 2 ] && [ "$2" = base2new_train ]; then
    first_run "$1"
else
    launch "$@"
fi
