"""int8 through ONNX Runtime, for inference on a processor: weights a channel, activations as they come."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from transfuse.backbones.anatomy import Segment
from transfuse.data import cache_root
from transfuse.errors import BackboneError, OutputError

INT8 = "int8"
NEEDS = ("onnx", "onnxscript", "onnxruntime")


def usable() -> bool:
    """Whether the packages of the extra ``onnx`` are installed and models run on the processor."""
    return all(importlib.util.find_spec(name) for name in NEEDS) and not torch.cuda.is_available()


class Int8(nn.Module):
    """A segment as a graph of ONNX Runtime whose matrix products are in int8 (Jacob et al. 2018), without gradients.

    The graph lies in the cache folder by the content of the segment, so that it is made once.

    Args:
        segment: layers from token ids on, adapters included.

    Raises:
        BackboneError: the extra ``onnx`` is not installed, or the segment takes states instead of token ids.
        OutputError: the graph cannot be written.

    Cost: about ten seconds for a small encoder when it is made, a fifth of a second afterwards.
    """

    def __init__(self, segment: Segment) -> None:
        super().__init__()
        if not usable():
            raise BackboneError(
                "int8 does not work here",
                expected=f"a machine without a GPU, and the packages {', '.join(NEEDS)}",
                remedy="pip install 'transfuse[onnx]', or use bf16 or fp32.",
            )
        if segment.takes_states:
            raise BackboneError("int8: a segment that takes states", expected="one that takes token ids")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(_graph(segment)), options, providers=["CPUExecutionProvider"])

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids [B, T] with mask [B, T] to states float32 [B, T, D]."""
        (hidden,) = self._session.run(None, {"inputs": inputs.numpy(), "mask": mask.numpy()})
        return torch.from_numpy(hidden)


def _graph(segment: Segment) -> Path:
    """The file of a segment's graph, made now where it is not in the cache."""
    path = cache_root() / "int8" / f"{_key(segment)}.onnx"
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
                made = Path(scratch) / path.name
                _export(segment, made)
                made.replace(path)
        except OSError as error:
            raise OutputError(
                f"{path}: {error.strerror or error}",
                expected="a cache folder that can be written",
                remedy="Set TRANSFUSE_CACHE to another folder, or use bf16 or fp32.",
            ) from error
    return path


def _key(segment: Segment) -> str:
    """Everything that the graph depends on: numbers, shape and versions."""
    digest = hashlib.sha256(repr(segment.model.config).encode())
    for name in ("torch", "transformers", *NEEDS):
        digest.update(importlib.metadata.version(name).encode())
    for name, tensor in segment.model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _export(segment: Segment, path: Path) -> None:
    """Write the graph of a segment with its matrix products in int8."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    plain = path.with_name("plain.onnx")
    trace(segment, plain)
    model = onnx.load(plain)
    del model.graph.value_info[:]  # shapes that the quantizer would contradict
    onnx.save(model, plain)
    with _quiet():
        quantize_dynamic(plain, path, per_channel=True, weight_type=QuantType.QInt8)


def trace(segment: Segment, path: Path) -> None:
    """Write the graph of a segment in fp32, for any batch and any length."""
    shape = {0: torch.export.Dim("batch", min=1), 1: torch.export.Dim("tokens", min=1)}
    ids = torch.ones((2, 8), dtype=torch.long)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            segment.eval(),
            (ids, torch.ones_like(ids)),
            input_names=["inputs", "mask"],
            dynamic_shapes={"inputs": shape, "mask": shape},
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        program.save(str(path))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice that exporters give to those who call them."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
