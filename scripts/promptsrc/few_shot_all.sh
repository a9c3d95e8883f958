#!/usr/bin/env bash
# Few-shot classification: all datasets, shots and seeds, then the table.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
table few_shot PromptSRC "$@"
