#!/usr/bin/env bash
# MaPLe, base-to-new generalization: train on the base classes. base2new_train_maple.sh DATASET SEED
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch MaPLe base2new_train "$@"
