#!/usr/bin/env bash
# Zero-shot CLIP on the base and on the new classes. base2new_test.sh DATASET
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch ZeroshotCLIP base2new_test "$@"
