"""Chat templates: conversations formatted as text by a Jinja template, as transformers' tokenizers do. Internal.

CLIP's own checkpoints have no template. The template comes from the caller, or from a file beside the vocabulary.
"""

from __future__ import annotations

import copy
import re
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from clip_core.hub import find_file, list_files
from clip_core.hub.files import LARGEST_JSON, read_bytes
from clip_core.hub.pointers import check_not_lfs_pointer
from clip_core.hub.printing import shortened
from clip_core.hub.targets import expanded, given_path

if TYPE_CHECKING:
    import os

    from clip_core.hub import HubOptions
    from clip_core.processing.batch import TensorType

CHAT_FILE = "chat_template.jinja"
CHAT_FOLDER = "additional_chat_templates"

# Markers around the assistant's text in a rendered template: noncharacters, which no text contains.
_START, _END = "\ufdd0", "\ufdd1"
_CONTINUES = "\ufdd2 "  # marks the end of a message; the space reveals a template that trims it


def apply_chat_template(
    tokenizer: Any,
    conversation: Any,
    tools: list[dict[str, Any]] | None = None,
    documents: list[dict[str, str]] | None = None,
    chat_template: str | None = None,
    add_generation_prompt: bool = False,
    continue_final_message: bool = False,
    tokenize: bool = True,
    padding: Any = False,
    truncation: Any = False,
    max_length: int | None = None,
    return_tensors: TensorType | None = None,
    return_dict: bool = False,
    return_assistant_tokens_mask: bool = False,
    tokenizer_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """Return a conversation, or each of a batch, formatted by a chat template, as ids or as text.

    Args:
        conversation: a list of messages, each a dict with "role" and "content", or a list of such lists.
        tools: JSON schemas of tools, passed to the template.
        documents: dicts with "title" and "text", passed to the template.
        chat_template: a Jinja template, or the name of one of the tokenizer's; by default its `chat_template`.
        add_generation_prompt: let the template start the assistant's next message.
        continue_final_message: stop after the last message, without the text that the template adds to end it.
        tokenize: return ids; False returns text.
        padding: as in a call of the tokenizer, like the next three arguments.
        truncation: truncate the ids.
        max_length: the length to truncate and pad to.
        return_tensors: the framework of the arrays.
        return_dict: return all columns instead of only the ids.
        return_assistant_tokens_mask: add `assistant_masks`, 1 for the tokens inside `{% generation %}` blocks; needs
            CLIPTokenizerFast and `return_dict`.
        tokenizer_kwargs: other keywords for the tokenizer.
        **kwargs: other variables of the template.

    Raises:
        ImportError: jinja2 is not installed.
        ValueError: there is no template, options exclude each other, or the template drops the message to continue.
    """
    if return_assistant_tokens_mask and not return_dict:
        raise ValueError("return_assistant_tokens_mask=True needs return_dict=True")
    if continue_final_message and (add_generation_prompt or return_assistant_tokens_mask):
        raise ValueError("continue_final_message excludes add_generation_prompt and return_assistant_tokens_mask")
    template = _compiled(tokenizer.get_chat_template(chat_template, tools))
    variables = {"tools": tools, "documents": documents, "add_generation_prompt": add_generation_prompt}
    variables |= {**tokenizer.special_tokens_map, **kwargs}
    is_batch = isinstance(conversation[0], (list, tuple))
    write = _continued if continue_final_message else _written
    chats = conversation if is_batch else [conversation]
    read = [_without_markers(write(template, chat, variables)) for chat in chats]
    texts = [text for text, _ in read]
    if not tokenize:
        return texts if is_batch else texts[0]
    options = {"padding": padding, "truncation": truncation, "max_length": max_length, "add_special_tokens": False}
    batch = tokenizer(texts, **options, **(tokenizer_kwargs or {}))
    if return_assistant_tokens_mask:
        batch["assistant_masks"] = [_mask(batch, row, spans) for row, (_, spans) in enumerate(read)]
    if not is_batch and return_tensors is None:
        batch.data = {name: column[0] for name, column in batch.items()}
    batch.convert_to_tensors(return_tensors)
    return batch if return_dict else batch["input_ids"]


def get_chat_template(tokenizer: Any, chat_template: str | None = None, tools: Any = None) -> str:
    """Return the Jinja template that `apply_chat_template` uses for these arguments.

    Args:
        chat_template: as in `apply_chat_template`.
        tools: with tools, the tokenizer's template named "tool_use" takes precedence over its default.

    Raises:
        ValueError: there is no template.
    """
    own, wanted = tokenizer.chat_template, "default" if tools is None else "tool_use"
    templates = own if isinstance(own, dict) else {"default": own}
    if chat_template is None:
        template = templates.get(wanted, templates.get("default"))
    else:
        template = templates.get(chat_template, chat_template)
    if template is None:
        names = f"; the tokenizer has {sorted(own)}" if isinstance(own, dict) else ", and the tokenizer has none"
        raise ValueError(f"no chat_template is given{names}; pass chat_template=..., or set tokenizer.chat_template")
    return str(template)


def read_chat_templates(source: str | os.PathLike[str], options: HubOptions, setting: Any) -> Any:
    """Return the chat template of a tokenizer, or a dict of templates by name; None if there is none.

    Args:
        source: the folder, file or hub id.
        options: the hub options.
        setting: the template, or the list of templates, in tokenizer_config.json. Files take precedence over it.
    """
    names = {"default": CHAT_FILE} | {PurePosixPath(one).stem: one for one in named_template_files(source, options)}
    paths = {name: find_file(source, file, exact=True, **options) for name, file in names.items()}
    for path in filter(None, paths.values()):
        check_not_lfs_pointer(path)
    templates = {name: read_bytes(path, LARGEST_JSON).decode() for name, path in paths.items() if path}
    if not templates:
        return _checked_setting(setting)
    return templates["default"] if templates.keys() == {"default"} else templates


def named_template_files(source: str | os.PathLike[str], options: HubOptions) -> list[str]:
    """Return the sorted names of the files of named chat templates; none if the hub cannot be reached.

    Args:
        source: the folder, file or hub id.
        options: the hub options.
    """
    path = expanded(given_path(source))
    if path.exists():  # other folders in it may be large, so they are not listed
        folder = (path.parent if path.is_file() else path) / (options.get("subfolder") or "")
        return sorted(f"{CHAT_FOLDER}/{file.name}" for file in (folder / CHAT_FOLDER).glob("*.jinja"))
    try:
        names = list_files(source, **options)
    except OSError:  # the hub does not answer, and there is no cached copy
        return []
    return [name for name in names if re.fullmatch(rf"{CHAT_FOLDER}/[^/]+\.jinja", name)]


def _checked_setting(setting: Any) -> Any:
    """Return a template, or a dict of templates by name, from the setting in tokenizer_config.json."""
    named = setting
    if isinstance(setting, list):
        pairs = [one if isinstance(one, dict) else {} for one in setting]
        named = {one.get("name"): one.get("template") for one in pairs if isinstance(one.get("name"), str)}
    texts = list(named.values()) if isinstance(named, dict) else [] if named is None else [named]
    is_complete = not isinstance(setting, list) or len(named) == len(setting)
    if not is_complete or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"chat_template={shortened(repr(setting))} is invalid; it must be a text, or texts by name")
    return named


def template_contents(templates: Any) -> dict[str, str]:
    """Return the content of each chat template file of a tokenizer, by file name."""
    named = templates if isinstance(templates, dict) else {"default": templates} if templates else {}
    return {CHAT_FILE if name == "default" else f"{CHAT_FOLDER}/{name}.jinja": named[name] for name in named}


def template_setting(templates: Any) -> dict[str, Any]:
    """Return the templates as a setting of tokenizer_config.json, where transformers stores a dict as a list."""
    if isinstance(templates, dict):
        templates = [{"name": name, "template": template} for name, template in templates.items()]
    return {"chat_template": templates} if templates else {}


@cache
def _compiled(template: str) -> Any:
    try:
        import jinja2
        from jinja2.ext import Extension, loopcontrols
        from jinja2.nodes import Output, TemplateData
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise ImportError("chat templates need jinja2; pip install jinja2") from error
    import json
    from datetime import datetime

    class Generation(Extension):
        """The block `{% generation %} ... {% endgeneration %}`, which contains the assistant's text."""

        tags = {"generation"}  # noqa: RUF012  as jinja2 declares it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            start, end = (Output([TemplateData(sign)]).set_lineno(line) for sign in (_START, _END))
            return [start, *body, end]

    def raise_exception(message: str) -> None:
        raise jinja2.exceptions.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    # jinja2's own filter escapes HTML.
    environment.filters["tojson"] = lambda value, ensure_ascii=False, **options: json.dumps(
        value, ensure_ascii=ensure_ascii, **options
    )
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().astimezone().strftime(form)
    return environment.from_string(template)


def _written(template: Any, chat: Any, variables: dict[str, Any]) -> str:
    text: str = template.render(messages=chat, **variables)
    return text


def _continued(template: Any, chat: Any, variables: dict[str, Any]) -> str:
    """Render a chat up to the end of its last message."""
    chat = copy.deepcopy(chat)
    blocks = [chat[-1]] if isinstance(chat[-1]["content"], str) else chat[-1]["content"]
    key = "content" if isinstance(chat[-1]["content"], str) else "text"
    last = next((block for block in reversed(blocks) if key in block), None)
    if last is None:
        raise ValueError("continue_final_message=True, but the last message contains no text")
    message, last[key] = last[key], last[key] + _CONTINUES
    text = _written(template, chat, variables)
    end = text.rfind(_CONTINUES.strip())
    if end < 0 or message.strip() not in text:
        raise ValueError("continue_final_message=True, but the template drops or changes the last message")
    return text[:end] if text[end:].startswith(_CONTINUES) else text[:end].rstrip()


def _without_markers(text: str) -> tuple[str, list[tuple[int, int]]]:
    """Return a rendered text without its markers, and the (start, end) of each span of the assistant's text."""
    pieces, spans, end = re.split(f"[{_START}{_END}]", text), [], 0
    for place, piece in enumerate(pieces):
        start, end = end, end + len(piece)
        if place % 2 and piece:
            spans.append((start, end))
    return "".join(pieces), spans


def _mask(batch: Any, row: int, spans: list[tuple[int, int]]) -> list[int]:
    mask = [0] * len(batch["input_ids"][row])
    for start, end in spans:
        first, last = batch.char_to_token(row, start), batch.char_to_token(row, end - 1)
        if first is None:  # the row is truncated before this span
            break
        stop = len(mask) if last is None else last + 1
        mask[first:stop] = [1] * (stop - first)
    return mask
