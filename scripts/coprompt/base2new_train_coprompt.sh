#!/usr/bin/env bash
# CoPrompt, base-to-new generalization: train on the base classes. base2new_train_coprompt.sh DATASET SEED EXP
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch CoPrompt base2new_train_coprompt "$@"
