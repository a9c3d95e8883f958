#!/usr/bin/env bash
# CoCoOp, base-to-new generalization: test the new classes. base2new_test.sh DATASET SEED
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch CoCoOp base2new_test "$@"
