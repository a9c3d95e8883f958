#!/usr/bin/env bash
# MMRL, base-to-new generalization: test the new classes, seeds 1 2 3. base2new_test.sh DATASET
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch MMRL base2new_test_seeds "$@"
