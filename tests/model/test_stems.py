"""Which texts share a stem, and which go together: plans of token lists, without a model."""

from __future__ import annotations

from itertools import combinations
from os.path import commonprefix
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from auditor.model import stems as module
from auditor.model.stems import KEPT, SHORTEST, Text, in_families, stems

IDS = st.lists(st.integers(0, 1), max_size=9).map(tuple)
TEXTS = st.lists(st.tuples(IDS, st.sampled_from("ab"), st.integers(1, 5)), max_size=9).map(
    lambda made: [Text(ids, alike, len(ids) + rest) for ids, alike, rest in made]
)


def planned(texts, known=0):
    with patch.object(module, "PASS", 1):
        return stems(texts, known)


def saved(texts, own, known=0):
    families = {(text.alike, ids) for text, ids in zip(texts, own, strict=True) if ids}
    read = sum(len(ids) - known for _, ids in families)
    return sum(len(ids) - known for ids in own if ids) - read


def best(texts, shortest=SHORTEST):
    """The most that any way to part the texts saves, all tried."""
    if not texts:
        return 0
    first, rest = texts[0], texts[1:]
    found = best(rest)
    for n in range(1, len(rest) + 1):
        for some in combinations(range(len(rest)), n):
            family = [first, *(rest[i] for i in some)]
            length = len(commonprefix([text.ids for text in family]))
            if len({text.alike for text in family}) == 1 and length >= shortest:
                left = [text for i, text in enumerate(rest) if i not in some]
                found = max(found, n * length + best(left))
    return found


@given(TEXTS)
def test_a_stem_begins_every_text_that_has_it_and_is_shared_by_texts_that_are_alike(texts):
    own = planned(texts)
    for text, ids in zip(texts, own, strict=True):
        assert text.ids[: len(ids)] == ids
        if ids:
            assert len(ids) >= SHORTEST
            assert sum(ids == other and text.alike == t.alike for t, other in zip(texts, own, strict=True)) > 1


@given(TEXTS.filter(lambda texts: len(texts) < 7))
def test_no_other_way_to_share_saves_more(texts):
    most = best(texts)
    worth = most >= 0.1 * sum(text.end for text in texts)
    assert saved(texts, planned(texts)) == (most if worth else 0)


@given(TEXTS, st.integers(1, 60))
def test_batches_hold_every_text_once_and_no_more_than_they_may(texts, budget):
    own = [text.ids[: max(1, len(text.ids) // 2)] for text in texts]
    batches = in_families(texts, own, 0, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(texts)))
    for batch in batches:
        width, longest = max(texts[i].end - len(own[i]) for i in batch), max(len(own[i]) for i in batch)
        n_stems = len({(texts[i].alike, own[i]) for i in batch})
        if len(batch) > 1:
            assert len(batch) * width + n_stems * longest <= budget
            assert len(batch) * (longest + width) + n_stems * longest <= KEPT * budget


def test_two_orders_of_questions_about_true_and_false_statements_share_what_leaves_least_to_read():
    statement, true, false = tuple(range(10, 20)), (30, 31), (32,)
    orders = ((1, 2, 3), (2, 1, 3))
    texts = [Text((*statement, *said, 9, 9, 9, 9), "", 17 + len(said)) for said in (true, false) for _ in orders]
    assert planned(texts) == [(*statement, *true, 9, 9, 9, 9)] * 2 + [(*statement, *false, 9, 9, 9, 9)] * 2
    short = [Text((*statement, *said), "", 13) for said in (true, false, true, false, (34,))]
    assert planned(short) == [statement] * 5


def test_what_is_known_of_all_texts_saves_nothing():
    texts = [Text((1, 2, 3, 4, 5, 6, end), "", 8) for end in (7, 8)]
    assert planned(texts, 2) == [(1, 2, 3, 4, 5, 6)] * 2
    assert planned(texts, 3) == [()] * 2


def test_little_is_not_worth_a_pass():
    texts = [Text((1, 2, 3, 4, 5, 6, end), "", 8) for end in (7, 8)]
    assert stems(texts, 0) == [()] * 2
    assert stems(texts * 8, 0) != [()] * 16
    assert planned([Text(text.ids, "", 80) for text in texts]) == [()] * 2


def test_a_family_stays_in_one_batch():
    texts = [Text((stem,) * 6, "", end) for end in (9, 12, 10) for stem in (1, 2, 3)]
    own = [text.ids for text in texts]
    batches = in_families(texts, own, 0, 24)
    assert sorted(map(sorted, batches)) == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_a_large_family_is_cut_where_a_batch_would_hold_too_many_columns():
    texts = [Text((1,) * 20, "", 22) for _ in range(40)]
    batches = in_families(texts, [text.ids for text in texts], 0, 100)
    assert [len(batch) for batch in batches] == [(100 * KEPT - 20) // 22] * 5
