#!/usr/bin/env bash
# MaPLe, base-to-new generalization of given weights. reproduce_maple.sh DATASET SEED WEIGHTS
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch MaPLe reproduce_base2novel_setting "$@"
