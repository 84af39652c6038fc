#!/usr/bin/env bash
# Every check and speed run on a machine with an NVIDIA GPU, in one call:
#
#     benches/gpu.sh [CHECKPOINT]
#
# CHECKPOINT is a Qwen3-VL folder or Hugging Face id (Qwen/Qwen3-VL-2B-Instruct) for the speed run; without it only the small
# fixtures run. What it prints, with date, card and driver, goes to benches/record/gpu-CARD-DATE.txt as well.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }

card=$(nvidia-smi --query-gpu=name,compute_cap,driver_version --format=csv,noheader | head -1)
record=benches/record/gpu-$(sed 's/,.*//; s/[^A-Za-z0-9]\+/-/g' <<<"$card")-$(date +%F).txt
exec > >(tee "$record") 2>&1
echo "$card, $(date +%F), $(git rev-parse --short HEAD)"

bash .ci/gpu.sh
# CUDA 12: 13 has no Pascal. The version is fixed when cudarc is built; NVRTC and the headers come from the wheels.
export KILN_NVIDIA=${KILN_NVIDIA:-$PWD/target/nvidia} CUDARC_CUDA_VERSION=12080 KILN_REQUIRE_GPU=1
export CUDA_PATH=$KILN_NVIDIA/nvidia/cuda_runtime
export LD_LIBRARY_PATH=$KILN_NVIDIA/nvidia/cuda_nvrtc/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

step 'kernels: Vulkan, CUDA text on the CPU, the sm_61 compiler'
gpu=(--profile gpu -p burn-kiln-fusion -p burn-kiln --features burn-kiln-fusion/gpu-tests,burn-kiln/wgpu)
cargo test "${gpu[@]}" --test 'cube_*' --test 'wgpu*' --test cuda_text

step 'numbers: the fixtures through CUDA'
cargo build --release -p kiln-examples --features kiln-examples/cuda --example verify --example describe
for fixture in tiny-dense tiny-moe tiny-mixed; do
    target/release/examples/verify "model/tests/fixtures/$fixture" --backend cuda
done

step 'speed: a description'
model=()
if (($#)); then model=(--model "$1"); fi
for backend in kiln cuda; do
    # Twice: the first run compiles its kernels.
    for _ in 1 2; do target/release/examples/describe "${model[@]}" --backend "$backend"; done
done

step "done; recorded in $record"
