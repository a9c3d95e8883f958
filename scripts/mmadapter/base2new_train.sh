#!/usr/bin/env bash
# MMA, base-to-new generalization: train on the base classes. base2new_train.sh DATASET SEED CFG
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch MultiModalAdapter base2new_train_config "$@"
