#!/usr/bin/env bash
# MaPLe, cross-dataset transfer of given weights. reproduce_maple_xd.sh DATASET SEED WEIGHTS
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch MaPLe reproduce_xd "$@"
