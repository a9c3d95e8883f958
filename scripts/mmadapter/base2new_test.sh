#!/usr/bin/env bash
# MMA, base-to-new generalization: test the new classes. base2new_test.sh DATASET SEED CFG EPOCH
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch MultiModalAdapter base2new_test_epoch "$@"
