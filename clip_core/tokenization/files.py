"""Reading and writing a tokenizer's files, those of transformers, as methods of `CLIPTokenizerBase`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from clip_core.configuration.arguments import check_keys
from clip_core.hub import find_file, require_file
from clip_core.hub.files import json_text, read_json_object, write_texts
from clip_core.hub.options import refuse_loader_keywords
from clip_core.hub.printing import printable
from clip_core.hub.pushable import upload_saved
from clip_core.hub.targets import expanded, given_path
from clip_core.processing.chat import CHAT_FILE, CHAT_FOLDER, read_chat_templates, template_contents, template_setting
from clip_core.tokenization.specials import ADDITIONAL, FIELDS, NAMES, as_added_token, as_dict, check_types
from clip_core.tokenization.vocabulary import MERGES_FILE, OPENAI_FILES, TOKENIZER_FILE, VOCAB_FILE, vocabulary_contents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from clip_core.hub import HubOptions
    from clip_core.tokenization.vocabulary import StrPath

    Find = Callable[[str], Path | None]

CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"
ALL_FILES: tuple[str, ...] = (CONFIG_FILE, SPECIAL_TOKENS_FILE, ADDED_TOKENS_FILE, VOCAB_FILE, MERGES_FILE)
ALL_FILES += (TOKENIZER_FILE, CHAT_FILE, f"{CHAT_FOLDER}/")

# Entries of a tokenizer_config.json that describe its file or program, not the tokenizer.
_NOT_ARGUMENTS = {"auto_map", "name_or_path", "slow_tokenizer_class", "tokenizer_class", "use_fast", "merges_file"}
_NOT_ARGUMENTS |= {"special_tokens_map_file", "tokenizer_file", "tokenizer_object", "vocab_file"}
_NOT_WRITTEN = {*_NOT_ARGUMENTS, "chat_template"}  # stored in a file of its own

_EXTRA, _NAMED_BY_5 = "extra_special_tokens", "model_specific_special_tokens"
# Settings that are written only if they differ from their default.
_DEFAULTS: dict[str, Any] = {"split_special_tokens": False, "clean": "hf", _EXTRA: {}}
OF_THE_CLASS = ("padding_side", "truncation_side", "model_input_names")  # their default is the class's attribute


def read(cls: type[Any], source: StrPath, options: HubOptions, keywords: dict[str, Any]) -> Any:
    """Load a tokenizer; see `from_pretrained` in `clip_core.hub.readable`.

    tokenizer.json takes precedence over vocab.json and merges.txt, and these over OpenAI's bpe_simple_vocab_16e6.txt,
    in both classes.
    """
    if "gguf_file" in keywords:
        refuse_loader_keywords(keywords, cls.__name__)
    keywords.pop("use_fast", None)  # selects the class in transformers' AutoTokenizer

    find = partial(find_file, source, exact=True, **options)
    files = _vocabulary_files(source, find, from_slow=keywords.pop("from_slow", False))
    files = files or {"vocab_file": require_file(source, [TOKENIZER_FILE, VOCAB_FILE, *OPENAI_FILES], **options)}
    try:
        saved = _saved_arguments(find, keywords)
        check_keys(cls, saved)
        saved["chat_template"] = read_chat_templates(source, options, saved.get("chat_template"))
        return cls(**{**files, **saved, **keywords}, name_or_path=str(source))
    except (TypeError, ValueError, LookupError, OverflowError, AttributeError) as error:  # from an invalid argument
        kind = AttributeError if isinstance(error, AttributeError) else ValueError  # as in transformers
        raise kind(f"{source}: {printable(error)}") from error


def save_pretrained(
    tokenizer: Any,
    save_directory: StrPath,
    legacy_format: bool | None = None,
    filename_prefix: str | None = None,
    push_to_hub: bool = False,
    save_jinja_files: bool = True,
    **kwargs: Any,
) -> tuple[str, ...]:
    """Write all files into a folder, atomically, in a form that transformers 4.57 also reads.

    Files of an earlier tokenizer in the folder are deleted unless they are overwritten.

    Args:
        save_directory: the folder, created if missing.
        legacy_format: for the fast tokenizer, write only vocab.json and merges.txt (True), only tokenizer.json (False),
            or both (None). CLIPTokenizer writes no tokenizer.json.
        filename_prefix: put "<prefix>-" before the names.
        push_to_hub: then upload the folder to `repo_id`, by default the folder's name.
        save_jinja_files: write chat templates into files of their own; False writes them into tokenizer_config.json.
        **kwargs: `repo_id` and the keywords of `clip_core.hub.upload_folder`.

    Returns:
        The paths of the files.

    Raises:
        ValueError: `legacy_format` requests a tokenizer.json from CLIPTokenizer.
    """
    if legacy_format is False and not tokenizer.is_fast:
        raise ValueError("legacy_format=False: CLIPTokenizer writes no tokenizer.json; use CLIPTokenizerFast")
    table = tokenizer.table
    templates, as_json = tokenizer.chat_template, partial(json_text, ascii_only=False)
    config = _config(tokenizer) | ({} if save_jinja_files else template_setting(templates))
    # Older readers pass a token's dict unchanged to a class without the field `special`.
    as_dicts = {token.content: as_dict(token, FIELDS[:-1]) for token in table.added.values()}
    special = table.special_tokens_map(lambda token: as_dicts.get(token, token))
    contents = {CONFIG_FILE: as_json(config), SPECIAL_TOKENS_FILE: as_json(special)}
    contents |= template_contents(templates) if save_jinja_files else {}
    if legacy_format is not False:
        added = {token: key for token, key in tokenizer.added_tokens_encoder.items() if token not in table.vocab}
        contents |= {ADDED_TOKENS_FILE: as_json(added)} if added else {}
        contents |= vocabulary_contents(table.vocab, table.merges)
    if legacy_format is not True and tokenizer.is_fast:
        contents[TOKENIZER_FILE] = tokenizer.backend_tokenizer.to_str(pretty=True)
    # A file of an earlier save that is not overwritten would describe another tokenizer.
    paths = write_texts(save_directory, contents, ALL_FILES, f"{filename_prefix}-" if filename_prefix else "")
    if push_to_hub:
        upload_saved(save_directory, **kwargs)
    return paths


def save_vocabulary(tokenizer: Any, save_directory: StrPath, filename_prefix: str | None = None) -> tuple[str, ...]:
    """Write only vocab.json and merges.txt. Takes the arguments of `save_pretrained` and returns the same."""
    contents = vocabulary_contents(tokenizer.table.vocab, tokenizer.table.merges)
    return write_texts(save_directory, contents, contents, f"{filename_prefix}-" if filename_prefix else "")


def _config(tokenizer: Any) -> dict[str, Any]:
    arguments = {name: value for name, value in tokenizer.init_kwargs.items() if name not in _NOT_WRITTEN}
    config = {name: getattr(tokenizer, name, value) for name, value in arguments.items()}
    own = type(tokenizer)
    defaults = _DEFAULTS | {name: getattr(own, name) for name in OF_THE_CLASS}
    config = {name: value for name, value in config.items() if name not in defaults or value != defaults[name]}
    config |= tokenizer.special_tokens_map
    added = tokenizer.added_tokens_decoder.items()
    config |= {"added_tokens_decoder": {str(key): as_dict(token) for key, token in added}}
    if tokenizer._processor_class is not None:  # noqa: SLF001  set by `CLIPProcessor`
        config["processor_class"] = tokenizer._processor_class  # noqa: SLF001
    return {**config, "tokenizer_class": own.__name__.removesuffix("Fast")}


def _vocabulary_files(source: StrPath, find: Find, *, from_slow: bool) -> dict[str, Path]:
    """Return the arguments that name the vocabulary's files; empty if there is at most OpenAI's own file."""
    path = expanded(given_path(source))
    if path.is_file() and path.suffix in {".gz", ".txt"} and path.name != MERGES_FILE:
        return {"vocab_file": path}
    names_it = path.is_file() and path.name.endswith(TOKENIZER_FILE)
    if tokenizer_file := path if names_it else None if from_slow else find(TOKENIZER_FILE):
        return {"tokenizer_file": tokenizer_file}
    vocab_file, merges_file = find(VOCAB_FILE), find(MERGES_FILE)
    if vocab_file and not merges_file:
        raise FileNotFoundError(f"{source} contains {VOCAB_FILE} but no {MERGES_FILE}")
    return {"vocab_file": vocab_file, "merges_file": merges_file} if vocab_file and merges_file else {}


def _saved_arguments(find: Find, given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments stored beside the vocabulary. Arguments `given` by the caller take precedence."""

    def read_object(name: str) -> dict[str, Any]:
        path = find(name)
        content = {} if path is None else read_json_object(path)
        if isinstance(content.get(_EXTRA), list):  # transformers 5's key for tokens without a name
            content[ADDITIONAL] = content.pop(_EXTRA)
        content |= {_EXTRA: content.pop(_NAMED_BY_5)} if _NAMED_BY_5 in content else {}
        try:
            check_types(content)
        except TypeError as error:
            raise ValueError(f"{path}: {error}") from error
        return content

    arguments = {key: value for key, value in read_object(CONFIG_FILE).items() if key not in _NOT_ARGUMENTS}
    if "added_tokens_decoder" not in arguments:
        # Files from before transformers 4.34 list special and added tokens in two other files.
        special = read_object(SPECIAL_TOKENS_FILE)
        arguments |= {name: value for name, value in special.items() if not given.get(name)}
        named = {**arguments, **given}
        tokens = [*(named.get(name) for name in NAMES), *(named.get(ADDITIONAL) or ())]
        names = {token["content"] if isinstance(token, dict) else str(token) for token in tokens if token is not None}
        added = read_object(ADDED_TOKENS_FILE).items()
        arguments["added_tokens_decoder"] = {key: as_added_token(one, special=one in names) for one, key in added}
    return arguments
