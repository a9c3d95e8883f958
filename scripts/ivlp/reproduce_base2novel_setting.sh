#!/usr/bin/env bash
# IVLP, base-to-new generalization of given weights. reproduce_base2novel_setting.sh DATASET SEED WEIGHTS
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch IVLP reproduce_base2novel_setting "$@"
