#!/usr/bin/env bash
# Zero-shot CLIP on a target of cross-dataset transfer. xd_test.sh DATASET
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch ZeroshotCLIP xd_test "$@"
