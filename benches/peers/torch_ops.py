"""PyTorch's side of the benches `kernels` and `gpu`: prepares, runs and times one case at a time inside this process.

One JSON object a line on stdin, one a line on stdout. First this prints `{"ready": true, ...}`. Requests:

    {"do": "prepare", "op", "dtype", "sizes": {..}, "sets": n}   -> {"variants": {column: what runs}}
    {"do": "run", "variant": column, "calls": n}                 -> {"seconds": of all calls}
    {"do": "drop"}                                               -> {}
    {"do": "explain", "op", "dtype", "sizes", "sets", "variant"} -> {"lines": what oneDNN and MKL reported}

Anything that goes wrong is {"error": message}; the process goes on.

Usage: python torch_ops.py THREADS [cpu|cuda]

On a card, calls are timed by CUDA's events, from the first to the end of the last.
"""

import json
import os
import sys
import time

EPSILON = 1e-6


def make(torch, sizes, dtype, count, device):
    """`count` tensors of the same random numbers in memory of their own."""
    first = (torch.rand(sizes, device=device) * 2 - 1).to(dtype)
    return [first] + [first.clone() for _ in range(count - 1)]


class Case:
    """Variants of one operation: a name, what it is, and a function of the index of a set."""

    def __init__(self, torch, request, device):
        self.torch, self.f, self.device = torch, torch.nn.functional, device
        self.dtype = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[request["dtype"]]
        self.sets, self.next = request["sets"], 0
        self.variants = {}
        op, sizes = request["op"], request["sizes"]
        if op in ("gemm", "gemv", "skinny", "scaling", "linear"):
            self.square(sizes["n"]) if sizes.get("square") else self.linear(request, **sizes)
        elif op in ("attention", "vision", "decode"):
            self.attention(causal=op == "attention", **sizes)
        elif op in ("rope", "qk_norm_rope", "mlp_gated", "norm_linears", "embedding"):
            getattr(self, op)(**sizes)
        else:
            self.rows(op, **sizes)

    def make(self, *sizes, count=None, dtype=None):
        return make(self.torch, sizes, dtype or self.dtype, count or self.sets, self.device)

    def time(self, run, calls, first=0):
        """Seconds of `calls` calls of `run`, on the sets from `first` on."""
        if self.device == "cuda":
            begin, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
        else:
            began = time.perf_counter_ns()
        for i in range(first, first + calls):
            run(i % self.sets)
        if self.device == "cuda":
            end.record()
            end.synchronize()
            return begin.elapsed_time(end) / 1e3
        return (time.perf_counter_ns() - began) / 1e9

    def square(self, n):
        a, b = self.make(n, n, count=1)[0], self.make(n, n)
        self.variants["torch"] = ("matmul", lambda i: self.torch.matmul(a, b[i]))

    def linear(self, request, m, n, k):
        x, w = self.make(m, k, count=1)[0], self.make(n, k)
        self.variants["torch"] = ("linear", lambda i: self.f.linear(x, w[i]))
        if self.device == "cuda":
            return
        prepacked = {"torch prepacked": self.prepack_onednn}
        if self.dtype == self.torch.float32:
            prepacked["torch mkl packed"] = self.prepack_mkl
        for name, prepack in prepacked.items():
            try:
                self.variants[name] = prepack(x, w, m)
                self.variants[name][1](0)
            except Exception as error:  # this build or this CPU has no such form
                self.variants[name] = ("", error)
        if request.get("also_f32"):
            x32, w32 = x.float(), [w.float() for w in w]
            self.variants["torch f32"] = ("linear of f32", lambda i: self.f.linear(x32, w32[i]))

    def prepack_mkl(self, x, w, m):
        packed = [self.torch.ops.mkl._mkl_reorder_linear_weight(w, m) for w in w]
        run = self.torch.ops.mkl._mkl_linear
        return "mkl._mkl_linear", lambda i: run(x, packed[i], w[i], None, m)

    def prepack_onednn(self, x, w, m):
        packed = [self.torch.ops.mkldnn._reorder_linear_weight(w, m) for w in w]
        run = self.torch.ops.mkldnn._linear_pointwise
        return "mkldnn._linear_pointwise", lambda i: run(x, packed[i], None, "none", [], "")

    def attention(self, causal, heads, kv_heads, queries, keys, dim):
        q = self.make(1, heads, queries, dim, count=1)[0]
        k, v = self.make(1, kv_heads, keys, dim), self.make(1, kv_heads, keys, dim)
        sdpa = self.f.scaled_dot_product_attention
        if heads == kv_heads:
            self.variants["torch"] = ("sdpa", lambda i: sdpa(q, k[i], v[i], is_causal=causal))
            return
        group = heads // kv_heads
        grouped = lambda i: sdpa(q, k[i], v[i], is_causal=causal, enable_gqa=True)
        # Repeated before the clock runs.
        k_all = [k.repeat_interleave(group, dim=1) for k in k]
        v_all = [v.repeat_interleave(group, dim=1) for v in v]
        repeated = lambda i: sdpa(q, k_all[i], v_all[i], is_causal=causal)
        times = []
        for run in (grouped, repeated):
            run(0)
            times.append(self.time(run, 3))
        if times[0] <= times[1]:
            self.variants["torch"] = ("sdpa, enable_gqa", grouped)
        else:
            self.variants["torch"] = ("sdpa, repeated keys", repeated)
        if queries == 1:
            # Its SDPA is slow on one query of bf16: matmul, softmax, matmul is what one would write then.
            def eager(i):
                scores = self.torch.matmul(q, k_all[i].transpose(-1, -2)) * dim**-0.5
                return self.torch.matmul(self.torch.softmax(scores, dim=-1), v_all[i])

            self.variants["torch eager"] = ("matmul, softmax, matmul", eager)

    def mlp_gated(self, m, n, k):
        x, gate, up, down = self.make(m, k, count=1)[0], self.make(n, k), self.make(n, k), self.make(k, n)
        linear, silu = self.f.linear, self.f.silu
        run = lambda i: linear(silu(linear(x, gate[i])) * linear(x, up[i]), down[i])
        self.variants["torch"] = ("eager, three linear layers", run)

    def norm_linears(self, m, n, k):
        x, gamma = self.make(m, k, count=1)[0], self.make(k, count=1)[0]
        weights = [self.make(rows, k) for rows in (n // 2, n // 4, n // 4)]

        def run(i):
            normed = self.f.rms_norm(x, (k,), gamma, EPSILON)
            return [self.f.linear(normed, weight[i]) for weight in weights]

        self.variants["torch"] = ("eager, rms_norm and three linear layers", run)

    def embedding(self, m, n, k):
        table = self.make(n, k)
        ids = (self.torch.arange(m, device=self.device) * 7919 + 13) % n
        self.variants["torch"] = ("embedding", lambda i: self.f.embedding(ids, table[i]))

    def qk_norm_rope(self, heads, kv_heads, length, dim):
        q, k = self.make(1, heads, length, dim), self.make(1, kv_heads, length, dim)
        gamma = self.make(dim, count=1)[0]
        cos = self.make(1, 1, length, dim, count=1)[0]
        cat, half = self.torch.cat, dim // 2
        norm = lambda x: self.f.rms_norm(x, (dim,), gamma, EPSILON)
        rotate = lambda x: x * cos + cat((-x[..., half:], x[..., :half]), dim=-1) * cos
        self.variants["torch"] = ("eager, rms_norm and rotate_half", lambda i: (rotate(norm(q[i])), rotate(norm(k[i]))))

    def rope(self, heads, length, dim):
        x = self.make(1, heads, length, dim)
        cos = self.make(1, 1, length, dim, count=1, dtype=self.torch.float32)[0].to(self.dtype)
        sin = cos.clone()
        cat, half = self.torch.cat, dim // 2
        rotate = lambda x: x * cos + cat((-x[..., half:], x[..., :half]), dim=-1) * sin
        self.variants["torch"] = ("eager, rotate_half", lambda i: rotate(x[i]))

    def rows(self, op, rows, d):
        torch, f = self.torch, self.f
        shape = (rows, d)
        x = self.make(*shape)
        y = self.make(*shape) if op in ("add", "mul", "silu_mul", "add_norm") else None
        gamma, beta = self.make(d, count=1)[0], self.make(d, count=1)[0]

        def add_norm(i):
            total = x[i] + y[i]
            return total, f.rms_norm(total, (d,), gamma, EPSILON)

        run = {
            "softmax": lambda i: f.softmax(x[i], dim=-1),
            "layer_norm": lambda i: f.layer_norm(x[i], (d,), gamma, beta, EPSILON),
            "rms_norm": lambda i: f.rms_norm(x[i], (d,), gamma, EPSILON),
            "add_norm": add_norm,
            "gelu": lambda i: f.gelu(x[i]),
            "gelu_erf": lambda i: f.gelu(x[i]),
            "gelu_tanh": lambda i: f.gelu(x[i], approximate="tanh"),
            "silu": lambda i: f.silu(x[i]),
            "silu_mul": lambda i: f.silu(x[i]) * y[i],
            "exp": lambda i: torch.exp(x[i]),
            "add": lambda i: x[i] + y[i],
            "mul": lambda i: x[i] * y[i],
        }[op]
        self.variants["torch"] = ("eager", run)

    def find(self, variant):
        """The function of a column, or the reason why there is none."""
        run = self.variants[variant][1]
        if isinstance(run, Exception):
            raise run
        return run

    def run(self, variant, calls):
        first, self.next = self.next, self.next + calls
        return self.time(self.find(variant), calls, first)


def explain(torch, request):
    """What oneDNN and MKL say that they run; they print to the file descriptor, so it is turned into a file."""
    import tempfile

    case = Case(torch, request, "cpu")
    run = case.find(request["variant"])
    with tempfile.TemporaryFile() as file:
        sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(file.fileno(), 1)
        try:
            with torch.backends.mkl.verbose(1), torch.backends.mkldnn.verbose(1):
                run(0)
        finally:
            # C's own buffer of stdout has to be written before the descriptor is put back.
            import ctypes

            ctypes.CDLL(None).fflush(None)
            os.dup2(kept, 1)
            os.close(kept)
        file.seek(0)
        return file.read().decode(errors="replace").splitlines()


def main():
    reply = lambda message: print(json.dumps(message), flush=True)
    try:
        import torch
    except ImportError as error:
        reply({"error": f"no torch: {error}"})
        return
    device = sys.argv[2] if len(sys.argv) > 2 else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        reply({"error": f"torch {torch.__version__} finds no CUDA device"})
        return
    torch.set_num_threads(int(sys.argv[1]))
    torch.set_grad_enabled(False)
    capability = torch.cuda.get_device_name() if device == "cuda" else torch.backends.cpu.get_cpu_capability()
    reply({"ready": True, "torch": torch.__version__, "threads": torch.get_num_threads(), "capability": capability})
    case = None
    with torch.inference_mode():
        for line in sys.stdin:
            request = json.loads(line)
            try:
                if request["do"] == "prepare":
                    case = None
                    case = Case(torch, request, device)
                    reply({"variants": {name: what for name, (what, _) in case.variants.items()}})
                elif request["do"] == "run":
                    reply({"seconds": case.run(request["variant"], request["calls"])})
                elif request["do"] == "explain":
                    reply({"lines": explain(torch, request)})
                else:
                    case = None
                    if device == "cuda":
                        torch.cuda.empty_cache()
                    reply({})
            except Exception as error:
                reply({"error": f"{type(error).__name__}: {error}".splitlines()[0]})


main()
