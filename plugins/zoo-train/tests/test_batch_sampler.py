from collections import Counter

from zoo_train.batch_sampler import BatchSampler, Purpose, derive_seed, items_of_step


def test_every_epoch_sees_every_item_once() -> None:
    items = [item for step in range(10) for item in items_of_step(seed=3, step=step, batch_size=4, count=20)]

    assert sorted(items[:20]) == list(range(20))
    assert sorted(items[20:]) == list(range(20))
    assert items[:20] != items[20:]


def test_a_batch_may_cross_epochs_and_be_larger_than_the_data() -> None:
    items = [item for step in range(3) for item in items_of_step(seed=0, step=step, batch_size=10, count=6)]

    assert Counter(items) == dict.fromkeys(range(6), 5)


def test_starting_later_gives_the_rest_of_the_same_batches() -> None:
    whole = list(BatchSampler(seed=1, start=0, steps=9, batch_size=4, count=10, mirror=True))
    rest = BatchSampler(seed=1, start=5, steps=9, batch_size=4, count=10, mirror=True)

    assert list(rest) == whole[5:]
    assert len(rest) == 4


def test_processes_share_out_each_batch() -> None:
    whole = BatchSampler(seed=1, start=0, steps=3, batch_size=6, count=50, mirror=True)
    parts = [
        BatchSampler(seed=1, start=0, steps=3, batch_size=6, count=50, mirror=True, process=p, processes=3)
        for p in range(3)
    ]

    for batch, *shares in zip(whole, *parts, strict=True):
        assert [pair for share in shares for pair in share] == batch


def test_half_of_the_items_are_mirrored_if_asked() -> None:
    mirrored = [
        flip
        for batch in BatchSampler(seed=0, start=0, steps=100, batch_size=10, count=1000, mirror=True)
        for _, flip in batch
    ]
    plain = BatchSampler(seed=0, start=0, steps=5, batch_size=10, count=1000)

    assert 400 < sum(mirrored) < 600
    assert not any(flip for batch in plain for _, flip in batch)


def test_seeds_of_other_places_differ() -> None:
    seeds = [
        derive_seed(seed, purpose, step, process)
        for seed in range(2)
        for purpose in Purpose
        for step in range(5)
        for process in range(2)
    ]

    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
