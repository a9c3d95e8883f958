#!/usr/bin/env bash
# PromptKD, base-to-new generalization: train without labels, test the base classes. base2new_train.sh DATASET SEED
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch PromptKD base2new_train "$@"
