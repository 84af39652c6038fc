//! The template for a checkpoint that brings none.

/// ChatML as Qwen3-VL was trained on: each turn between `<|im_start|>role` and `<|im_end|>`, pictures and videos as
/// placeholders between `<|vision_start|>` and `<|vision_end|>`, numbered when `add_vision_id` is set; tools described
/// in the system turn, calls in `<tool_call>`, what consecutive tools gave back in one turn of the user. There is no
/// default system prompt.
///
/// Prompts equal those of the released Instruct template byte for byte, and with the variable `enable_thinking` those
/// of the released Thinking template: thoughts are left out of all turns before the user's last question, and the
/// prompt ends with an open `<think>`. What the Instruct template would drop without a word (a later system turn, an
/// unknown role) is refused instead.
pub const CHATML_TEMPLATE: &str = r#"
{%- set thinking = enable_thinking is defined and enable_thinking %}
{%- set seen = namespace(images=0, videos=0, question=messages|length - 1) %}
{%- macro show(content, media) %}
    {%- if content is string %}
        {{- content }}
    {%- else %}
        {%- for part in content %}
            {%- if part.type == 'text' %}
                {{- part.text }}
            {%- elif media and part.type == 'image' %}
                {%- set seen.images = seen.images + 1 %}
                {{- 'Picture ' ~ seen.images ~ ': ' if add_vision_id else '' }}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- elif media and part.type == 'video' %}
                {%- set seen.videos = seen.videos + 1 %}
                {{- 'Video ' ~ seen.videos ~ ': ' if add_vision_id else '' }}
                {{- '<|vision_start|><|video_pad|><|vision_end|>' }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
{%- endmacro %}

{#- The user's last question, which is no tool's response in disguise. #}
{%- if thinking %}
    {%- for message in messages %}
        {%- set text = show(message.content, true) if message.role == 'user' else '<tool_response></tool_response>' %}
        {%- if not (text.startswith('<tool_response>') and text.endswith('</tool_response>')) %}
            {%- set seen.question = loop.index0 %}
        {%- endif %}
    {%- endfor %}
    {%- set seen.images = 0 %}
    {%- set seen.videos = 0 %}
{%- endif %}

{%- set has_system = messages and messages[0].role == 'system' %}
{%- if tools or has_system %}
    {{- '<|im_start|>system\n' }}
    {{- show(messages[0].content, thinking) if has_system else '' }}
    {{- '\n\n' if tools and has_system else '' }}
    {%- if tools %}
        {{- '# Tools\n\nYou may call one or more functions to assist with the user query.\n\n' }}
        {{- 'You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n' }}
        {%- for tool in tools %}
            {{- tool | tojson ~ '\n' }}
        {%- endfor %}
        {{- '</tools>\n\nFor each function call, return a json object with function name and arguments within ' }}
        {{- '<tool_call></tool_call> XML tags:\n<tool_call>\n' }}
        {{- '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>' }}
    {%- endif %}
    {{- '<|im_end|>\n' }}
{%- endif %}

{%- for message in messages %}
    {%- if message.role == 'user' or (thinking and message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' ~ message.role ~ '\n' ~ show(message.content, true) ~ '<|im_end|>\n' }}
    {%- elif message.role == 'assistant' %}
        {%- set answer = namespace(thoughts='', content=show(message.content, thinking)) %}
        {%- if thinking and message.reasoning_content is string %}
            {%- set answer.thoughts = message.reasoning_content %}
        {%- elif thinking and '</think>' in answer.content %}
            {%- set blocks = answer.content.split('</think>') %}
            {%- set answer.thoughts = blocks[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set answer.content = blocks[-1].lstrip('\n') %}
        {%- endif %}
        {{- '<|im_start|>assistant\n' }}
        {%- if thinking and loop.index0 > seen.question and (loop.last or answer.thoughts) %}
            {{- '<think>\n' ~ answer.thoughts.strip('\n') ~ '\n</think>\n\n' ~ answer.content.lstrip('\n') }}
        {%- else %}
            {{- answer.content }}
        {%- endif %}
        {%- for call in message.tool_calls or [] %}
            {%- set function = call.function or call %}
            {{- '\n' if not loop.first or (answer.content if thinking else message.content) else '' }}
            {{- '<tool_call>\n{"name": "' ~ function.name ~ '", "arguments": ' }}
            {{- function.arguments if function.arguments is string else function.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == 'tool' %}
        {{- '<|im_start|>user' if loop.first or loop.previtem.role != 'tool' else '' }}
        {{- '\n<tool_response>\n' ~ show(message.content, true) ~ '\n</tool_response>' }}
        {{- '<|im_end|>\n' if loop.last or loop.nextitem.role != 'tool' else '' }}
    {%- elif message.role == 'system' and not loop.first %}
        {{- raise_exception('the system turn comes first, not as turn ' ~ loop.index) }}
    {%- elif message.role != 'system' %}
        {{- raise_exception('turn ' ~ loop.index ~ ' is of the unknown role ' ~ message.role) }}
    {%- endif %}
{%- endfor %}
{{- '<|im_start|>assistant\n' if add_generation_prompt else '' }}
{{- '<think>\n' if add_generation_prompt and thinking else '' }}"#;
