#!/usr/bin/env bash
# Zero-shot CLIP on all classes. zeroshot.sh DATASET CFG
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch ZeroshotCLIP zeroshot "$@"
