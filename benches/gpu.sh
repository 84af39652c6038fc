#!/usr/bin/env bash
# Every check and speed run on a machine with an NVIDIA GPU, in one call:
#
#     benches/gpu.sh [CHECKPOINT]
#
# CHECKPOINT is the folder of Qwen3-VL-2B, for the speed of a whole model; without it one of random weights is made at that size (4.3 GB, in
# target/). KILN_PYTHON is an interpreter with PyTorch for CUDA and transformers; without one the tables say that it is missing.
#
# Tables go to benches/record/gpu-CARD.md (kernels) and gpu-CARD-qwen.md (the model), behind what they hold; what is printed, with date, card
# and driver, to gpu-CARD-DATE.txt.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }

card=$(nvidia-smi --query-gpu=name,compute_cap,driver_version,memory.total --format=csv,noheader | head -1)
record=benches/record/gpu-$(sed 's/,.*//; s/[^A-Za-z0-9]\+/-/g' <<<"$card")
exec > >(tee "$record-$(date +%F).txt") 2>&1
echo "$card, $(date +%F), $(git rev-parse --short HEAD)"

bash .ci/gpu.sh
# CUDA 12: 13 has no Pascal. The version is fixed when cudarc is built; NVRTC and the headers come from the wheels.
export KILN_NVIDIA=${KILN_NVIDIA:-$PWD/target/nvidia} CUDARC_CUDA_VERSION=12080 KILN_REQUIRE_GPU=1
export CUDA_PATH=$KILN_NVIDIA/nvidia/cuda_runtime
export LD_LIBRARY_PATH=$KILN_NVIDIA/nvidia/cuda_nvrtc/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

step 'kernels: Vulkan, CUDA text on the CPU, the sm_61 compiler'
gpu=(--profile gpu -p burn-kiln-fusion -p burn-kiln --features burn-kiln-fusion/gpu-tests,burn-kiln/wgpu)
cargo test "${gpu[@]}" --test 'cube_*' --test 'wgpu*' --test cuda_text

step 'numbers: the fixtures through CUDA, whole and with no more weights on the card than are needed at one time'
programs=(-p kiln-examples -p kiln-benches --features kiln-examples/cuda,kiln-benches/cuda,kiln-benches/wgpu)
cargo build --release "${programs[@]}" --example verify --example describe --bin gpu --bin qwen
for fixture in tiny-dense tiny-moe tiny-mixed; do
    verify=(target/release/examples/verify "model/tests/fixtures/$fixture" --backend cuda)
    "${verify[@]}"
    # One byte is refused, with the least that would do.
    least=$("${verify[@]}" --gpu-memory 1 2>&1 | sed -n 's/.*at least \([0-9]\+\) bytes.*/\1/p' || true)
    "${verify[@]}" --gpu-memory "${least:?}"
done

step 'speed: every kernel, through CUDA and through Vulkan'
for backend in cuda wgpu; do
    # A machine may have no Vulkan driver beside CUDA.
    target/release/gpu --backend "$backend" --record "$record.md" || echo "$backend: not measured"
done

step 'speed: a whole model'
if (($#)); then
    model=(--checkpoint "$1")
    describe=(target/release/examples/describe --model "$1" --backend cuda)
    "${describe[@]}" --explain
    "${describe[@]}" --image examples/assets/picture.png --max-new-tokens 64
else
    model=(--checkpoint target/qwen3-vl-2b-random --make 2b)
fi
target/release/qwen "${model[@]}" --backend cuda --record "$record-qwen.md"
target/release/qwen "${model[@]}" --backend cuda --gpu-memory 2GiB --no-peers --record "$record-qwen.md"

step "done; recorded in $record*"
