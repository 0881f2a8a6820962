"""Chat templates write conversations as transformers' tokenizers do."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from clip_core.tokenization import CLIPTokenizer, CLIPTokenizerFast
from support.messages import naming
from support.vocabulary import IDS, write_vocabulary

PLAIN = "{% for message in messages %}{{ message.role }}: {{ message.content | trim }}\n{% endfor %}"
MARKED = (
    "{% for message in messages %}{% if message.role == 'assistant' %}{% generation %}{{ message.content }} "
    "{% endgeneration %}{% else %}{{ message.content }} {% endif %}{% endfor %}"
)
CHAT = [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "a thing "}]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_vocabulary(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(params=[CLIPTokenizer, CLIPTokenizerFast])
def tokenizer(request, files):
    return request.param(**files)


def test_one_conversation_is_a_text_and_a_list_of_them_a_list(tokenizer):
    text = "user: the cat\nassistant: a thing\n"
    assert tokenizer.apply_chat_template(CHAT, chat_template=PLAIN, tokenize=False) == text
    assert tokenizer.apply_chat_template([CHAT], chat_template=PLAIN, tokenize=False) == [text]


def test_ids_are_those_of_the_text_alone(tokenizer):
    ids = tokenizer("the cat a thing", add_special_tokens=False)["input_ids"]
    assert tokenizer.apply_chat_template(CHAT, chat_template=MARKED) == ids
    assert tokenizer.apply_chat_template([CHAT, CHAT[:1]], chat_template=MARKED) == [ids, ids[:2]]
    batch = tokenizer.apply_chat_template(CHAT, chat_template=MARKED, return_dict=True, max_length=3, truncation=True)
    assert dict(batch) == {"input_ids": ids[:3], "attention_mask": [1, 1, 1]}
    options = {"return_tensors": "np", "padding": True, "tokenizer_kwargs": {"padding_side": "left"}}
    found = tokenizer.apply_chat_template([CHAT, CHAT[:1]], chat_template=MARKED, **options)
    assert found.shape == (2, len(ids))
    assert found[1].tolist() == [IDS["<|endoftext|>"]] * (len(ids) - 2) + ids[:2]


def test_a_mask_shows_what_the_assistant_says(files):
    tokenizer = CLIPTokenizerFast(**files)
    options = {"chat_template": MARKED, "return_dict": True, "return_assistant_tokens_mask": True}
    one = tokenizer.apply_chat_template(CHAT, **options)
    count = len(tokenizer.tokenize("a thing"))
    assert one["assistant_masks"] == [0, 0] + [1] * count
    assert tokenizer.apply_chat_template(CHAT, **options, max_length=2, truncation=True)["assistant_masks"] == [0, 0]
    both = tokenizer.apply_chat_template([CHAT, CHAT[:1]], **options, padding=True, return_tensors="np")
    np.testing.assert_array_equal(both["assistant_masks"], [[0, 0] + [1] * count, [0] * (2 + count)])


def test_a_message_can_be_continued(tokenizer):
    def continued(chat, template=PLAIN):
        return tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False, continue_final_message=True)

    assert continued(CHAT) == "user: the cat\nassistant: a thing"
    assert continued(CHAT, PLAIN.replace(" | trim", "")) == "user: the cat\nassistant: a thing "
    blocks = [{"role": "user", "content": [{"text": "the"}, {"image": 1}]}]
    assert continued(blocks, "{% for one in messages[0].content %}{{ one.text }}!{% endfor %}") == "the"
    assert CHAT[1]["content"] == "a thing "
    with pytest.raises(ValueError, match=naming("continue_final_message=True", "template")):
        continued(CHAT, "nothing")
    with pytest.raises(ValueError, match=naming("continue_final_message=True", "text")):
        continued([{"role": "user", "content": [{"image": 1}]}])


def test_templates_read_special_tokens_and_other_variables(tokenizer):
    template = "{{ bos_token }}{{ colour }}{{ tools | tojson }}{{ add_generation_prompt }}{{ '<' | tojson }}"
    found = tokenizer.apply_chat_template(CHAT, tools=[{"a": 1}], chat_template=template, tokenize=False, colour="red")
    assert found == '<|startoftext|>red[{"a": 1}]False"<"'
    assert len(tokenizer.apply_chat_template(CHAT, chat_template="{{ strftime_now('%Y') }}", tokenize=False)) == 4
    first = "{% for one in messages %}{{ one.role }}{% break %}{% endfor %}"
    assert tokenizer.apply_chat_template(CHAT, chat_template=first, tokenize=False) == "user"


def test_templates_are_chosen_by_name(tokenizer):
    tokenizer.chat_template = {"default": "{{ 'a' }}", "tool_use": "{{ 'b' }}", "short": "{{ 'c' }}"}
    calls = [{}, {"tools": []}, {"chat_template": "short"}, {"chat_template": "{{ 'd' }}"}]
    found = [tokenizer.apply_chat_template(CHAT, tokenize=False, **options) for options in calls]
    assert found == ["a", "b", "c", "d"]
    tokenizer.chat_template = {"short": "c"}
    with pytest.raises(ValueError, match=naming("'short'", "chat_template=")):
        tokenizer.apply_chat_template(CHAT)
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match=naming("chat_template=", "tokenizer.chat_template")):
        tokenizer.apply_chat_template(CHAT)


@pytest.mark.parametrize("templates", ["{{ 'a' }}", {"default": "{{ 'a' }}", "short": "{{ 'b' }}"}, {"short": "b"}])
@pytest.mark.parametrize("save_jinja_files", [True, False])
def test_templates_come_back(tokenizer, tmp_path, templates, save_jinja_files):
    tokenizer.chat_template = templates
    paths = tokenizer.save_pretrained(tmp_path / "saved", save_jinja_files=save_jinja_files)
    config = json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())
    assert ("chat_template" in config) is not save_jinja_files
    assert any(path.endswith(".jinja") for path in paths) is save_jinja_files
    for cls in (CLIPTokenizer, CLIPTokenizerFast):
        assert cls.from_pretrained(tmp_path / "saved").chat_template == templates


@pytest.mark.parametrize("templates", [{"default": "{{ 'a' }}", "short": "{{ 'b' }}"}, {"short": "b"}])
def test_templates_come_from_a_subfolder_and_from_beside_a_file(tokenizer, tmp_path, templates):
    tokenizer.chat_template = templates
    tokenizer.save_pretrained(tmp_path / "part")
    assert type(tokenizer).from_pretrained(tmp_path, subfolder="part").chat_template == templates
    file = {True: "tokenizer.json", False: "vocab.json"}[tokenizer.is_fast]
    assert type(tokenizer).from_pretrained(tmp_path / "part" / file).chat_template == templates


def test_a_file_counts_before_the_setting(tokenizer, tmp_path):
    tokenizer.chat_template = "a"
    tokenizer.save_pretrained(tmp_path, save_jinja_files=False)
    (tmp_path / "chat_template.jinja").write_text("b")
    assert type(tokenizer).from_pretrained(tmp_path).chat_template == "b"
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    assert type(tokenizer).from_pretrained(tmp_path).chat_template is None


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"return_assistant_tokens_mask": True}, ("return_assistant_tokens_mask=True", "return_dict=True")),
        ({"continue_final_message": True, "add_generation_prompt": True}, ("add_generation_prompt",)),
    ],
)
def test_options_that_exclude_each_other(tokenizer, options, named):
    with pytest.raises(ValueError, match=naming(*named)):
        tokenizer.apply_chat_template(CHAT, chat_template=PLAIN, **options)


def test_without_jinja2_the_error_says_what_to_install(tokenizer, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=naming("jinja2", "pip install")):
        tokenizer.apply_chat_template(CHAT, chat_template="{{ 'not compiled before' }}")
