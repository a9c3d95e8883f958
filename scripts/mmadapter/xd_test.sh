#!/usr/bin/env bash
# MMA, cross-dataset transfer and domain generalization: test a target. xd_test.sh DATASET SEED CFG EPOCH
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch MultiModalAdapter xd_test_epoch "$@"
