#!/usr/bin/env bash
# MMRL, cross-dataset transfer and domain generalization: test a target, seeds 1 2 3. cross_datasets_test.sh DATASET
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch MMRL cross_datasets_test "$@"
