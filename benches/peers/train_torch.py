"""HF transformers' side of the bench `train`: loads a checkpoint, then takes steps of training and times itself.

One JSON object a line on stdin, one a line on stdout. First this prints `{"ready": true, "facts": [..]}`. Requests:

    {"do": "form", "attention": "sdpa" | "eager", "checkpointing": bool}  -> {}
    {"do": "step"}   -> {"step_s", "loss"}     forward, backward, clipping, AdamW
    {"do": "peak"}   -> {"bytes"}

The patch embedding is a linear layer here, which is faster on CPUs than the 3-D convolution as released. LoRA is by
the package `peft`. Anything that goes wrong is {"error": message}; the process goes on.

Usage: python train_torch.py THREADS DTYPE RECIPE CHECKPOINT WORKLOAD-JSON
"""

import contextlib
import json
import sys
import time

LORA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def say(**reply):
    print(json.dumps(reply), flush=True)


class Engine:
    def __init__(self, threads, dtype, recipe, checkpoint, workload):
        import torch
        import transformers

        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.torch, self.work, self.bf16 = torch, workload, dtype == "bf16"
        # Autocast rounds where it multiplies: parameters stay f32, as its users have them. A frozen base is stored in bf16.
        storage = torch.bfloat16 if self.bf16 and recipe == "lora" else torch.float32
        load = transformers.Qwen3VLForConditionalGeneration.from_pretrained
        model = load(checkpoint, dtype=storage, attn_implementation="sdpa").train()
        embed = model.model.visual.patch_embed
        weight = embed.proj.weight

        def patches(pixels):
            rows = weight.reshape(weight.shape[0], -1)
            return torch.nn.functional.linear(pixels.to(rows.dtype), rows, embed.proj.bias)

        embed.forward = patches
        self.base = model
        facts = f"torch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()}), transformers {transformers.__version__}"
        if recipe == "lora":
            import peft

            facts += f", peft {peft.__version__}"
            rank = workload["rank"]
            config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=LORA_TARGETS)
            model = peft.get_peft_model(model, config)
        self.model = model
        trained = [p for p in model.parameters() if p.requires_grad]
        self.trained = trained
        self.optimizer = torch.optim.AdamW(trained, lr=workload["lr"], weight_decay=0.0, fused=True)
        self.inputs = self.prompt()
        self.facts = [f"{facts}, {dtype}, {sum(p.numel() for p in trained)} parameters train"]

    def prompt(self):
        torch, work = self.torch, self.work
        side = work["side"]
        ids = [(i * 7919 + 13) % work["ids"] for i in range(work["text"])]
        labels, inputs = list(ids), {}
        if side:
            begin, pad, end = work["marks"]
            picture = [begin] + [pad] * (side // work["merge"]) ** 2 + [end]
            ids, labels = picture + ids, [-100] * len(picture) + labels
            numbers = torch.arange(side * side * work["patch_dim"], dtype=torch.int64)
            pixels = (numbers * 37 % 255).float() / 127.5 - 1.0
            inputs["pixel_values"] = pixels.reshape(side * side, work["patch_dim"])
            inputs["image_grid_thw"] = torch.tensor([[1, side, side]])
            inputs["mm_token_type_ids"] = torch.tensor([[int(i == pad) for i in ids]])
        mask = torch.ones(1, len(ids), dtype=torch.int64)
        return inputs | dict(input_ids=torch.tensor([ids]), attention_mask=mask, labels=torch.tensor([labels]))

    def form(self, request):
        self.base.set_attn_implementation(request["attention"])
        if request.get("checkpointing"):
            self.base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            self.base.enable_input_require_grads()
        return {}

    def step(self):
        torch = self.torch
        began = time.perf_counter()
        casting = torch.autocast("cpu", torch.bfloat16) if self.bf16 else contextlib.nullcontext()
        with casting:
            loss = self.model(**self.inputs, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, self.work["clip"])
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {"step_s": time.perf_counter() - began, "loss": loss.item()}

    def answer(self, request):
        what = request["do"]
        if what == "peak":
            with open("/proc/self/status") as status:
                kib = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
            return {"bytes": int(kib) * 1024}
        if what == "form":
            return self.form(request)
        return {"step": self.step}[what]()


def main():
    try:
        threads, dtype, recipe, checkpoint, workload = sys.argv[1:]
        engine = Engine(int(threads), dtype, recipe, checkpoint, json.loads(workload))
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
