#!/usr/bin/env bash
# PromptKD, cross-dataset transfer: train on the target's images, without labels. xd_train.sh DATASET SEED
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch PromptKD xd_train "$@"
