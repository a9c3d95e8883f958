#!/usr/bin/env bash
# CoCoOp, few-shot classification, seeds 1 2 3. few_shot.sh DATASET SHOTS
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch CoCoOp few_shot "$@"
