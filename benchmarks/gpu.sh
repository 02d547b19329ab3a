#!/usr/bin/env bash
# What a GPU does with this project: every part by itself, within its own limit, its numbers as JSON; then a table.
#
#   benchmarks/gpu.sh [--device cuda] [--small] [--out FOLDER] [PART ...]
#
# About twelve minutes on one H100 with 16 cores. A part that fails or runs over time says so in its file, and the others
# go on. `--small --device cpu` is a rehearsal without a GPU (tests/test_gpu_script.py). PYTHON names the interpreter.
set -u
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
device=cuda out=gpu-results small="" parts=()
while [ $# -gt 0 ]; do
    case $1 in
        --device) device=$2; shift 2 ;;
        --out) out=$2; shift 2 ;;
        --small) small=--small; shift ;;
        -*) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
        *) parts+=("$1"); shift ;;
    esac
done
mkdir -p "$out" || exit 1
if [ ${#parts[@]} -eq 0 ]; then
    all=$("$python" "$here/gpu.py" parts) || exit 1
    mapfile -t parts <<< "$all"
fi
for part in "${parts[@]}"; do
    limit=$("$python" "$here/gpu.py" limit "$part" $small) || exit 2
    echo "$part (at most $limit s)" >&2
    timeout -k 5 "$limit" "$python" "$here/gpu.py" run "$part" --device "$device" $small --out "$out" \
        > "$out/$part.log" 2>&1
    code=$?
    [ $code -eq 0 ] || "$python" "$here/gpu.py" failed "$part" --code $code --out "$out"
done
"$python" "$here/gpu.py" table --out "$out"
