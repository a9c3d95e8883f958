#!/usr/bin/env bash
# Linear-probe CLIP: all datasets, 1 to 16 shots, seeds 1 2 3, then the table.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
table few_shot LinearProbeCLIP --config "${CFG:-rn50_val}" "$@"
