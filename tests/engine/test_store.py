"""The store of activations: whole, checked, bounded, shared."""

import multiprocessing
import os

import numpy as np
import pytest

from transfuse.engine.store import Store, activations
from transfuse.errors import UsageError


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "trunk", 10_000)


def array(seed: int = 0, size: int = 500) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(size, 1)).astype(np.float32)


def test_what_was_put_is_got_and_mapped(store):
    assert store.get("a") is None
    kept = store.put("a", array())
    np.testing.assert_array_equal(kept, array())
    assert isinstance(kept, np.memmap)
    np.testing.assert_array_equal(Store(store.folder, 10_000).get("a"), array())
    assert store.get("b") is None


@pytest.mark.parametrize("asked", ["plenty", "", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number_of_gib_is_refused(monkeypatch, asked):
    monkeypatch.setenv("TRANSFUSE_ACTIVATIONS_GIB", asked)
    with pytest.raises(UsageError, match="TRANSFUSE_ACTIVATIONS_GIB") as caught:
        activations()
    assert "GiB" in caught.value.expected


def test_a_limit_of_nothing_keeps_nothing(monkeypatch):
    monkeypatch.setenv("TRANSFUSE_ACTIVATIONS_GIB", "0")
    assert activations() is None


def test_changing_what_was_got_leaves_the_file_alone(store):
    store.put("a", array())[:] = 0
    np.testing.assert_array_equal(store.get("a"), array())


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "rubbish"])
def test_a_damaged_entry_is_found_and_can_be_written_again(store, damage):
    store.put("a", array())
    (path,) = store.folder.iterdir()
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes({"flip": bytes(content), "cut": content[:900], "empty": b"", "rubbish": b"x" * 900}[damage])
    assert store.get("a") is None
    assert not path.exists()
    store.put("a", array())
    np.testing.assert_array_equal(store.get("a"), array())


def test_the_longest_unused_goes_first_and_the_limit_holds(store):
    for number, key in enumerate("abcd"):
        store.put(key, array(number))
        os.utime(store._path(key), (number, number))
    assert store.get("a") is not None  # used now: the oldest is b
    store.put("e", array(9))
    assert store.get("b") is None
    assert store.get("a") is not None
    assert sum(path.stat().st_size for path in store.folder.iterdir()) <= 10_000 + 5 * 140  # headers come on top


def test_what_is_mapped_survives_its_eviction(store):
    held = store.put("a", array(1))
    for key in "bcdefg":
        store.put(key, array())
    assert store.get("a") is None
    np.testing.assert_array_equal(held, array(1))


def test_what_does_not_fit_or_cannot_be_written_stays_in_memory(store, tmp_path):
    large = array(size=5000)
    assert store.put("large", large) is large
    assert not store.folder.exists()
    (tmp_path / "file").write_text("")
    small = array()
    assert Store(tmp_path / "file" / "below", 10_000).put("a", small) is small


def _busy(folder, seed):
    store = Store(folder, 9_000)
    for step in range(150):
        key = str((step * 7 + seed) % 9)
        found = store.get(key)
        if found is None:
            found = store.put(key, array(int(key)))
        np.testing.assert_array_equal(found, array(int(key)))


def test_processes_share_a_store_that_is_too_small_for_them(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_busy, args=(tmp_path / "shared", seed)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert not [path for path in (tmp_path / "shared").iterdir() if path.name.startswith(".")]
