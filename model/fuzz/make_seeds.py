"""Writes the seeds of the fuzzers: valid inputs, and every kind of damage once.

Run in this folder: python3 make_seeds.py. Inputs that a fuzzer found are kept as crash-*, and are not touched.
"""
import json
import struct
import zlib
from pathlib import Path

FIXTURES = Path("../tests/fixtures")
NEXT = b"\n--next--\n"


def write(target, name, content):
    folder = Path("seeds") / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


# Checkpoints.
def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def frame(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


ONE = {"a": entry("F32", [2, 2], 0, 16)}
MANY = {"__metadata__": {"format": "pt"}, "a.weight": entry("F32", [2, 3], 0, 24), "b": entry("BF16", [4], 24, 32),
        "c": entry("F16", [2, 2], 32, 40), "d": entry("I64", [1], 40, 48), "empty": entry("F32", [0, 3], 48, 48),
        "scalar": entry("F32", [], 48, 52), "e": entry("U8", [4], 52, 56)}
loader = {
    "one": frame(ONE, bytes(16)),
    "many": frame(MANY, struct.pack("<6f", *range(6)) + bytes(range(32))),
    "padded": frame(json.dumps(ONE).encode() + b" " * 9, bytes(16)),
    "nothing": b"",
    "no-header": b"\x10\0\0",
    "short": frame(ONE, b"", 1000),
    "huge-length": frame(b"{}", b"", 2**64 - 1),
    "long-length": frame(b"{}", b"", 99_999_999),
    "truncated": frame(ONE, bytes(15)),
    "trailing": frame(ONE, bytes(17)),
    "empty-header": frame({}),
    "no-json": frame(b"{\"a\":", bytes(4)),
    "list": frame(b"[]"),
    "no-utf8": frame(b"{\"a\xff\":1}"),
    "twice": frame(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
                   bytes(4)),
    "dtype": frame({"a": entry("F7", [1], 0, 4)}, bytes(4)),
    "half-bytes": frame({"a": entry("F4", [3], 0, 1)}, bytes(1)),
    "negative": frame({"a": entry("F32", [-1], 0, 4)}, bytes(4)),
    "overflow": frame({"a": entry("F32", [2**40, 2**40], 0, 16)}, bytes(16)),
    "product": frame({"a": entry("F32", [2**63, 2], 0, 0)}),
    "zero-times-huge": frame({"a": entry("F32", [0, 2**63, 2**63], 0, 0)}),
    "reversed": frame({"a": entry("F32", [4], 16, 0)}, bytes(16)),
    "size": frame({"a": entry("F32", [4], 0, 12)}, bytes(12)),
    "beyond": frame({"a": entry("F32", [5], 0, 20)}, bytes(16)),
    "overlap": frame({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}, bytes(12)),
    "gap": frame({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 12, 20)}, bytes(20)),
    "ranks": frame({"a": entry("F32", [1] * 9, 0, 4)}, bytes(4)),
    "field": frame({"a": {**entry("F32", [1], 0, 4), "more": []}}, bytes(4)),
    "missing-field": frame({"a": {"dtype": "F32", "shape": [1]}}, bytes(4)),
    "metadata": frame({"__metadata__": {"a": 1}, **ONE}, bytes(16)),
    "deep": frame(b'{"a":' + b"[" * 300),
    "name": frame({"n" * 600: entry("F32", [0], 0, 0)}),
    "not-finite": frame(ONE, struct.pack("<4f", float("nan"), float("inf"), -0.0, 1e-45)),
    "misaligned": frame({"x": entry("U8", [1], 0, 1), "a": entry("F32", [2], 1, 9)}, bytes(9)),
}
SHARDS = [frame({"a": entry("F32", [1], 0, 4)}, bytes(4)), frame({"b": entry("BF16", [2], 0, 4)}, bytes(4))]
INDEXES = {
    "sharded": {"metadata": {"total_size": 8}, "weight_map": {"a": "1", "b": "2"}},
    "wrong-shard": {"weight_map": {"a": "2", "b": "1"}},
    "missing-shard": {"weight_map": {"a": "1", "b": "3"}},
    "unlisted": {"weight_map": {"a": "1", "c": "2"}},
    "empty-index": {"weight_map": {}},
    "no-map": {"metadata": {}},
    "parent": {"weight_map": {"a": "../1"}},
    "absolute": {"weight_map": {"a": "/etc/passwd"}},
    "folder": {"weight_map": {"a": "."}},
    "number": {"weight_map": {"a": 1}},
}
for name, index in INDEXES.items():
    loader[name] = NEXT.join([json.dumps(index).encode(), *SHARDS])
loader["index-no-json"] = NEXT.join([b"{", *SHARDS])
loader["duplicate"] = NEXT.join([json.dumps(INDEXES["sharded"]).encode(), SHARDS[0], SHARDS[0]])


# A whole model, that of `arrange` in targets.rs: two layers of two experts.
def model(experts, text="model.language_model.", vision="model.visual.", dtype="F32", more=()):
    tensors = [(f"{text}embed_tokens.weight", [4, 2]), (f"{text}norm.weight", [2])]
    for layer in range(2):
        prefix = f"{text}layers.{layer}."
        tensors += [(f"{prefix}{norm}.weight", [2]) for norm in ["input_layernorm", "post_attention_layernorm"]]
        tensors += [(f"{prefix}self_attn.{norm}.weight", [2]) for norm in ["q_norm", "k_norm"]]
        tensors += [(f"{prefix}self_attn.{part}_proj.weight", [2, 2]) for part in "qkvo"]
        tensors += [(f"{prefix}mlp.gate.weight", [2, 2])]
        tensors += [(f"{prefix}mlp.experts.{name}", shape) for name, shape in experts]
    sizes = {"patch_embed.proj": [4, 3, 1, 1, 1], "blocks.0.norm1": [4], "blocks.0.norm2": [4],
             "blocks.0.attn.qkv": [12, 4], "blocks.0.attn.proj": [4, 4], "blocks.0.mlp.linear_fc1": [4, 4],
             "blocks.0.mlp.linear_fc2": [4, 4], "merger.norm": [4], "merger.linear_fc1": [16, 16],
             "merger.linear_fc2": [2, 16]}
    tensors += [(f"{vision}pos_embed.weight", [1, 4])]
    for name, shape in sizes.items():
        tensors += [(f"{vision}{name}.weight", shape), (f"{vision}{name}.bias", shape[:1])]
    header, end = {}, 0
    for name, shape in [*tensors, *more]:
        is_fp8 = ".experts." in name and "scale" not in name and dtype != "F32"
        size = 1 if is_fp8 else 4
        for side in shape:
            size *= side
        header[name] = entry(dtype if is_fp8 else "F32", shape, end, end + size)
        end += size
    return frame(header, bytes(end))


RELEASED = [("gate_up_proj", [2, 2, 6]), ("down_proj", [2, 3, 2])]
HF5 = [("gate_up_proj", [2, 6, 2]), ("down_proj", [2, 2, 3])]
EACH = [(f"{n}.{part}.weight", shape) for n in range(2)
        for part, shape in [("gate_proj", [3, 2]), ("up_proj", [3, 2]), ("down_proj", [2, 3])]]
FLAT = [(f"{part}.{n}", shape) for n in range(2)
        for part, shape in [("gate_up_proj", [2, 6]), ("w2", [2, 3])]]
SCALED = EACH + [(f"{n}.{part}_proj.weight_scale_inv", shape) for n in range(2)
                 for part, shape in [("gate", [2, 1]), ("up", [2, 1]), ("down", [1, 2])]]
loader |= {
    "model": model(RELEASED),
    "model-hf5": model(HF5),
    "model-hf5-fp8": model(HF5 + [("gate_up_proj_scale_inv", [2, 3, 1]), ("down_proj_scale_inv", [2, 1, 2])],
                           dtype="F8_E4M3"),
    "model-each": model(EACH),
    "model-each-fp8": model(SCALED, dtype="F8_E4M3"),
    "model-each-missing": model(EACH[1:]),
    "model-each-twice": model(EACH + [("gate_proj.0.weight", [3, 2]), ("gate_proj", [2, 3, 2])]),
    "model-flat": model(FLAT),
    "model-shapes": model([("gate_up_proj", [2, 3, 4]), ("0.down_proj", [6]), ("1.w2", [2, 2, 3])]),
    "model-base": model(RELEASED, "language_model.", "visual."),
    "model-nested": model(RELEASED, "model.language_model.model.", "module.model.visual."),
    "model-mtp": model(RELEASED, more=[("mtp.fc.weight", [2, 4]), ("v_head.bias", [1]), ("lm_head.weight", [4, 2])]),
    "model-two-names": model(RELEASED, more=[("model.norm.weight", [2]), ("language_model.norm.weight", [2])]),
    "model-mlx": model(HF5, "language_model.model.", "vision_tower."),
    "model-lora": model(RELEASED, "base_model.model.model.language_model.", more=[("x.lora_A.weight", [1, 2])]),
}
for name, content in loader.items():
    write("loader", name, content)

# Configurations.
dense = (FIXTURES / "tiny-dense/config.json").read_text()
config = {
    "dense": dense,
    "moe": (FIXTURES / "tiny-moe/config.json").read_text(),
    "mixed": (FIXTURES / "tiny-mixed/config.json").read_text(),
    "pictures": (FIXTURES / "tiny-dense/preprocessor_config.json").read_text(),
    "videos": '{"fps": 2, "min_frames": 4, "max_frames": 768, "size": {"shortest_edge": 4096, "longest_edge": 25165824}}',
    "older": '{"min_pixels": 4096, "max_pixels": 65536, "patch_size": 14, "resample": 3, "image_mean": [0.5, 0.5, 0.5]}',
    "nothing": "",
    "list": "[]",
    "truncated": dense[: len(dense) // 2],
    "no-utf8": b"\xff\xfe{}",
    "nan": '{"model_type": NaN}',
    "deep": '{"a":' * 300,
    "other-model": '{"model_type": "llama"}',
    "not-finite": '{"fps": 1e999, "rescale_factor": -0.0}',
}


JSON_NULL = object()


def change(section, **fields):
    changed = json.loads(dense)
    target = changed[section] if section else changed
    for key, value in fields.items():
        if value is None:
            del target[key]
        else:
            target[key] = value
    return json.dumps(changed, default=lambda _: None)


config |= {
    "zero": change("text_config", hidden_size=0),
    "huge": change("text_config", num_attention_heads=2**20, num_key_value_heads=2**20, head_dim=2**20, num_hidden_layers=4096),
    "fraction": change("vision_config", depth=1.5),
    "text": change("text_config", vocab_size="many"),
    "missing": change("text_config", rms_norm_eps=None),
    "heads": change("text_config", num_key_value_heads=3),
    "layers": change("vision_config", deepstack_visual_indexes=[0, 99]),
    "sections": change("text_config", rope_scaling={"rope_type": "yarn", "mrope_section": [1]}),
    "yarn": change("text_config", rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64,
                                                "mrope_section": [6, 5, 5], "mscale": 0.7, "mscale_all_dim": 1.0,
                                                "beta_fast": 32, "beta_slow": 1, "truncate": False}),
    "yarn-null": change("text_config", rope_scaling={"type": "yarn", "factor": JSON_NULL, "truncate": JSON_NULL,
                                                     "mrope_section": [6, 5, 5]}),
    "yarn-zero": change("text_config", rope_scaling={"rope_type": "yarn", "factor": 1e308, "beta_fast": 1e-308,
                                                     "original_max_position_embeddings": 0}),
    "linear": change("text_config", rope_parameters={"rope_type": "linear", "factor": 1e308, "rope_theta": 1e4,
                                                     "mrope_section": [6, 5, 5]}, rope_scaling=None),
    "dynamic": change("text_config", rope_scaling={"rope_type": "dynamic", "factor": 2, "mrope_section": [6, 5, 5]}),
    "longrope": change("text_config", rope_scaling={"rope_type": "longrope", "short_factor": [1], "long_factor": [2]}),
    "defaults": '{"model_type": "qwen3_vl_moe", "vision_config": {"out_hidden_size": 2048}}',
    "no-heads": '{"model_type": "qwen3_vl_moe", "text_config": {"num_attention_heads": 0, "hidden_size": 7}}',
    "null-heads": change("text_config", num_key_value_heads=JSON_NULL),
    "hf5": (FIXTURES / "hf5/config.json").read_text(),
    "processor": '{"image_processor": {"size": {"longest_edge": 40960}}, "video_processor": null, "size": {"shortest_edge": 1}}',
    "quantized": change("", quantization_config={"quant_method": "fp8"}),
    "tied": change("", tie_word_embeddings=True),
    "same-tokens": change("", video_token_id=json.loads(dense)["image_token_id"]),
}
for name, content in config.items():
    write("config", name, content)

# Pictures.
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, rows=None, extra=b""):
    data = zlib.compress(rows) if rows is not None else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


PICTURES = ["animation.gif", "bits.png", "cmyk.jpg", "grey-alpha.png", "grey.jpg", "grey16.png", "palette-alpha.png", "palette.png",
            "rgb.bmp", "rgba.png", "rgba.webp", "turned-6.jpg"]
for name in PICTURES:
    whole = (FIXTURES / "pictures" / name).read_bytes()
    write("image", name, whole)
    write("image", f"truncated-{name}", whole[: len(whole) * 2 // 3])
# Animations: whole, cut in their last frame, and as composed of frames of every kind.
for name in ["clear.gif", "clear.webp", "patches.webp", "sprite.webp", "clear.png", "wave.png"]:
    whole = (FIXTURES / "videos" / name).read_bytes()
    write("image", f"animated-{name}", whole)
    write("image", f"cut-{name}", whole[: len(whole) * 19 // 20])
for name in ["webps", "apngs"]:
    composed = (FIXTURES / f"videos/composition.{name}").read_bytes()
    rows = (FIXTURES / "videos/composition.csv").read_text().splitlines()[1:]
    rows = [int(row.split(",")[1]) for row in rows if row.startswith("webp") == (name == "webps")]
    at = 0
    for index, length in enumerate(rows[:6]):
        write("image", f"composed-{index}.{name[:-1]}", composed[at : at + length])
        at += length
for name in ["gif", "png"]:
    cleared = (FIXTURES / f"videos/disposal.{'gifs' if name == 'gif' else 'apngs'}").read_bytes()
    rows = (FIXTURES / "videos/disposal.csv").read_text().splitlines()[1:]
    at = 0
    for index, length in enumerate([int(row.split(",")[1]) for row in rows if row.startswith(name)][:6]):
        write("image", f"cleared-{index}.{name}", cleared[at : at + length])
        at += length
rgba = (FIXTURES / "pictures/rgba.png").read_bytes()
moving = (FIXTURES / "videos/wave.png").read_bytes()
patches = (FIXTURES / "videos/patches.webp").read_bytes()
control, frame = moving.index(b"acTL") - 4, patches.index(b"ANMF") + 8
for name, content in {
    "no-end.png": rgba[:-12],
    "no-end-huge.png": png(2**32 - 1, 2**32 - 1, 8, 6, bytes(9))[:-12],
    "animated-huge.png": png(2**32 - 1, 2**32 - 1, 8, 6, bytes(9), chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(
        b"fcTL", struct.pack(">5I2H2B", 0, 2**32 - 1, 2**32 - 1, 0, 0, 1, 10, 0, 0))),
    "no-checksum.png": rgba[:-14],
    "no-frames.png": moving[:control] + chunk(b"acTL", bytes(8)) + moving[control + 20 :],
    "order.png": moving.replace(b"fdAT" + struct.pack(">I", 2), b"fdAT" + struct.pack(">I", 3), 1),
    "outside.webp": patches[:frame] + b"\xff" * 3 + patches[frame + 3 :],
    "no-payload.webp": patches[: frame + 16],
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "avif": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf",
    "svg": b"<?xml version='1.0'?>\n<!-- x -->\n<svg/>",
    "pdf": b"%PDF-1.7\n",
    "jxl": b"\xff\x0a\xfa\x1f",
}.items():
    write("image", name, content)
grey = (FIXTURES / "pictures/grey.jpg").read_bytes()
at = grey.index(b"\xff\xc0")
gif = (FIXTURES / "pictures/animation.gif").read_bytes()
bmp = (FIXTURES / "pictures/rgb.bmp").read_bytes()
for name, content in {
    "nothing": b"",
    "no-picture": b"no picture at all",
    "small.png": png(2, 2, 8, 2, b"\0" + bytes(6) + b"\0" + bytes(6)),
    "bomb.png": png(60_000, 60_000, 16, 6),
    "zero.png": png(0, 5, 8, 2),
    "long.png": png(65_535, 1, 8, 0),
    "short-rows.png": png(100, 100, 8, 2, bytes(10)),
    "long-rows.png": png(2, 2, 8, 2, bytes(100_000)),
    "profile.png": png(1, 1, 8, 2, bytes(4), chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(1000)))),
    "bomb.jpg": grey[: at + 5] + b"\xff" * 4 + grey[at + 9:],
    "bomb.gif": gif[:6] + b"\xff" * 4 + gif[10:],
    "zero.gif": gif[:6] + b"\0" * 4 + gif[10:],
    "bomb.bmp": bmp[:18] + b"\xff\xff\0\0\xff\xff\0\0" + bmp[26:],
    "negative.bmp": bmp[:18] + struct.pack("<ii", 24, -16) + bmp[26:],
    "head.webp": b"RIFF\xff\xff\xff\xffWEBPVP8X\x0a\0\0\0\x10\0\0\0" + b"\xff" * 6,
}.items():
    write("image", name, content)

# Templates, conversations and answers.
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"x": {"type": "number", "default": 1e-05}}}}
CALL = {"type": "function", "function": {"name": "find", "arguments": {"x": [1, None, {"a": "ü"}]}}}
TALK = {"messages": [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "image", "image": "a.png"}, {"type": "text", "text": "Hi"}, {"type": "video"}]},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello", "tool_calls": [CALL, CALL]},
    {"role": "tool", "content": "one"}, {"role": "tool", "content": None}, {"role": "user", "content": "Bye"},
], "tools": [TOOL], "variables": {"enable_thinking": True}, "add_vision_id": True}
PLAIN = {"messages": [{"role": "user", "content": "x"}]}
CHATML = """{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.content is string %}{{- message.content }}
    {%- else %}{%- for part in message.content %}{{- part.text if part.type == 'text' else '<|image_pad|>' }}{%- endfor %}
    {%- endif %}
    {%- generation %}{{- '<|im_end|>\\n' }}{%- endgeneration %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
DOUBLE = "{% set n = namespace(x='abcdefgh') %}{% for i in range(60) %}STEP{% endfor %}{{ n.x }}"
templates = {
    "chatml": CHATML,
    "macro": "{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{% call(x) m(1) %}{{ x }}{% endcall %}{{ m(b=3, a=messages) }}",
    "filters": "{{ messages | tojson(indent=2) }}{{ 'a b'.split(' ') | join('-') | upper }}{{ [3, 1] | sort | list }}",
    "methods": "{{ 'ab'.replace('a', 'b').strip().startswith('b') }}{{ messages[0].items() | list }}{{ messages[-1].get('z', 1) }}",
    "whitespace": "a\n  {%- set x, y = 1, [2] -%}\n {{ x +}}\n{# c -#} {% raw %}{{ {% {# {% endraw %}\n{{ '%}' }}",
    "exception": "{{ raise_exception('no ' ~ messages[0].role) }}",
    "time": "{{ strftime_now('%A %d %B %Y, %-I:%M %p %j') }}{{ strftime_now('%Q') }}",
    "loops": "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "loop-controls": "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ loop.index }}{% break %}{% endfor %}",
    "concatenation": DOUBLE.replace("STEP", "{% set n.x = n.x ~ n.x %}"),
    "capture": DOUBLE.replace("STEP", "{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}"),
    "replacement": DOUBLE.replace("STEP", "{% set n.x = n.x.replace('a', n.x) %}"),
    "lists": DOUBLE.replace("STEP", "{% set n.x = [n.x, n.x] %}"),
    "namespaces": DOUBLE.replace("STEP", "{% set n.x = namespace(x=n.x, y=n.x) %}"),
    "escapes": DOUBLE.replace("STEP", "{% set n.x = [[n.x | tojson] | string] ~ '' %}"),
    "macros": "{% macro m(x, n) %}{{ m(x ~ x, n - 1) if n else '' }}{% endmacro %}{{ m('abcdefgh', 40) }}",
    "recursive": "{% for a in ['abcdefgh'] recursive %}{{ loop([a ~ a]) }}{% endfor %}",
    "captured-text": "{% set x %}{% for i in range(100000) %}" + "t" * 100 + "{% endfor %}{% endset %}",
    "product": "{{ 'a' * 100000000 }}",
    "products": "{{ '=' * 3 ~ [0] * 2 ~ -7 // 2 % 3 }}{{ 2 ** 10 ** 2 / 4.0 }}{{ f(*[1], **{'a': 2}) }}{{ (1, 2 * 2)[0 * 1:] }}",
    "product-of-lists": "{% for i in range(1000) %}{{ ([[0] * 1000] * 1000) | length }}{% endfor %}",
    "percent": "{{ '%s|%5d|%-5.2f|%(k)s|%*d|%r|%c|%%' | format(1, 2, 3.0) }}{{ '%(k)s' % {'k': 1} }}{{ '%s %s' % (1, 'b') }}",
    "percent-wide": "{{ '%1000000000d' | format(1) }}{{ '%.*f' % (1000000000, 1.5) }}",
    "braces": "{{ '{} {0} {k!r:>{w}} {:,.2f} {{}} {:#x} {:%}'.format(1, 2.5, k='é', w=5) }}{{ '{:^1000000000}'.format(1) }}",
    "json": "{{ messages | tojson(ensure_ascii=true, indent='\t', separators=(',', ':'), sort_keys=true) }}{{ 1 | tojson(indent=999999999) }}",
    "texts": "{{ [1e16, 'a\'b', none, {'k': [1.0, true]}] ~ 1e-5 ~ messages }}",
    "padding": "{{ 'a b'.rsplit(maxsplit=1) }}{{ '-7'.zfill(5) }}{{ 'ab'.center(7, '*') }}{{ 'x' | center }}{{ 'y'.ljust(9) }}",
    "wrapping": "{{ 'well-known state--of the-art\u2028x' | wordwrap(5) }}{{ 'abcdefghij' | wordwrap(3, false, '|') }}",
    "rounding": "{{ 2.675 | round(2) }}{{ 1e300 | round(400) }}{{ 5 | round(-1) }}{{ 2.5 | round(method='ceil') }}",
    "tuples": "{% for (a, b) in ((1, 2), (3,)) %}{{ (a, b) ~ () }}{% endfor %}{{ {'a': 1}.items() | list }}{{ (1, 2) * 3 }}",
    "whole": "{% for m in messages %}{% set n = m %}{{ n | tojson }}{% for k in m %}{{ m[k] }}{% endfor %}{% endfor %}",
    "making": "{% for i in range(100000) %}{% if ('a' * 1000) ~ i | tojson %}{% endif %}{% endfor %}",
    "long": "t" * 200 + "{% for i in range(1000) %}" + "t" * 200 + "{% endfor %}",
    "elifs": "{% if 0 %}" + "{% elif 0 %}" * 70 + "{% endif %}",
    "minus": "{{ " + "-" * 1000 + "1 }}",
    "brackets": "{{ " + "[" * 300,
    "unclosed-tag": "{% if",
    "unclosed-block": "{% if 1 %}",
    "unclosed-text": "{{ 'a",
    "unclosed-raw": "{% raw %}{{",
    "slices": "{{ messages[::-1] }}{{ 'abc'[1:] }}{{ messages[99] is undefined }}{{ 1 // 0 }}",
    "backwards": "{{ [][::-1] }}",
    "include": "{% include 'x' %}{% extends 'y' %}",
}
for name, template in templates.items():
    write("template_message", f"template-{name}", NEXT.join([template.encode(), json.dumps(PLAIN).encode(), b""]))
write("template_message", "conversation", NEXT.join([CHATML.encode(), json.dumps(TALK).encode(), b""]))
CALLS = '<tool_call>\n{"name": "find", "arguments": {"x": 1, "s": "</tool_call>"}}\n</tool_call>'
BOX = '{"bbox_2d": [1, 2, 3.5, 1000], "label": "cat", "score": 1}'
answers = {
    "thoughts": "<think>\nhm\n\nso\n</think>\n\nHello <think>",
    "thoughts-close": "hm\n</think>\nHello",
    "thoughts-open": "<think>\nhm </thin",
    "calls": f"I'll look.\n{CALLS}\n{CALLS}\nThere.",
    "call-unclosed": CALLS[:-3],
    "call-no-json": "<tool_call>{'name': 1}</tool_call><tool_call>[]</tool_call><tool_call></tool_call>",
    "call-arguments": '<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call><tool_call>{"name": "f", "arguments": 3}</tool_call>',
    "boxes": f"```json\n[{BOX}, {BOX}]\n```",
    "boxes-truncated": f"[{BOX}, " + BOX[:12],
    "boxes-nested": f'{{"objects": [{{"inner": {BOX}}}], "n": [1]}} and {{"bbox_2d": [[4, 3, 2, 1], [-5, 1e300, 5, 5]]}}',
    "points": '[{"point_2d": [10, 20], "label": "漢字 é"}, {"point_2d": [[0, 0], [1000, 1000]], "label": null}]',
    "boxes-wrong": '{"bbox_2d": [1, 2, 3]}',
    "boxes-nan": '{"bbox_2d": [NaN, 2, 3, 4]}',
    "boxes-text": '{"bbox_2d": ["1", 2, 3, 4]}',
    "boxes-python": "[{'bbox_2d': (1, 2, 3, 4), 'label': 'it's', 'seen': None,},]",
    "boxes-one-bad": f'[{BOX}, {{"bbox_2d": [1, 2 3]}}, {{"bbox_2d": [1]}}, {BOX}]',
    "boxes-other-key": '[{"bbox": ["1", "2", "3", "4"], "label": "two\nlines \\ud83d\\ude42 \\x"}, {"point": [1, 2]}]',
    "boxes-words": '{bbox_2d: [1, 2, 3, 4], label: the "red" one}',
    "brackets": "[" * 300 + "{" * 300,
    "all": f"<think>\n{BOX}\n</think>\n\n{BOX}\n{CALLS}",
}
for name, answer in answers.items():
    write("template_message", f"answer-{name}", NEXT.join([b"", b"", answer.encode()]))
VIDEO = {"type": "video", "video": ["a.png", "b.png"], "video_metadata": {"fps": 10.0, "frames_indices": [0, 7], "total_num_frames": 8}}
ODD = {"type": "image", "image": {"url": "a.png", "detail": "low"}, "max_pixel": 9}
conversations = {
    "metadata": json.dumps({"messages": [{"role": "user", "content": [VIDEO, ODD], "mood": "x"}]}).encode(),
    "bad-metadata": json.dumps({"messages": [{"role": "user", "content": [{**VIDEO, "raw_fps": 3}]}]}).encode(),
    "no-json": b"{", "no-list": b'{"messages": 3}', "no-role": b'{"messages": [{"content": "x"}]}',
    "bad-part": b'{"messages": [{"role": "user", "content": [{"type": "audio"}]}]}',
    "bad-tools": b'{"messages": [{"role": "user", "content": "x", "tool_calls": [3]}, {"role": "assistant", "tool_calls": [3]}], "tools": [[]]}',
    "late-system": b'{"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "x"}]}',
    "bad-variables": b'{"messages": [], "variables": {"messages": 1, "namespace": 2, "enable_thinking": [0]}}',
    "deep": b'{"messages": [{"role": "user", "content": "x", "a": ' + b"[" * 100 + b"]" * 100 + b"}]}",
}
for name, messages in conversations.items():
    write("template_message", f"messages-{name}", NEXT.join([CHATML.encode(), messages, b""]))
