#!/usr/bin/env bash
# CoOp, cross-dataset transfer of given weights. reproduce_xd.sh DATASET SEED WEIGHTS
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch CoOp reproduce_xd "$@"
