#!/usr/bin/env bash
# PromptSRC, few-shot classification of given weights, seeds 1 2 3. reproduce_few_shot.sh DATASET SHOTS WEIGHTS
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch PromptSRC reproduce_few_shot "$@"
