#!/usr/bin/env bash
# IVLP, base-to-new generalization: train on the base classes. base2new_train_ivlp.sh DATASET SEED
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch IVLP base2new_train "$@"
