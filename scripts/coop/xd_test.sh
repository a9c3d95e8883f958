#!/usr/bin/env bash
# CoOp, cross-dataset transfer and domain generalization: test a target. xd_test.sh DATASET SEED
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch CoOp xd_test "$@"
