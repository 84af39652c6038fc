//! The template for a checkpoint that brings none.

/// ChatML as Qwen3-VL was trained on: each turn between `<|im_start|>role` and `<|im_end|>`, pictures and videos as placeholders
/// between `<|vision_start|>` and `<|vision_end|>`, numbered when `add_vision_id` is set. There is no default system prompt.
pub const CHATML_TEMPLATE: &str = r"
{%- set seen = namespace(images=0, videos=0) %}
{%- for message in messages %}
    {{- '<|im_start|>' ~ message.role ~ '\n' }}
    {%- if message.content is string %}
        {{- message.content }}
    {%- else %}
        {%- for part in message.content %}
            {%- if part.type == 'image' %}
                {%- set seen.images = seen.images + 1 %}
                {{- 'Picture ' ~ seen.images ~ ': ' if add_vision_id else '' }}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- elif part.type == 'video' %}
                {%- set seen.videos = seen.videos + 1 %}
                {{- 'Video ' ~ seen.videos ~ ': ' if add_vision_id else '' }}
                {{- '<|vision_start|><|video_pad|><|vision_end|>' }}
            {%- else %}
                {{- part.text }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\n' }}
{%- endfor %}
{{- '<|im_start|>assistant\n' if add_generation_prompt else '' }}";
