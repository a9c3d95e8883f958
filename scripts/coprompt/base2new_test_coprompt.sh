#!/usr/bin/env bash
# CoPrompt, base-to-new generalization: test the new classes. base2new_test_coprompt.sh DATASET SEED EXP EPOCH
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch CoPrompt base2new_test_coprompt "$@"
