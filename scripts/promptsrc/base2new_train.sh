#!/usr/bin/env bash
# PromptSRC, base-to-new generalization: train on the base classes. base2new_train.sh DATASET SEED
# Without arguments: a first run on built-in data, seeds 1 2 3, with the table of base, new and harmonic mean.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
if [ $# -eq 0 ]; then
    first_run PromptSRC
else
    launch PromptSRC base2new_train "$@"
fi
