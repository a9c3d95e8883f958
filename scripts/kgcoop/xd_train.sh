#!/usr/bin/env bash
# KgCoOp, few-shot classification with 4 shots, seeds 1 2 3, despite its name. xd_train.sh DATASET
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
launch KgCoOp xd_train_4shots "$@"
