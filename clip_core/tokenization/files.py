"""How a tokenizer is read and written, in the files that transformers keeps one in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_core.hub import find_file, require_file, split_hub_options
from clip_core.hub.files import read_json, staged
from clip_core.hub.pushable import Pushable, upload_saved
from clip_core.tokenization.added import as_added_token
from clip_core.tokenization.specials import ADDITIONAL, NAMES, SpecialTokens
from clip_core.tokenization.vocabulary import (
    MERGES_FILE,
    OPENAI_FILES,
    TOKENIZER_FILE,
    VOCAB_FILE,
    merges_text,
    vocab_text,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from typing import Unpack

    from clip_core.hub import HubOptions
    from clip_core.tokenization.lengths import Side
    from clip_core.tokenization.text import Clean

    StrPath = str | os.PathLike[str]

CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"

_ALL_FILES = (CONFIG_FILE, SPECIAL_TOKENS_FILE, ADDED_TOKENS_FILE, VOCAB_FILE, MERGES_FILE, TOKENIZER_FILE)

# What a tokenizer_config.json says about the file and its program, and nothing about the tokenizer.
_NOT_ARGUMENTS = {
    "auto_map",
    "name_or_path",
    "slow_tokenizer_class",
    "special_tokens_map_file",
    "tokenizer_class",
    "tokenizer_file",
    "use_fast",
    "vocab_file",
    "merges_file",
}


class PretrainedTokenizer(SpecialTokens, Pushable):
    """The methods that read and write files."""

    errors: str
    clean: Clean
    model_max_length: int
    padding_side: Side
    truncation_side: Side
    clean_up_tokenization_spaces: bool
    split_special_tokens: bool
    model_input_names: list[str]
    init_kwargs: dict[str, Any]
    _processor_class: str | None

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: StrPath,
        cache_dir: StrPath | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str = "main",
        **kwargs: Any,
    ) -> Any:
        """Read a tokenizer.

        A tokenizer.json counts before vocab.json and merges.txt, and these before OpenAI's bpe_simple_vocab_16e6.txt,
        so that both classes read the same.

        Args:
            pretrained_model_name_or_path: a local folder, one of the files, or a hub id.
            cache_dir: see `clip_core.hub.HubOptions`, as for all that follow.
            force_download: download again what is in the cache.
            local_files_only: do not ask the hub.
            token: for private repositories.
            revision: a branch, a tag or a commit.
            **kwargs: `subfolder`; `from_slow=True` to leave tokenizer.json aside; and arguments of the class, which
                count before what the files say.

        Raises:
            FileNotFoundError: there is no such folder or repository, or it holds no vocabulary.
            ValueError: a file is damaged, or is not that of a CLIP tokenizer.
        """
        kwargs |= {"cache_dir": cache_dir, "force_download": force_download, "local_files_only": local_files_only}
        kwargs |= {"token": token if token is not None else kwargs.pop("use_auth_token", None), "revision": revision}
        options = split_hub_options(kwargs)
        from_slow = kwargs.pop("from_slow", False)
        kwargs.pop("use_fast", None)  # transformers' AutoTokenizer chooses a class by it; this is one
        source = pretrained_model_name_or_path
        files = _vocabulary_files(source, from_slow=from_slow, **options)
        arguments = {**files, **_saved_arguments(source, files.get("tokenizer_file"), kwargs, **options), **kwargs}
        tokenizer_class: Any = cls
        try:
            return tokenizer_class(**arguments, name_or_path=str(source))
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error

    def save_pretrained(
        self,
        save_directory: StrPath,
        legacy_format: bool | None = None,
        filename_prefix: str | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> tuple[str, ...]:
        """Write all files into a folder, atomically; transformers 4.57 reads them too.

        Files of a tokenizer that was there before, and that this one does not write, are removed.

        Args:
            save_directory: the folder; made where it is missing.
            legacy_format: of the fast tokenizer, write vocab.json and merges.txt alone (True), tokenizer.json alone
                (False), or both (None). CLIPTokenizer writes no tokenizer.json.
            filename_prefix: put "<prefix>-" before the names.
            push_to_hub: upload the folder after that, to `repo_id` or the folder's name.
            **kwargs: `repo_id` and the keywords of `clip_core.hub.upload_folder`.

        Returns:
            The paths of the files.
        """
        contents = {CONFIG_FILE: _json(self._config()), SPECIAL_TOKENS_FILE: _json(self._special_tokens_file())}
        tokenizer_json = self._tokenizer_json()
        if legacy_format is False and tokenizer_json is None:
            raise ValueError(
                "legacy_format=False writes a tokenizer.json alone; CLIPTokenizer writes none, use CLIPTokenizerFast"
            )
        if legacy_format is not False:
            contents |= self._vocabulary_contents()
            added = {token: key for token, key in self.added_tokens_encoder.items() if token not in self._vocab}
            contents |= {ADDED_TOKENS_FILE: _json(added)} if added else {}
        if legacy_format is not True and tokenizer_json is not None:
            contents[TOKENIZER_FILE] = tokenizer_json
        # A file of an earlier save that is not written now would speak of another tokenizer.
        paths = _write(contents, save_directory, filename_prefix, replaces=_ALL_FILES)
        if push_to_hub:
            upload_saved(save_directory, **kwargs)
        return paths

    def save_vocabulary(self, save_directory: StrPath, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write vocab.json and merges.txt, without the added tokens, into a folder; returns their paths."""
        return _write(self._vocabulary_contents(), save_directory, filename_prefix)

    def _tokenizer_json(self) -> str | None:
        """The content of a tokenizer.json, where the class writes one."""
        return None

    def _vocabulary_contents(self) -> dict[str, str]:
        return {VOCAB_FILE: vocab_text(self._vocab), MERGES_FILE: merges_text(self._merges)}

    def _special_tokens_file(self) -> dict[str, Any]:
        def entry(token: Any) -> Any:
            # Older readers take a dict for a special token as it is, and know no such field.
            return token if isinstance(token, str) else {k: v for k, v in token.to_dict().items() if k != "special"}

        tokens = self.special_tokens_map_extended.items()
        return {name: [*map(entry, value)] if isinstance(value, list) else entry(value) for name, value in tokens}

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            **self.init_kwargs,
            **self.special_tokens_map,
            "added_tokens_decoder": {str(key): token.to_dict() for key, token in self.added_tokens_decoder.items()},
            "clean_up_tokenization_spaces": self.clean_up_tokenization_spaces,
            "errors": self.errors,
            "model_max_length": self.model_max_length,
            "tokenizer_class": "CLIPTokenizer",
        }
        unless_default = {
            "clean": (self.clean, "hf"),
            "model_input_names": (self.model_input_names, ["input_ids", "attention_mask"]),
            "padding_side": (self.padding_side, "right"),
            "processor_class": (self._processor_class, None),
            "split_special_tokens": (self.split_special_tokens, False),
            "truncation_side": (self.truncation_side, "right"),
        }
        return config | {name: value for name, (value, default) in unless_default.items() if value != default}


def _vocabulary_files(source: StrPath, *, from_slow: bool, **options: Unpack[HubOptions]) -> dict[str, Path]:
    """The files of the vocabulary, by the argument that takes them."""
    path = Path(source).expanduser()
    if path.is_file() and path.suffix in {".gz", ".txt"} and path.name != MERGES_FILE:
        return {"vocab_file": path}
    if path.is_file() and path.suffix == ".json" and path.name.endswith(TOKENIZER_FILE):
        return {"tokenizer_file": path}
    tokenizer_file = None if from_slow else _find(source, TOKENIZER_FILE, **options)
    if tokenizer_file is not None:
        return {"tokenizer_file": tokenizer_file}
    vocab_file = _find(source, VOCAB_FILE, **options)
    if vocab_file is not None:
        merges_file = _find(source, MERGES_FILE, **options)
        if merges_file is None:
            raise FileNotFoundError(f"{source} holds {VOCAB_FILE}, but no {MERGES_FILE} to go with it")
        return {"vocab_file": vocab_file, "merges_file": merges_file}
    return {"vocab_file": require_file(source, [TOKENIZER_FILE, VOCAB_FILE, *OPENAI_FILES], **options)}


def _saved_arguments(
    source: StrPath, tokenizer_file: Path | None, given: dict[str, Any], **options: Unpack[HubOptions]
) -> dict[str, Any]:
    """The arguments that the files beside the vocabulary hold; `given` is what the caller says instead."""
    config = _read_object(source, CONFIG_FILE, **options)
    arguments = {key: value for key, value in config.items() if key not in _NOT_ARGUMENTS}
    if "added_tokens_decoder" not in arguments:
        # Files from before transformers 4.34, where the other two say what is special and what is added.
        special = _read_object(source, SPECIAL_TOKENS_FILE, **options)
        arguments |= {name: value for name, value in special.items() if not given.get(name)}
        arguments["added_tokens_decoder"] = _old_added_tokens(source, {**arguments, **given}, **options)
    known = {token.content: token for token in map(as_added_token, arguments["added_tokens_decoder"].values())}
    if tokenizer_file is not None:
        listed = read_json(tokenizer_file).get("added_tokens") or ()
        known = {token.content: token for token in map(as_added_token, listed)} | known
    for name in NAMES:
        value = arguments.get(name)
        if value is not None:
            arguments[name] = known.get(str(value), value) if isinstance(value, str) else _special(value)
    if arguments.get(ADDITIONAL):
        arguments[ADDITIONAL] = [v if isinstance(v, str) else _special(v) for v in arguments[ADDITIONAL]]
    return arguments


def _old_added_tokens(source: StrPath, named: dict[str, Any], **options: Unpack[HubOptions]) -> dict[int, Any]:
    values = [*(named.get(name) for name in NAMES), *(named.get(ADDITIONAL) or ())]
    special = {value["content"] if isinstance(value, dict) else str(value) for value in values if value is not None}
    added = _read_object(source, ADDED_TOKENS_FILE, **options)
    return {token_id: as_added_token(token, special=token in special) for token, token_id in added.items()}


def _special(value: Any) -> Any:
    return as_added_token(value, special=True)


def _read_object(source: StrPath, name: str, **options: Unpack[HubOptions]) -> dict[str, Any]:
    path = _find(source, name, **options)
    content = {} if path is None else read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object")  # noqa: TRY004  the file is at fault
    return content


def _find(source: StrPath, name: str, **options: Unpack[HubOptions]) -> Path | None:
    # Asked for by a single name, a local file would be taken whatever it is called.
    return find_file(source, [name, name], **options)


def _write(
    contents: dict[str, str], folder: StrPath, prefix: str | None, *, replaces: Sequence[str] = ()
) -> tuple[str, ...]:
    before = f"{prefix}-" if prefix else ""
    old = re.compile("|".join(re.escape(before + name) for name in replaces)) if replaces else None
    with staged(folder, replaces=old) as staging:
        for name, text in contents.items():
            (staging / (before + name)).write_text(text, encoding="utf-8")
    return tuple(str(Path(folder) / (before + name)) for name in contents)


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
