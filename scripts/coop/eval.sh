#!/usr/bin/env bash
# CoOp, the 16-shot source model of main.sh on another dataset, seeds 1 2 3. eval.sh DATASET CFG
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch CoOp eval "$@"
