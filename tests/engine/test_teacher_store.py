"""Teacher outputs on disk: what was written comes back, a kill loses a part at most, damage is found."""

import numpy as np
import pytest
import torch

from transfuse.engine.teacher_store import TeacherOutputs, bytes_per_token, fingerprint
from transfuse.engine.topk import TopK, topk_loss
from transfuse.errors import DataError, OutputError

LENGTHS = [3, 0, 5, 2, 9, 1]
VOCABULARY = 40
KEY = fingerprint("teacher at 1", "form", ["a", "b"], 4)
LOGITS = 3 * torch.randn(sum(LENGTHS), VOCABULARY, generator=torch.Generator().manual_seed(0))
STARTS = np.cumsum([0, *LENGTHS])


def opened(folder, key=KEY, **settings):
    given = {"k": 4, "vocabulary": VOCABULARY, "part_tokens": 6} | settings
    return TeacherOutputs(folder, key, LENGTHS, **given)


def computed(part):
    return TopK.of(LOGITS[STARTS[part.first] : STARTS[part.stop]], 4)


def filled(folder):
    outputs = opened(folder)
    for part in outputs.missing():
        outputs.write_part(part, computed(part))
    return outputs


def test_rows_are_cut_into_parts_that_cover_all(tmp_path):
    parts = opened(tmp_path).parts
    assert [row for part in parts for row in part.rows] == list(range(6))
    assert [list(part.rows) for part in parts] == [[0, 1], [2], [3], [4], [5]]
    assert sum(part.tokens for part in parts) == sum(LENGTHS)


def test_what_was_written_comes_back(tmp_path):
    filled(tmp_path)
    again = opened(tmp_path)
    assert again.missing() == []
    found, starts = again.rows([4, 1, 0])
    assert starts.tolist() == [0, 9, 9, 12]
    logits = torch.cat([LOGITS[STARTS[4] : STARTS[5]], LOGITS[:3]])
    expected = TopK.of(logits, 4)
    for name in ("ids", "logits", "rest"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    for temperature in (1.0, 2.0, 4.0):
        assert topk_loss(logits, found, torch.ones(12), temperature).item() == 0


def test_no_row_at_all(tmp_path):
    found, starts = filled(tmp_path).rows([])
    assert (len(found), starts.tolist()) == (0, [0])


def test_a_kill_loses_one_part_at_most(tmp_path):
    outputs = opened(tmp_path)
    first, second, *others = outputs.missing()
    outputs.write_part(first, computed(first))
    next(outputs.folder.glob("*.npy")).with_name(".half-written.npy.1").write_bytes(b"x")  # what a kill leaves
    again = opened(tmp_path)
    assert again.missing() == [second, *others]
    assert again.missing([0]) == []
    with pytest.raises(DataError, match="row 4: its teacher's outputs are not there"):
        again.rows([4])


@pytest.mark.parametrize("how", ["flipped", "cut", "emptied"])
def test_a_damaged_part_is_found_and_computed_again(tmp_path, how):
    outputs = filled(tmp_path)
    path = max(outputs.folder.glob("*.npy"), key=lambda one: one.stat().st_size)
    data = bytearray(path.read_bytes())
    if how == "flipped":
        data[-20] ^= 1
    path.write_bytes({"flipped": data, "cut": data[:-30], "emptied": b""}[how])
    again = opened(tmp_path)
    (part,) = again.missing()
    assert part.tokens == 9
    again.write_part(part, computed(part))
    assert opened(tmp_path).missing() == []


def test_other_settings_find_nothing(tmp_path):
    filled(tmp_path)
    assert len(opened(tmp_path, k=5).missing()) == len(opened(tmp_path).parts)
    assert opened(tmp_path, key=fingerprint("teacher at 2", "form", ["a", "b"], 4)).missing()


def test_parts_of_another_size_are_never_taken_for_each_other(tmp_path):
    filled(tmp_path)
    coarse = opened(tmp_path, part_tokens=100)
    assert [list(part.rows) for part in coarse.missing()] == [list(range(6))]


def test_a_fingerprint_depends_on_everything():
    given = ("teacher", "form", [[1, 2], [3]], 64, (1.0, 2.0))
    others = [
        ("teacher 2", *given[1:]),
        (given[0], "form 2", *given[2:]),
        (*given[:2], [[1], [2, 3]], *given[3:]),
        (*given[:3], 32, given[4]),
        (*given[:4], (1.0,)),
    ]
    assert len({fingerprint(*one) for one in (given, *others)}) == 6
    assert fingerprint(*given) == fingerprint(*given[:4], (1, 2))


def test_outputs_of_other_rows_are_refused(tmp_path):
    outputs = opened(tmp_path)
    first, *_, last = outputs.missing()
    with pytest.raises(DataError, match="rows 0 to") as error:
        outputs.write_part(first, computed(last))
    assert str(first.tokens) in error.value.expected


def test_a_disk_that_takes_nothing_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    outputs = opened(tmp_path / "file")
    with pytest.raises(OutputError, match="cannot be written"):
        outputs.write_part(outputs.parts[0], computed(outputs.parts[0]))


@pytest.mark.parametrize(("vocabulary", "expected"), [(49152, 64 * 6 + 12), (65536, 396), (151936, 64 * 8 + 12)])
def test_bytes_per_token(vocabulary, expected):
    assert bytes_per_token(64, vocabulary) == expected


def test_bytes_per_token_is_what_files_take(tmp_path):
    outputs = filled(tmp_path)
    size = sum(path.stat().st_size for path in outputs.folder.glob("*.npy"))
    header = 300 * len(outputs.parts)
    assert 0 <= size - sum(LENGTHS) * bytes_per_token(4, VOCABULARY) <= header


def test_ids_above_two_bytes_survive(tmp_path):
    outputs = TeacherOutputs(tmp_path, KEY, [1], k=1, vocabulary=70000)
    logits = torch.zeros(1, 70000).index_fill_(1, torch.tensor([69999]), 9.0)
    outputs.write_part(outputs.parts[0], TopK.of(logits, 1))
    assert outputs.rows([0])[0].ids.tolist() == [[69999]]
