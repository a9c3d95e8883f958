#!/usr/bin/env bash
# Linear-probe CLIP, one shot: encodes and keeps the test images; linear_probe.sh encodes what it draws.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
table few_shot LinearProbeCLIP --config "${CFG:-rn50_val}" --seeds 1 --shots 1 "$@"
