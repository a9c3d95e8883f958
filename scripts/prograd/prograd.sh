#!/usr/bin/env bash
# ProGrad on all classes, seeds 1 2 3. prograd.sh DATASET CFG CTP NCTX SHOTS CSC
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch ProGrad prograd "$@"
