#!/usr/bin/env bash
# CoOp on all classes, seeds 1 2 3. main.sh DATASET CFG CTP NCTX SHOTS CSC
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch CoOp main "$@"
