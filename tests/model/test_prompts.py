from __future__ import annotations

from types import SimpleNamespace

import pytest

from auditor.data.examples import Example
from auditor.errors import NotTestable, ProbeFailed, UnsupportedModel
from auditor.model.chat_format import FRAME, FROZEN_DATE, detect_format
from auditor.model.positions import Position, resolve
from auditor.model.prompts import Prompt, opening_tokens, pieces, render
from tests.tiny import TEMPLATE, tiny_tokenizer

BOS, EOS = 1, 2
INJECTING = (
    "{% if messages[0].role != 'system' %}<|system|>You are Tiny.<eos>{% endif %}" + TEMPLATE[len("{{ bos_token }}") :]
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + TEMPLATE
)
IGNORES_SYSTEM = TEMPLATE.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")
FOLDING = (
    "{{ bos_token }}<|user|>{% if messages[0].role == 'system' %}{{ messages[0].content }}\n\n{% endif %}"
    "{{ messages[-1].content }}<eos><|assistant|>"
)


def using(**tokenizer):
    """What `render` needs of a target, without a model."""
    made = tiny_tokenizer(**tokenizer)
    return SimpleNamespace(tokenizer=made, chat=detect_format(made), vocab_size=len(made))


def user(text, completion=""):
    return Example("x", text, True, "g", completion=completion, chat=True)


def raw(text, completion=""):
    return Example("x", text, True, "g", completion=completion)


def test_a_user_text_goes_through_the_template_with_one_bos():
    target = using()
    prompt = render(target, user("Hello"))
    assert prompt.text == "<bos><|user|>Hello<eos><|assistant|>\n"
    assert list(prompt.ids).count(BOS) == 1
    assert prompt.ids[0] == BOS
    assert target.tokenizer.decode(prompt.ids) == prompt.text


def test_raw_text_gets_one_bos_also_when_it_brings_its_own():
    target = using()
    for text in ("Hello", "<bos>Hello"):
        ids = render(target, raw(text)).ids
        assert (ids[0], list(ids).count(BOS)) == (BOS, 1)
    assert BOS not in render(using(bos=False), raw("Hello")).ids


def test_an_end_that_the_tokenizer_puts_behind_text_does_not_end_the_prompt():
    assert tiny_tokenizer(eos_behind=True)("Hello")["input_ids"][-1] == EOS
    assert EOS not in render(using(eos_behind=True), raw("Hello")).ids


def test_prompt_and_completion_are_one_text_with_a_seam():
    target = using()
    for made in (raw("The city", "of Paris"), raw("The city ", "of Paris"), raw("The city", " of Paris")):
        prompt = render(target, made)
        assert prompt.text == "The city of Paris"
        assert target.tokenizer.decode(prompt.ids[prompt.prompt_len :]).strip() == "of Paris"
    answered = render(target, user("Hello", "of Paris"))
    assert answered.ids[: answered.prompt_len] == render(target, user("Hello")).ids
    assert target.tokenizer.decode(answered.ids[answered.prompt_len :]) == "of Paris"


def test_a_completion_without_a_prompt_is_all_completion():
    prompt = render(using(bos=False), raw("", "Paris is in France"))
    assert prompt.prompt_len == 0
    assert resolve(prompt, Position("completion_tokens")) == tuple(range(len(prompt.ids)))
    assert render(using(), raw("", "Paris is in France")).prompt_len == 1


def test_without_a_template_a_user_text_is_framed_and_that_is_on_record():
    target = using(chat=False)
    prompt = render(target, user("Why?", "Because."))
    assert prompt.text == "Question: Why?\nAnswer: Because."
    assert prompt.ids[0] == BOS
    assert target.chat.facts["chat_template"] is False
    assert target.chat.facts["framed_as"] == FRAME
    assert not target.chat.has_system_role
    assert using().chat.facts["framed_as"] is None


@pytest.mark.parametrize(
    ("template", "has_role", "injected"),
    [
        (TEMPLATE, True, None),
        (INJECTING, True, "You are Tiny."),
        (FOLDING, True, None),
        (NO_SYSTEM, False, None),
        (IGNORES_SYSTEM, False, None),
    ],
)
def test_the_system_role_is_found_by_trying(template, has_role, injected):
    target = using(chat=template)
    assert (target.chat.has_system_role, target.chat.injected_system) == (has_role, injected)
    if has_role:
        assert "Be brief." in render(target, user("Hello"), system="Be brief.").text
    else:
        with pytest.raises(NotTestable, match="no system role"):
            render(target, user("Hello"), system="Be brief.")


def test_no_system_message_and_an_empty_one_differ_where_the_template_adds_its_own():
    target = using(chat=INJECTING)
    assert "You are Tiny." in render(target, user("Hello")).text
    assert "You are Tiny." not in render(target, user("Hello"), system="").text
    assert "You are Tiny." in target.chat.facts["before_user_text"]


def test_a_system_message_for_raw_text_is_refused():
    with pytest.raises(NotTestable):
        render(using(), raw("Hello"), system="Be brief.")


@pytest.mark.parametrize(
    "template",
    [
        "Today: {{ strftime_now('%d %B %Y') }}|" + TEMPLATE,
        "{% set day = strftime_now('%d %B %Y') if strftime_now is defined else '?' %}Today: {{ day }}|" + TEMPLATE,
        "Today: {{ date_string }}|" + TEMPLATE,
    ],
)
def test_a_date_in_the_template_is_always_the_same_and_on_record(template):
    target = using(chat=template)
    dates = [FROZEN_DATE.strftime("%d %B %Y"), FROZEN_DATE.strftime("%d %b %Y")]
    assert render(target, user("Hello")).text.removeprefix("Today: ").split("|")[0] in dates
    assert target.chat.facts["date_given_to_template"] == FROZEN_DATE.isoformat()
    assert using().chat.facts["date_given_to_template"] is None


def test_thinking_is_switched_off_where_it_can_be_and_said_where_it_cannot():
    switch = TEMPLATE + "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>{% endif %}"
    off, on = using(chat=switch), using(chat=TEMPLATE + "<think>\n")
    assert render(off, user("Hello")).text.endswith("<think>\n\n</think>")
    assert (off.chat.thinking, on.chat.thinking, using().chat.thinking) == ("switched off", "always on", "none")


@pytest.mark.parametrize("template", ["{{ raise_exception('no') }}", "{{ messages[3].content }}", "nothing"])
def test_a_template_that_cannot_render_a_user_text_is_refused(template):
    with pytest.raises(UnsupportedModel, match="chat template"):
        using(chat=template)


def test_template_tokens_after_the_user_text_are_positions():
    target = using()
    prompt = render(target, user("Hello", "of Paris"))
    suffix = target.tokenizer("<eos><|assistant|>\n", add_special_tokens=False)["input_ids"]
    assert prompt.suffix_len == len(suffix) == 3
    for k in range(1, 4):
        (index,) = resolve(prompt, Position("template_offset", offset=-k))
        assert prompt.ids[index] == suffix[-k]
    with pytest.raises(ProbeFailed, match="template_tail -4"):
        resolve(prompt, Position.parse("template_tail -4"))
    with pytest.raises(ProbeFailed, match="template_offset -4"):
        resolve(prompt, Position.parse("template_offset -4"))
    with pytest.raises(ProbeFailed):
        resolve(render(target, raw("Hello")), Position("template_offset", offset=-1))


def test_positions_name_tokens():
    prompt = Prompt(ids=tuple(range(10)), prompt_len=6, text="", suffix_len=2)
    found = {
        "last_prompt": (5,),
        "last_completion": (9,),
        "completion_tokens": (6, 7, 8, 9),
        "completion_tokens drop_last 3": (6,),
        "template_offset -2": (4,),
        "template_tail -2": (4, 5),
    }
    for written, tokens in found.items():
        position = Position.parse(written)
        assert str(position) == written
        assert resolve(prompt, position) == tokens


@pytest.mark.parametrize(
    "written",
    [
        "last",
        "last_prompt -1",
        "template_offset",
        "template_tail",
        "completion_tokens -1",
        "last_prompt drop_last 2",
        "",
        "a b",
    ],
)
def test_a_position_that_means_nothing_is_refused(written):
    with pytest.raises(ValueError, match="position|offset|drop_last"):
        Position.parse(written)


@pytest.mark.parametrize("written", ["last_completion", "completion_tokens"])
def test_a_prompt_without_completion_has_no_completion_position(written):
    prompt = Prompt(ids=(4, 5), prompt_len=2, text="ab")
    with pytest.raises(ProbeFailed, match="no token at"):
        resolve(prompt, Position.parse(written))
    with pytest.raises(ProbeFailed):
        resolve(Prompt(ids=(4, 5, 6), prompt_len=2, text="ab"), Position("completion_tokens", drop_last=1))


def test_a_text_without_tokens_or_with_foreign_ones_fails_the_probe():
    with pytest.raises(ProbeFailed, match="no tokens"):
        render(using(bos=False), raw(""))
    small = using()
    small.vocab_size = 20
    with pytest.raises(ProbeFailed, match="does not have"):
        render(small, user("Hello"))


def test_opening_tokens_are_what_an_answer_starts_with():
    target = using()
    found = opening_tokens(target, ["I cannot", "I am", "No"])
    assert [target.tokenizer.decode([token]) for token in found] == ["I", "N"]
    framed = using(chat=False)
    assert all(framed.tokenizer.decode([t]).startswith(" ") for t in opening_tokens(framed, ["I", "No"]))


@pytest.mark.parametrize("text", ["It is in France.", "naïve 漢字 👩\u200d💻", "two\nlines", ""])
def test_the_pieces_of_an_answer_are_its_text_and_a_character_stands_with_its_last_token(text):
    target = using()
    for example in (user("Where?", text), raw("Where?", text)):
        prompt = render(target, example)
        found = pieces(target, prompt)
        assert len(found) == len(prompt.ids) - prompt.prompt_len
        assert "".join(found).strip() == text
        assert "\ufffd" not in "".join(found)
    assert "" in pieces(target, render(target, user("Where?", "漢")))
