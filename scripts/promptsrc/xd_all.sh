#!/usr/bin/env bash
# Cross-dataset transfer and domain generalization: all targets, seeds 1 2 3, then the tables.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
table cross_dataset PromptSRC "$@"
table domain_generalization PromptSRC "$@"
