from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from auditor.data.examples import Example
from auditor.errors import ProbeFailed, UnsupportedModel
from auditor.model import extract as extraction
from auditor.model.batches import in_batches, left_padded
from auditor.model.extract import extract
from auditor.model.hooks import library_hidden_states
from auditor.model.positions import Position, resolve
from auditor.model.prompts import render
from auditor.model.sites import POINTS, Site

POSITIONS = (
    "last_prompt",
    "last_completion",
    "completion_tokens",
    "completion_tokens drop_last 1",
    "template_offset -2",
    "template_tail -2",
)
ONE_ROW = 1
ALL_TOGETHER = 10_000


def sites_of(target):
    return [Site(layer, point) for layer in range(target.n_layers) for point in POINTS]


@pytest.mark.parametrize("position", POSITIONS)
def test_a_batch_reads_what_one_prompt_at_a_time_reads(target, examples, position):
    examples[2] = Example("long", "one two " * 5, True, "g", completion="three four", chat=True)
    prompts = [render(target, example) for example in examples]
    asked = {"sites": sites_of(target), "position": position}
    alone = extract(target, prompts, batch_tokens=ONE_ROW, **asked)
    together = extract(target, prompts, batch_tokens=ALL_TOGETHER, **asked)
    assert together.values == pytest.approx(alone.values, abs=1e-4)
    tokens = [resolve(prompt, Position.parse(position)) for prompt in prompts]
    assert together.example.tolist() == [i for i, found in enumerate(tokens) for _ in found]
    assert together.position.tolist() == [t for found in tokens for t in found]
    assert together.values.dtype == np.float32


def test_rows_are_the_library_hidden_states_in_the_order_of_the_prompts(target, prompts):
    sites = [Site(layer, "resid_post") for layer in range(target.n_layers - 1)]
    read = extract(target, prompts, sites=sites, position="last_completion", batch_tokens=ALL_TOGETHER)
    for row, prompt in enumerate(prompts):
        with torch.inference_mode():
            states = library_hidden_states(target.model, {"input_ids": torch.tensor([prompt.ids])})
        expected = np.stack([state[0, -1].numpy() for state in states[1:-1]])
        assert read.values[row] == pytest.approx(expected, abs=1e-4)


def test_the_mean_is_over_the_tokens_of_each_prompt(llama, examples):
    prompts = [render(llama, example) for example in examples]
    asked = {"sites": sites_of(llama), "position": "completion_tokens", "batch_tokens": ALL_TOGETHER}
    tokens, mean = extract(llama, prompts, **asked), extract(llama, prompts, mean=True, **asked)
    assert mean.example.tolist() == [0, 1, 2, 3]
    for row in range(4):
        own = tokens.example == row
        assert mean.values[row] == pytest.approx(tokens.values[own].mean(0), abs=1e-5)
        assert mean.position[row] == tokens.position[own][-1]


def test_bfloat16_is_read_as_float32(llama, examples):
    from auditor.model.load import target_from
    from tests.tiny import tiny_model, tiny_tokenizer

    half = target_from(tiny_model().bfloat16(), tiny_tokenizer())[0]
    asked = {"sites": [Site(1, "resid_post")], "position": "last_prompt", "batch_tokens": ALL_TOGETHER}
    prompts = [render(half, example) for example in examples]
    read, exact = extract(half, prompts, **asked), extract(llama, prompts, **asked)
    assert read.values.dtype == np.float32
    assert 1e-4 < np.abs(read.values - exact.values).max() < 0.1


def test_progress_counts_prompts_to_the_end(llama, examples):
    told = []
    prompts = [render(llama, example) for example in examples]
    extract(
        llama,
        prompts,
        sites=[Site(0, "resid_pre")],
        position="last_prompt",
        batch_tokens=ONE_ROW,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_site_the_model_lacks_and_a_text_too_long_are_refused(llama, examples):
    prompts = [render(llama, examples[0])]
    asked = {"position": "last_prompt", "batch_tokens": ALL_TOGETHER}
    with pytest.raises(UnsupportedModel, match="layers 0 to 2"):
        extract(llama, prompts, sites=[Site(3, "resid_post")], **asked)
    long = [render(llama, Example("x", "z " * 200, True, "g"))]
    with pytest.raises(ProbeFailed, match="longer than the 96 tokens"):
        extract(llama, long, sites=[Site(0, "resid_post")], **asked)


def test_batches_are_longest_first_within_the_budget_and_complete():
    lengths = [3, 50, 4, 4, 10, 1, 49]
    batches = in_batches(lengths, 100)
    assert batches == [[1, 6], [4, 2, 3, 0, 5]]
    assert in_batches(lengths, 20) == [[1], [6], [4, 2], [3, 0, 5]]
    assert in_batches([], 100) == []
    with pytest.raises(ValueError, match="budget"):
        in_batches(lengths, 0)


def padding(lengths, batches):
    return sum(len(batch) * max(lengths[i] for i in batch) for batch in batches) - sum(lengths)


def test_a_batch_that_is_worth_a_pass_ends_before_what_would_be_mostly_padding():
    lengths = [60] * 20 + [20] * 200
    wide, narrow = in_batches(lengths, 2048, narrow=False), in_batches(lengths, 2048)
    assert padding(lengths, wide) > 500
    assert padding(lengths, narrow) == 0
    for batches in (wide, narrow):
        assert sorted(i for batch in batches for i in batch) == list(range(220))
        assert all(len(batch) * max(lengths[i] for i in batch) <= 2048 for batch in batches)
    few = [60] * 2 + [20] * 4
    assert in_batches(few, 2048) == [list(range(6))]


def test_padding_is_on_the_left_and_masked(llama):
    batch = left_padded(llama, [(7, 8, 9), (5,)])
    assert batch.ids.tolist() == [[7, 8, 9], [llama.pad_id, llama.pad_id, 5]]
    assert batch.mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    with pytest.raises(ProbeFailed, match="without tokens"):
        left_padded(llama, [(7,), ()])


def test_activations_are_mapped_and_memory_does_not_grow_with_their_size(llama, examples, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "ROOM", 1 << 18)
    long = Example("long", "one", True, "g", completion="three four " * 6, chat=True)
    prompts = [render(llama, long)] * 400
    asked = {"sites": sites_of(llama), "position": "completion_tokens", "batch_tokens": 2000}
    tracemalloc.start()
    read = extract(llama, prompts, scratch=tmp_path, **asked)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(read.values, np.memmap)
    assert read.values.nbytes > 20 * extraction.ROOM
    assert peak < read.values.nbytes / 4
    assert list(tmp_path.iterdir()) == []
    assert read.values[-1] == pytest.approx(extract(llama, prompts[:1], **asked).values[-1], abs=1e-4)


def test_all_rows_of_a_site_lie_side_by_side(llama, examples):
    prompts = [render(llama, example) for example in examples]
    read = extract(llama, prompts, sites=sites_of(llama), position="last_prompt", batch_tokens=ALL_TOGETHER)
    assert read.at(sites_of(llama)[2]).flags.c_contiguous


@pytest.mark.parametrize("room", [1, 1 << 12])
def test_a_batch_that_reads_too_much_is_cut_and_gives_the_same(llama, examples, room, monkeypatch):
    prompts = [render(llama, example) for example in examples]
    asked = {"sites": sites_of(llama), "position": "completion_tokens", "batch_tokens": ALL_TOGETHER}
    whole = extract(llama, prompts, **asked)
    sizes = []
    read = extraction._read
    monkeypatch.setattr(extraction, "ROOM", room)
    monkeypatch.setattr(extraction, "_read", lambda *given: sizes.append(len(given[1])) or read(*given))
    cut = extract(llama, prompts, **asked)
    assert len(sizes) > 1
    assert sum(sizes) == len(prompts)
    assert cut.values == pytest.approx(whole.values, abs=1e-4)


def test_a_prompt_that_fails_leaves_no_file(llama, examples, tmp_path):
    prompts = [render(llama, examples[0]), render(llama, Example("x", "z " * 200, True, "g"))]
    with pytest.raises(ProbeFailed):
        extract(llama, prompts, sites=sites_of(llama), position="last_prompt", batch_tokens=ONE_ROW, scratch=tmp_path)
    assert list(tmp_path.iterdir()) == []
