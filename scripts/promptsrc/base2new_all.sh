#!/usr/bin/env bash
# Base-to-new generalization: all datasets, seeds 1 2 3, then the table.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
table base2new PromptSRC "$@"
