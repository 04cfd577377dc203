"""Chat templates that write the calls of tools in the ways that the known model families do."""

from __future__ import annotations

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Knows no tools."""

HERMES = (
    "{% if tools %}<|im_start|>system\nTools:{% for tool in tools %}\n{{ tool | tojson }}{% endfor %}"
    "<|im_end|>\n{% endif %}{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}{% for call in message.tool_calls %}{{ '\n<tool_call>\n' }}"
    "{{ call.function | tojson }}{{ '\n</tool_call>' }}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Tags around each call."""

TAGS = HERMES.replace("\n<tool_call>\n", "<|call|>").replace("\n</tool_call>", "<|/call|>")
"""The same with tags that are special tokens."""
TAG_TOKENS = ("<|call|>", "<|/call|>")

MISTRAL = """\
{%- for message in messages if message.role != 'tool' and not message.tool_calls -%}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) -%}
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
{%- endif -%}
{%- endfor -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}
{%- if tools and loop.last or tools and messages[loop.index0 + 1].role == 'assistant' -%}
[AVAILABLE_TOOLS] {{ tools | tojson }}[/AVAILABLE_TOOLS]
{%- endif -%}
[INST] {{ message.content }}[/INST]
{%- elif message.tool_calls -%}
[TOOL_CALLS] [
{%- for call in message.tool_calls -%}
{{ (call.function | tojson)[:-1] }}, "id": "{{ call.id }}"}
{%- if call.id | length != 9 -%}
{{ raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}
{%- endif -%}
{{ ', ' if not loop.last }}
{%- endfor -%}
]<|im_end|>
{%- elif message.role == 'assistant' -%}
{{ ' ' + message.content }}<|im_end|>
{%- elif message.role == 'tool' -%}
{%- if message.tool_call_id | length != 9 -%}
{{ raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}
{%- endif -%}
[TOOL_RESULTS] {"content": {{ message.content }}, "call_id": "{{ message.tool_call_id }}"}[/TOOL_RESULTS]
{%- endif -%}
{%- endfor -%}
"""
"""One special token before a list of calls; ids of nine characters; roles that must alternate."""
MISTRAL_TOKENS = ("[TOOL_CALLS]", "[INST]", "[/INST]")

LLAMA = """\
{%- if tools -%}<|im_start|>system
Respond with JSON {"name": ..., "parameters": ...}.
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor -%}<|im_end|>
{% endif -%}
{%- for message in messages -%}
{%- if message.tool_calls -%}
{%- if message.tool_calls | length != 1 -%}
{{ raise_exception('This model only supports single tool-calls at once!') }}
{%- endif -%}
<|im_start|>assistant
{% set called = message.tool_calls[0].function -%}
{"name": "{{ called.name }}", "parameters": {{ called.arguments | tojson }}}<|im_end|>
{% else -%}
<|im_start|>{{ 'ipython' if message.role == 'tool' else message.role }}
{{ message.content }}<|im_end|>
{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
"""
"""Bare JSON, one call at a time, the arguments under another name."""

QUOTED = HERMES.replace(
    "{{ call.function | tojson }}",
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson | tojson }}}',
)
"""The arguments as a JSON string inside the JSON."""

ELEMENTS = HERMES.replace(
    "{{ call.function | tojson }}",
    "<function={{ call.function.name }}>{% for name, value in call.function.arguments.items() %}"
    "<parameter={{ name }}>{{ value }}</parameter>{% endfor %}</function>",
)
"""Calls that are no JSON."""

NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + CHATML
)
"""Takes no message of the system, and knows no tools."""
