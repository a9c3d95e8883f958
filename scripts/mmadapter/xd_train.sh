#!/usr/bin/env bash
# MMA, cross-dataset transfer: train on the source. xd_train.sh SEED CFG
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch MultiModalAdapter xd_train_config "$@"
