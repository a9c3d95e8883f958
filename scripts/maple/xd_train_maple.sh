#!/usr/bin/env bash
# MaPLe, cross-dataset transfer: train on the source. xd_train_maple.sh DATASET SEED
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch MaPLe xd_train "$@"
