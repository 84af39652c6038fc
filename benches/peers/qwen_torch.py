"""HF transformers' side of the bench `qwen`: loads a checkpoint, then runs the prompt and times itself.

One JSON object a line on stdin, one a line on stdout. First this prints `{"ready": true, "facts": [..]}`. Requests:

    {"do": "run", "form": f}   -> {"vision_s", "prefill_s", "decode_s"}     prefill_s counts the vision tower in
    {"do": "text", "form": f}  -> {"prefill_s"}
    {"do": "peak"}             -> {"bytes"}

`form` is "conv" (the patch embedding as released, a 3-D convolution) or "linear" (the same numbers by a linear layer).
Anything that goes wrong is {"error": message}; the process goes on.

Usage: python qwen_torch.py THREADS DTYPE CHECKPOINT WORKLOAD-JSON [cpu|cuda]
"""

import json
import sys
import time


def say(**reply):
    print(json.dumps(reply), flush=True)


class Engine:
    def __init__(self, threads, dtype, checkpoint, workload, device="cpu"):
        import torch
        import transformers

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.torch, self.work, self.device = torch, workload, device
        if device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError(f"torch {torch.__version__} finds no CUDA device")
        config = transformers.AutoConfig.from_pretrained(checkpoint)
        moe = "moe" in config.model_type
        name = "Qwen3VLMoeForConditionalGeneration" if moe else "Qwen3VLForConditionalGeneration"
        storage = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]
        self.model = getattr(transformers, name).from_pretrained(checkpoint, dtype=storage, attn_implementation="sdpa").eval().to(device)
        # What a checkpoint asks of sampling and of stopping doesn't matter here.
        self.model.generation_config = transformers.GenerationConfig(do_sample=False, pad_token_id=0)
        embed = self.model.model.visual.patch_embed
        self.embed, self.conv = embed, embed.forward
        weight = embed.proj.weight.reshape(embed.proj.weight.shape[0], -1)
        self.linear = lambda pixels: torch.nn.functional.linear(pixels.to(weight.dtype), weight, embed.proj.bias)
        hardware = torch.cuda.get_device_name() if device == "cuda" else torch.backends.cpu.get_cpu_capability()
        self.facts = [f"torch {torch.__version__} ({hardware}), transformers {transformers.__version__}, {dtype}"]

    def clock(self):
        """Seconds, when all that was asked of the device is done."""
        if self.device == "cuda":
            self.torch.cuda.synchronize()
        return time.perf_counter()

    def ids(self, count):
        return [(i * 7919 + 13) % self.work["ids"] for i in range(count)]

    def prompt(self):
        torch, work = self.torch, self.work
        side, inputs = work["side"], {}
        ids = self.ids(work["text"])
        if side:
            begin, pad, end = work["marks"]
            ids = [begin] + [pad] * (side // work["merge"]) ** 2 + [end] + ids
            numbers = torch.arange(side * side * work["patch_dim"], dtype=torch.int64)
            pixels = (numbers * 37 % 255).float() / 127.5 - 1.0
            inputs["pixel_values"] = pixels.reshape(side * side, work["patch_dim"])
            inputs["image_grid_thw"] = torch.tensor([[1, side, side]])
            inputs["mm_token_type_ids"] = torch.tensor([[int(i == pad) for i in ids]])
        inputs |= dict(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.int64))
        return {name: tensor.to(self.device) for name, tensor in inputs.items()}

    def use(self, form):
        self.embed.forward = self.linear if form == "linear" else self.conv

    def generate(self, inputs, count):
        """Times at which each new token was there."""
        from transformers import StoppingCriteria

        stamps, clock = [], self.clock

        class Stamp(StoppingCriteria):
            def __call__(self, input_ids, scores, **_):
                stamps.append(clock())
                return input_ids.new_zeros(input_ids.shape[0]).bool()

        self.model.generate(**inputs, max_new_tokens=count, stopping_criteria=[Stamp()], use_cache=True)
        return stamps

    def run(self):
        inputs, vision = self.prompt(), 0.0
        if self.work["side"]:
            dtype = self.model.model.visual.dtype
            began = self.clock()
            self.model.model.visual(inputs["pixel_values"].to(dtype), grid_thw=inputs["image_grid_thw"])
            vision = self.clock() - began
        began = self.clock()
        stamps = self.generate(inputs, self.work["new"] + 1)
        return {"vision_s": vision, "prefill_s": stamps[0] - began, "decode_s": stamps[-1] - stamps[0]}

    def run_text(self):
        work = self.work
        count = work["text"] + ((work["side"] // work["merge"]) ** 2 + 2 if work["side"] else 0)
        ids = self.torch.tensor([self.ids(count)], device=self.device)
        began = self.clock()
        stamps = self.generate(dict(input_ids=ids, attention_mask=self.torch.ones_like(ids)), 1)
        return {"prefill_s": stamps[0] - began}

    def answer(self, request):
        what = request["do"]
        if what == "peak":
            with open("/proc/self/status") as status:
                kib = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
            return {"bytes": int(kib) * 1024}
        self.use(request.get("form"))
        return {"run": self.run, "text": self.run_text}[what]()


def main():
    try:
        threads, dtype, checkpoint, workload, *device = sys.argv[1:]
        engine = Engine(int(threads), dtype, checkpoint, json.loads(workload), *device)
    except Exception as error:  # whatever it is, the other side wants to know
        say(error=f"{type(error).__name__}: {error}")
        return
    say(ready=True, facts=engine.facts)
    for line in sys.stdin:
        try:
            say(**engine.answer(json.loads(line)))
        except Exception as error:
            say(error=f"{type(error).__name__}: {error}")


main()
