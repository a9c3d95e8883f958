#!/usr/bin/env bash
# MMRL, cross-dataset transfer: train on the source, seeds 1 2 3. cross_datasets_train.sh DATASET
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch MMRL cross_datasets_train "$@"
