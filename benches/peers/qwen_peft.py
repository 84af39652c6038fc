#!/usr/bin/env python3
"""Adapters between PEFT and Kiln: PEFT's package writes some for Rust tests to read, and reads what Rust wrote.

    qwen_peft.py make BASE FIXTURES     writes FIXTURES/{text,text-only,both,patches}: adapters of PEFT's own
    qwen_peft.py record BASE FIXTURES   for each adapter in FIXTURES: the logits that HF and PEFT give with it, into
                                        expected.safetensors beside it, and how far they are from the base model's
    qwen_peft.py check BASE ADAPTER LOGITS.safetensors
                                        compares the logits that another engine gave with HF's and PEFT's; exit status 1
                                        where they differ by more than 1e-4 of the largest

BASE is a checkpoint with CASE.safetensors beside it (../../model/tests/fixtures/tiny-dense); the cases are `text` and
`image`. Everything runs in float32 on the CPU with eager attention. FIXTURES is model/training/tests/fixtures; `written`
in it is the adapter that `cargo test -p qwen3-vl-train --test peft` writes.
"""

import json
import pathlib
import sys

import peft
import safetensors.torch
import torch
import transformers

CASES = ["text", "image"]
TOLERANCE = 1e-4
TEXT = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def load_base(base):
    load = transformers.Qwen3VLForConditionalGeneration.from_pretrained
    return load(base, dtype=torch.float32, attn_implementation="eager").eval()


@torch.no_grad()
def run(model, base):
    """The logits of every case, `[length, vocab]`."""
    logits = {}
    for case in CASES:
        tensors = safetensors.torch.load_file(pathlib.Path(base) / f"{case}.safetensors")
        inputs = {name: tensors[name][None] for name in ["input_ids", "mm_token_type_ids"]}
        inputs |= {name: tensors[name] for name in ["pixel_values", "image_grid_thw"] if name in tensors}
        logits[f"{case}.logits"] = model(**inputs).logits[0].float().contiguous()
    return logits


def write(base, folder, seed, **settings):
    """An adapter whose two matrices are random."""
    torch.manual_seed(seed)
    config = peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **settings)
    model = peft.get_peft_model(load_base(base), config).eval()
    model.save_pretrained(folder)
    # A path of the machine it was made on says nothing, and the card is a form.
    path = folder / "adapter_config.json"
    settings = json.loads(path.read_text())
    settings["base_model_name_or_path"] = "Qwen/Qwen3-VL-tiny-dense"
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    (folder / "README.md").unlink(missing_ok=True)
    return model


def make(base, fixtures):
    write(base, fixtures / "text", 1, r=2, lora_alpha=8, lora_dropout=0.1, target_modules=TEXT)
    write(
        base, fixtures / "both", 2, r=2, lora_alpha=2, target_modules="all-linear", use_rslora=True,
        rank_pattern={"q_proj": 3, r"blocks\.0\.attn\.qkv": 1}, alpha_pattern={"linear_fc1": 4},
    )
    # The patch embedding is a convolution: its matrices have five sizes.
    write(base, fixtures / "patches", 3, r=2, lora_alpha=3, target_modules=r".*visual\.(patch_embed|blocks\.\d+\.attn)\.proj")
    # As training on the text model alone names them; HF's whole model doesn't know these names, so that its logits are
    # those of the adapter before it is renamed.
    folder = fixtures / "text-only"
    model = write(base, folder, 4, r=2, lora_alpha=8, target_modules=["q_proj", "v_proj"])
    safetensors.torch.save_file(run(model, base), folder / "expected.safetensors")
    path = folder / "adapter_model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors = {name.replace(".language_model.", "."): tensor for name, tensor in tensors.items()}
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def distance(found, expected):
    """Largest difference over the largest expected value."""
    return ((found - expected).abs().max() / expected.abs().max()).item()


def record(base, fixtures):
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}")
    plain = run(load_base(base), base)
    for folder in sorted(path.parent for path in fixtures.glob("*/adapter_config.json")):
        path = folder / "expected.safetensors"
        if folder.name != "text-only":
            model = peft.PeftModel.from_pretrained(load_base(base), folder).eval()
            safetensors.torch.save_file(run(model, base), path)
        expected = safetensors.torch.load_file(path)
        moved = ", ".join(f"{case} {distance(expected[f'{case}.logits'], plain[f'{case}.logits']):.2f}" for case in CASES)
        print(f"{folder.name}: differs from the base model by {moved} of the largest logit")


def check(base, adapter, logits):
    model = peft.PeftModel.from_pretrained(load_base(base), adapter).eval()
    expected, found = run(model, base), safetensors.torch.load_file(logits)
    worst = 0.0
    for name, value in expected.items():
        error = distance(found[name].reshape(value.shape), value)
        worst = max(worst, error)
        print(f"{name}: {error:.2e} of the largest logit, allowed {TOLERANCE:.0e}")
    sys.exit(worst > TOLERANCE)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", base, fixtures]:
            make(base, pathlib.Path(fixtures))
        case ["record", base, fixtures]:
            record(base, pathlib.Path(fixtures))
        case ["check", base, adapter, logits]:
            check(base, adapter, logits)
        case _:
            sys.exit(__doc__)
