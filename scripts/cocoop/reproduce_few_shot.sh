#!/usr/bin/env bash
# CoCoOp, few-shot classification of given weights, seeds 1 2 3. reproduce_few_shot.sh DATASET SHOTS WEIGHTS
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch CoCoOp reproduce_few_shot "$@"
