#!/usr/bin/env bash
# TCP, base-to-new generalization: train on the base classes. base2new_train.sh DATASET SEED
# Without arguments, as published: all datasets, seeds 1 2 3, training and tests, then the table.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
if [ $# -eq 0 ]; then
    table base2new TCP
else
    launch TCP base2new_train "$@"
fi
