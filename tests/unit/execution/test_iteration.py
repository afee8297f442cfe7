from concurrent.futures import ThreadPoolExecutor

import pytest

from iseg_cli.execution.iteration import ahead_of, batches, map_ahead


def counted(count, taken):
    for item in range(count):
        taken.append(item)
        yield item


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 20])
def test_items_come_in_their_order_however_many_are_taken_ahead(count):
    assert list(ahead_of(range(count), 4)) == list(range(count))


def test_so_many_are_taken_before_the_first_is_given_and_no_more():
    taken = []
    items = ahead_of(counted(20, taken), 4)
    assert taken == []
    assert next(items) == 0
    assert taken == [0, 1, 2, 3, 4]
    assert next(items) == 1
    assert taken == [0, 1, 2, 3, 4, 5]


def test_batches_are_full_but_for_the_last():
    assert list(batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batches([], 3)) == []


def test_mapping_ahead_keeps_the_order_and_its_bound():
    taken = []
    with ThreadPoolExecutor(3) as pool:
        squares = map_ahead(pool, lambda item: item**2, counted(50, taken), 5)
        assert next(squares) == 0
        assert len(taken) <= 6
        assert list(squares) == [item**2 for item in range(1, 50)]
