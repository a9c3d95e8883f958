#!/usr/bin/env bash
# CoCoOp, cross-dataset transfer of given weights. reproduce_xd.sh DATASET SEED WEIGHTS
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch CoCoOp reproduce_xd "$@"
