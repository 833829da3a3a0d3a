"""int8 graphs: close to fp32 for any batch and length, made once, refused in words."""

import numpy as np
import pytest
import tiny
import torch

from transfuse.backbones import int8
from transfuse.backbones.tokens import States, pad
from transfuse.errors import BackboneError

needs_onnx = pytest.mark.skipif(not int8.usable(), reason="the extra onnx is not installed, or there is a GPU")
TEXTS = ["the good, the bad", "x", "the good and the bad " * 4, "wörld"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFUSE_CACHE", str(tmp_path))
    return tmp_path / "int8"


@needs_onnx
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_a_graph_is_the_segment_for_any_batch_and_length(tmp_path, family):
    import onnxruntime

    backbone = tiny.load(family)
    segment = backbone.segment(0, 2)
    int8.trace(segment, tmp_path / "plain.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "plain.onnx", providers=["CPUExecutionProvider"])
    for texts in (TEXTS, TEXTS[:1], TEXTS[1:3]):
        ids, mask = pad(backbone.tokens(texts, None, 60), 0)
        (found,) = session.run(None, {"inputs": ids.numpy(), "mask": mask.numpy()})
        with torch.inference_mode():
            expected = segment(ids, mask).numpy()
        real = mask.bool().numpy()
        np.testing.assert_allclose(found[real], expected[real], atol=2e-4)


@needs_onnx
def test_int8_is_close_to_fp32(cache, capfd):
    backbone = tiny.load("bert")
    inputs = States.of_ids(backbone.tokens(TEXTS, None, 60))
    pooling = backbone.poolings[0]
    plain = backbone.segment(0, backbone.layers)
    expected = backbone.pooled(plain, inputs, pooling)
    found = backbone.pooled(int8.Int8(plain), inputs, pooling)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98
    assert capfd.readouterr() == ("", ""), "the exporter is kept quiet"


@needs_onnx
def test_a_graph_is_made_once_for_the_same_numbers(cache, monkeypatch):
    backbone = tiny.load("bert")
    int8.Int8(backbone.segment(0, 2))
    (made,) = cache.iterdir()
    monkeypatch.setattr(int8, "_export", lambda *_: pytest.fail("made again"))
    int8.Int8(backbone.segment(0, 2))
    assert list(cache.iterdir()) == [made]
    other = backbone.segment(0, 2, own=True, states=False)
    with torch.no_grad():
        other.layers[0].output.dense.weight += 1
    with pytest.raises(pytest.fail.Exception, match="made again"):
        int8.Int8(other)


@needs_onnx
def test_a_segment_above_the_freezing_point_is_refused(cache):
    with pytest.raises(BackboneError, match="a segment that takes states"):
        int8.Int8(tiny.load("bert").segment(1, 3))


def test_without_its_packages_it_names_the_extra(monkeypatch):
    monkeypatch.setattr(int8, "NEEDS", ("a_package_that_is_not_there",))
    with pytest.raises(BackboneError, match=r"transfuse\[onnx\]"):
        int8.Int8(tiny.load("bert").segment(0, 3))
