#!/usr/bin/env bash
# CoCoOp, cross-dataset transfer and domain generalization: test a target. xd_test.sh DATASET SEED
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch CoCoOp xd_test "$@"
