#!/usr/bin/env python3
"""Compiles CUDA C++ files for sm_61 with NVRTC 12 and ptxas, without a GPU or its driver.

    compile.py FILE.cu...

For each file one line: NAME registers=N spill_bytes=N stack_bytes=N shared_bytes=N half_arithmetic=N byte_products=N, with
what ptxas reports (shared_bytes counts what is fixed at compile time; CubeCL asks for the rest at launch) and numbers of PTX
instructions: those that compute in 16-bit floats, which SM61 runs at 1/64 of the rate of 32-bit ones, and dp4a, which
multiplies four bytes by four others and adds the products.

The compilers come from the wheels nvidia-cuda-{nvrtc,runtime,nvcc}-cu12==12.8.*: CUDA 13 has no Pascal. They are looked
for in $KILN_NVIDIA, else in target/nvidia beside the workspace, where .ci/gpu.sh puts them.

Exit status: 0 all compiled, 1 one did not, 3 the wheels are missing.
"""
import ctypes
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ARCH = "61"
MISSING = 3
HALF_ARITHMETIC = re.compile(rb"\b(?:add|sub|mul|fma|neg|abs|min|max|ex2|tanh)(?:\.\w+)*\.b?f16(?:x2)?\b")
BYTE_PRODUCT = re.compile(rb"\bdp4a\.")


def find_toolkit():
    """Paths of libnvrtc, the CUDA headers and ptxas; exits where one is missing."""
    default = pathlib.Path(__file__).resolve().parents[2] / "target" / "nvidia"
    root = pathlib.Path(os.environ.get("KILN_NVIDIA", default)) / "nvidia"
    found = []
    for pattern in ("cuda_nvrtc/lib/libnvrtc.so.12", "cuda_runtime/include", "cuda_nvcc/bin/ptxas"):
        path = root / pattern
        if not path.exists():
            print(f"no {path}: run .ci/gpu.sh", file=sys.stderr)
            sys.exit(MISSING)
        found.append(path)
    return found


class Nvrtc:
    """The few calls of libnvrtc that turn a program into PTX."""

    def __init__(self, path):
        self.lib = ctypes.CDLL(str(path))
        self.lib.nvrtcGetErrorString.restype = ctypes.c_char_p

    def _check(self, status, call):
        if status != 0:
            raise RuntimeError(f"{call}: {self.lib.nvrtcGetErrorString(status).decode()}")

    def _read(self, program, what):
        size = ctypes.c_size_t()
        self._check(getattr(self.lib, f"nvrtcGet{what}Size")(program, ctypes.byref(size)), what)
        text = ctypes.create_string_buffer(size.value)
        self._check(getattr(self.lib, f"nvrtcGet{what}")(program, text), what)
        return text.value

    def compile(self, source, options):
        """PTX of `source`; raises with the compiler's log."""
        program = ctypes.c_void_p()
        create = self.lib.nvrtcCreateProgram(ctypes.byref(program), source, b"kernel.cu", 0, None, None)
        self._check(create, "create")
        try:
            array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            status = self.lib.nvrtcCompileProgram(program, len(options), array)
            if status != 0:
                raise RuntimeError(self._read(program, "ProgramLog").decode())
            return self._read(program, "PTX")
        finally:
            self.lib.nvrtcDestroyProgram(ctypes.byref(program))


def assemble(ptxas, ptx):
    """What ptxas says about the one kernel in `ptx`."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "kernel.ptx"
        path.write_bytes(ptx)
        command = [ptxas, "--verbose", f"--gpu-name=sm_{ARCH}", path, "--output-file", os.devnull]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)

    def total(pattern):
        return sum(int(number) for number in re.findall(pattern, done.stderr))

    if "registers" not in done.stderr:
        raise RuntimeError(f"ptxas reports no kernel: {done.stderr}")
    return {
        "registers": total(r"Used (\d+) registers"),
        "spill_bytes": total(r"(\d+) bytes spill"),
        "stack_bytes": total(r"(\d+) bytes stack frame"),
        "shared_bytes": total(r"(\d+) bytes smem"),
    }


def main(paths):
    libnvrtc, headers, ptxas = find_toolkit()
    nvrtc = Nvrtc(libnvrtc)
    # The options of cubecl-cuda, for a virtual architecture so that ptxas can be asked.
    options = [f"--gpu-architecture=compute_{ARCH}", f"--include-path={headers}", "-lineinfo"]
    failed = False
    for path in map(pathlib.Path, paths):
        try:
            ptx = nvrtc.compile(path.read_bytes(), options)
            counts = {"half_arithmetic": HALF_ARITHMETIC, "byte_products": BYTE_PRODUCT}
            report = assemble(ptxas, ptx) | {name: len(pattern.findall(ptx)) for name, pattern in counts.items()}
            print(path.stem, *(f"{key}={value}" for key, value in report.items()))
        except RuntimeError as error:
            failed = True
            print(f"{path.stem}: {error}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
