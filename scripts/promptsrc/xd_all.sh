#!/usr/bin/env bash
# Cross-dataset transfer and domain generalization: all targets, seeds 1 2 3, then the tables.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
status=0
for protocol in cross_dataset domain_generalization; do
    table "$protocol" PromptSRC "$@" || status=$?
    [ "$status" -ne 130 ] || break # interrupted
done
exit "$status"
