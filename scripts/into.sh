#!/usr/bin/env bash
# Puts the trainers into another project that is written for Dassl, whichever Dassl that project has.
#   bash scripts/into.sh PROJECT
# Added: prompting/, prompt_trainers/, configs/prompt_trainers/ and a few modules that these import.
# Nothing of the project is changed; the two lines for its train.py are printed. docs/dassl.md says more.
set -euo pipefail

usage="usage: bash scripts/into.sh PROJECT   (the folder of the other project's train.py)"
case ${1:-} in
-h | --help)
    sed -n '2,5s/^# \{0,1\}//p' "$0"
    echo "$usage"
    exit
    ;;
esac
if [ $# -ne 1 ] || [ ! -d "$1" ]; then
    [ $# -ne 1 ] || echo "error: there is no folder $1" >&2
    echo "$usage" >&2
    exit 2
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
project=$(cd "$1" && pwd)

# what is copied, and its place in the project
sources=("$root/prompting" "$root/trainers" "$root/configs/trainers")
targets=(prompting prompt_trainers configs/prompt_trainers)
for module in "$root"/engine/*.py; do
    sources+=("$module")
    targets+=("$(basename "$module")")
done

there=()
for target in "${targets[@]}"; do
    [ ! -e "$project/$target" ] || there+=("$target")
done
if [ ${#there[@]} -gt 0 ]; then
    echo "error: $project already has ${there[*]}; nothing was copied." >&2
    echo "If they are of an earlier copy, remove them first and call this again." >&2
    exit 2
fi

mkdir -p "$project/configs"
for i in "${!sources[@]}"; do
    cp -R "${sources[$i]}" "$project/${targets[$i]}"
    echo "added ${targets[$i]}"
done
find "$project/prompting" "$project/prompt_trainers" -name __pycache__ -prune -exec rm -r {} +

cat <<'LINES'

Two lines into the project's train.py, the first after its other imports, the second at the end of
extend_cfg(cfg):

    import prompt_trainers

    prompt_trainers.extend_cfg(cfg)
LINES
