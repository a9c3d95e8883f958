#!/usr/bin/env bash
# Any script of any method: run.sh METHOD SCRIPT ARGUMENTS... Without arguments it lists both.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
launch "$@"
