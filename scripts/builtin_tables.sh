#!/usr/bin/env bash
# All tables of all methods on the built-in world, seeds 1 2 3, and the reports in docs/examples: builtin_tables.sh
# A run has one thread, since so small a CLIP gains nothing from more, and there is one run a core.
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

sweep() {
    local protocol=$1 began=$SECONDS
    shift
    "$PYTHON" -W ignore -m protocols.run "$protocol" --config builtin --threads 1 "$@"
    echo "$protocol: $(((SECONDS - began + 59) / 60)) minutes"
}

report() {
    "$PYTHON" -m protocols.report "$@" --config builtin
}

cd "$ROOT"
# tests in between give the curves of the report, and change no result
sweep base2new --methods IVLP PromptSRC --datasets builtin_flowers --options TEST.EVERY 2
sweep base2new --methods all --with-teacher
sweep ablation
sweep cross_dataset --methods all --with-teacher
sweep domain_generalization --methods all --with-teacher
sweep few_shot --methods all --with-teacher --shots 1 4 16 \
    --datasets builtin_things builtin_flowers builtin_fabrics builtin_formations

examples=docs/examples
report all "$OUTPUT" --format markdown --out "$examples/report.md"
report all "$OUTPUT" --format csv --out "$examples/report.csv"
report all "$OUTPUT" --format html --out "$examples/report.html" --brief --plots "$examples"
"$PYTHON" -m protocols.compare "$OUTPUT" --config builtin --benchmarks docs/methods.csv \
    --format html --out "$examples/methods.html" --plots "$examples"
