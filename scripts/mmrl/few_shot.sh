#!/usr/bin/env bash
# MMRL, few-shot classification with 1, 2, 4, 8 and 16 shots, seeds 1 2 3. few_shot.sh DATASET
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch MMRL few_shot_all_shots "$@"
