#!/usr/bin/env bash
# MaPLe, base-to-new generalization: test the new classes. base2new_test_maple.sh DATASET SEED
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch MaPLe base2new_test "$@"
