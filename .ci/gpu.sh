#!/usr/bin/env bash
# What the GPU checks need on a machine without a GPU: a software Vulkan driver and g++ (Debian), NVIDIA's compilers (PyPI).
# Idempotent, and quick when everything is there.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
nvidia=${KILN_NVIDIA:-$root/target/nvidia}

# Mesa's lavapipe, and the loader that finds it; g++, with its AddressSanitizer, runs the CUDA text of kernels on the CPU.
packages=()
for package in mesa-vulkan-drivers libvulkan1 g++; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || packages+=("$package")
done
if ((${#packages[@]})); then
    as_root=()
    ((EUID == 0)) || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi

# CUDA 12.8: the newest line whose wheels still compile for Pascal. The stamp is written last, so that a broken download is
# repeated.
stamp=$nvidia/.kiln-cuda-12.8
if [[ ! -e $stamp ]]; then
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --upgrade --target "$nvidia" \
        'nvidia-cuda-nvrtc-cu12==12.8.*' 'nvidia-cuda-runtime-cu12==12.8.*' 'nvidia-cuda-nvcc-cu12==12.8.*'
    touch "$stamp"
fi
