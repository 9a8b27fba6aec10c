"""The chat template: `core.posttraining.rendering` once more, in the language of tokenizer files.

It gives the same ids and, through `{% generation %}`, the same mask. An assistant's own parts are gathered in one
string until something that is not its own (the output of Python) or its end: adjacent texts are thus tokenised as one,
and a block ends in a single special token, because a block whose last character has several tokens loses all but the
first of them in transformers' mask. (A text directly before an output still would; nothing here writes such a message.)

Two differences lie in the format: text that spells a special token becomes that token, and a user's message may also be
a list of text parts, which some servers make of every message.
"""

from __future__ import annotations

CHAT_TEMPLATE = """\
{%- macro plain(content) -%}
{%- if content is string -%}
{{- content -}}
{%- else -%}
{%- for part in content -%}
{%- if part.type != 'text' -%}
{{- raise_exception('only an assistant message may have parts that are not text, not ' ~ part.type) -}}
{%- endif -%}
{{- part.text -}}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- set system = namespace(text='') -%}
{%- set turns = messages -%}
{%- if messages and messages[0].role == 'system' -%}
{%- if messages | length < 2 or messages[1].role != 'user' -%}
{{- raise_exception('a system message must be followed by a user message, into which it is merged') -}}
{%- endif -%}
{%- set system.text = plain(messages[0].content) ~ '\\n\\n' -%}
{%- set turns = messages[1:] -%}
{%- endif -%}
{{- bos_token -}}
{%- for message in turns -%}
{%- if message.role != ('user' if loop.index0 is even else 'assistant') -%}
{{- raise_exception('roles alternate, user first; message ' ~ loop.index0 ~ ' has role ' ~ message.role) -}}
{%- endif -%}
{%- if message.role == 'user' -%}
{{- '<|user_start|>' ~ (system.text if loop.first else '') ~ plain(message.content) ~ '<|user_end|>' -}}
{%- else -%}
{{- '<|assistant_start|>' -}}
{%- set own = namespace(text='') -%}
{%- set parts = [{'type': 'text', 'text': message.content}] if message.content is string else message.content -%}
{%- for part in parts -%}
{%- if part.type == 'text' -%}
{%- set own.text = own.text ~ part.text -%}
{%- elif part.type == 'python' -%}
{%- set own.text = own.text ~ '<|python_start|>' ~ part.text ~ '<|python_end|>' -%}
{%- elif part.type == 'python_output' -%}
{%- if own.text -%}
{%- generation -%}{{- own.text -}}{%- endgeneration -%}
{%- set own.text = '' -%}
{%- endif -%}
{{- '<|output_start|>' ~ part.text ~ '<|output_end|>' -}}
{%- else -%}
{{- raise_exception('a part is text, python or python_output, not ' ~ part.type) -}}
{%- endif -%}
{%- endfor -%}
{%- generation -%}{{- own.text ~ '<|assistant_end|>' -}}{%- endgeneration -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|assistant_start|>' -}}
{%- endif -%}
"""
