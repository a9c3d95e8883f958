#!/usr/bin/env bash
# ProGrad, base-to-new generalization with 4 shots: train on the base classes, seeds 1 2 3. base2new_train_prograd.sh DATASET
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch ProGrad base2new_train_prograd "$@"
