#!/usr/bin/env bash
# MaPLe, cross-dataset transfer and domain generalization: test a target. xd_test_maple.sh DATASET SEED
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch MaPLe xd_test "$@"
