#!/usr/bin/env bash
# Cache misses of our tiled and blocked kernels against naive loops, on the simulated caches of an i5-10210U (L1d 32 KiB 8-way, last
# level 6 MiB 12-way), AVX2 tier, one thread. Misses of making the operands are measured alone and taken off. Every problem is larger
# than both caches, and ours may have at most so many hundredths of the other's read misses, in L1d and in the last level:
#
#   gemm, attention, softmax down a column    a quarter: tiles and strips are read again and again
#   layer_norm, rms_norm of a matrix          two fifths of three passes over it, three fifths of two: ours comes from memory once
#   layer_norm, rms_norm of one long row      L1d about as many (its 32 KiB are nothing beside the row), the last level fewer: a row must be
#                                             read twice, but its end is still in cache; `whole-row` is our kernel without column blocks
#
# Usage: benches/cachegrind.sh [path of a built `kernels`]; without one it is built (release).
set -euo pipefail
cd "$(dirname "$0")/.."
command -v valgrind > /dev/null || { echo "cachegrind.sh: valgrind is not installed" >&2; exit 2; }
binary=${1:-}
if [ -z "$binary" ]; then
    cargo build --release -p kiln-benches --bin kernels
    binary=${CARGO_TARGET_DIR:-target}/release/kernels
fi
export KILN_ISA=avx2

# Data read misses of one run: "L1d last-level".
misses() {
    local out
    out=$(mktemp)
    valgrind --tool=cachegrind --cache-sim=yes --I1=32768,8,64 --D1=32768,8,64 --LL=6291456,12,64 --cachegrind-out-file="$out" \
        "$binary" --cachegrind "$1" --op "$2" > /dev/null 2> "$out.log" || { cat "$out.log" >&2; exit 2; }
    # "events: Ir I1mr ILmr Dr D1mr DLmr Dw .." and "summary: .." name the same columns.
    awk '/^events:/ { for (i = 2; i <= NF; i++) column[$i] = i } /^summary:/ { print $column["D1mr"], $column["DLmr"] }' "$out"
    rm -f "$out" "$out.log"
}

status=0
printf '%-10s %-11s %-10s %14s %14s %8s\n' op against misses theirs ours ratio
for case in gemm:none:naive:tiled:25:25 attention:none:naive:tiled:25:25 softmax:none:naive:blocked:25:25 \
    layer_norm:none:naive:blocked:40:40 rms_norm:none:naive:blocked:60:60 \
    layer_norm:none-row:naive-row:blocked-row:90:80 rms_norm:none-row:naive-row:blocked-row:102:95 \
    layer_norm:none-row:whole-row:blocked-row:102:97 rms_norm:none-row:whole-row:blocked-row:102:95; do
    IFS=: read -r op nothing other ours limit_1 limit_l <<< "$case"
    base=$(misses "$nothing" "$op") naive=$(misses "$other" "$op") kernel=$(misses "$ours" "$op")
    read -r base_1 base_l <<< "$base"; read -r naive_1 naive_l <<< "$naive"; read -r kernel_1 kernel_l <<< "$kernel"
    for level in "L1d $((naive_1 - base_1)) $((kernel_1 - base_1)) $limit_1" \
        "LL $((naive_l - base_l)) $((kernel_l - base_l)) $limit_l"; do
        read -r name theirs mine percent <<< "$level"
        # A kernel cannot miss less than nothing; the simulator's start differs a little from run to run.
        [ "$mine" -gt 0 ] || mine=0
        verdict=ok
        [ $((100 * mine)) -le $((percent * theirs)) ] || { verdict="MORE THAN $percent %"; status=1; }
        printf '%-10s %-11s %-10s %14d %14d %8s %s\n' "$op" "$other" "$name" "$theirs" "$mine" \
            "$(awk -v a="$mine" -v b="$theirs" 'BEGIN { printf "%.4f", (b > 0 ? a / b : 0) }')" "$verdict"
    done
done
exit $status
