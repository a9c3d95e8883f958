#!/usr/bin/env bash
# MMRL, base-to-new generalization: train on the base classes, seeds 1 2 3. base2new_train.sh DATASET
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch MMRL base2new_train_seeds "$@"
