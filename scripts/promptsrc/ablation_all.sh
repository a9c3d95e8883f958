#!/usr/bin/env bash
# From IVLP to PromptSRC part by part: all datasets, seeds 1 2 3, then the table of the ablation.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
table ablation PromptSRC "$@"
