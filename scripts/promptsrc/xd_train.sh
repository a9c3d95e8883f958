#!/usr/bin/env bash
# PromptSRC, cross-dataset transfer: train on the source. xd_train.sh DATASET SEED
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch PromptSRC xd_train "$@"
