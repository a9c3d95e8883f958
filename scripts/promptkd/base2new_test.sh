#!/usr/bin/env bash
# PromptKD, base-to-new generalization: test the new classes. base2new_test.sh DATASET SEED
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch PromptKD base2new_test "$@"
