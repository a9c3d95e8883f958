#!/usr/bin/env bash
# ProGrad, the 4-shot source model of prograd.sh on another dataset, seeds 1 2 3. eval.sh DATASET CFG
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch ProGrad eval "$@"
