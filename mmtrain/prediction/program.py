"""The prediction of a model as a program: by `torch.export`, and as ONNX.

A program takes ``inputs`` (modality to its tensor, as `mmtrain.types.Batch` has it) and ``shown``
(modality to (B,) True for samples that have it), and gives logits: ``fused``, and each modality's
own. The batch may have any size. It is compared with the model before it is written.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from mmtrain.errors import ConfigError
from mmtrain.modalities import PICTURES, SEQUENCE, SPECTROGRAM, modality
from mmtrain.prediction.predictor import Predictor

PROGRAM: Final = "model.pt2"
ONNX: Final = "model.onnx"
FUSED: Final = "fused"
# Sizes of the batches that are compared; another is traced, since a size of 1 would be fixed.
_COMPARED: Final = (1, 3)
_TRACED: Final = 2
# Largest difference of logits, beside the largest of them where that is above 1.
_TOLERANCE: Final = 1e-4

Named = Mapping[str, Tensor]


class Refused(Exception):
    """Raised where a model cannot become a program; its text is the reason."""


class Logits(nn.Module):
    """The logits of a predictor, by name.

    Args:
        predictor: The predictor.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, inputs: dict[str, Tensor], shown: dict[str, Tensor]) -> dict[str, Tensor]:
        """Logits ``fused`` (B, outputs), and by modality."""
        out = self.predictor(inputs, shown)
        return {FUSED: out.fused, **{m: out.logits[m] for m in self.predictor.modalities}}


def traced(predictor: Predictor) -> torch.export.ExportedProgram:
    """Traces the prediction of a model on the CPU, for batches of any size.

    Raises:
        Refused: It cannot be traced, such as where the course of computing depends on data, or the
            program computes something else.
    """
    batch = torch.export.Dim("batch")
    shapes = tuple({m: {0: batch} for m in predictor.modalities} for _ in range(2))
    with _refusing(), torch.no_grad():
        program = torch.export.export(
            Logits(predictor), examples(predictor, _TRACED), dynamic_shapes=shapes
        )
        module = program.module()
        _compare(predictor, lambda inputs, shown: module(inputs, shown))
    return program


def write_program(program: torch.export.ExportedProgram, path: Path) -> None:
    """Writes a program, which `torch.export.load` reads."""
    torch.export.save(program, path)


def write_onnx(predictor: Predictor, program: torch.export.ExportedProgram, path: Path) -> None:
    """Writes a program as ONNX, with inputs ``MODALITY`` and ``MODALITY_shown``.

    Raises:
        Refused: It cannot be written as ONNX, or computes something else there.
    """
    names = [*predictor.modalities, *(f"{m}_shown" for m in predictor.modalities)]
    outputs = [FUSED, *predictor.modalities]
    with _refusing():
        torch.onnx.export(
            program,
            f=path,
            input_names=names,
            output_names=[f"{name}_logits" for name in outputs],
            external_data=False,
            verbose=False,
        )
        _compare(predictor, _session(path, names, outputs))


def require_onnx() -> None:
    """Refuses to write ONNX without its libraries.

    Raises:
        ConfigError: They are not installed.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript
    except ImportError as error:
        raise ConfigError(
            f"--onnx needs {error.name}; install the extra: pip install mmprep[onnx]"
        ) from error
    del onnx, onnxruntime, onnxscript


def examples(predictor: Predictor, count: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Random inputs of ``count`` samples, of which the first lacks the last modality."""
    generator = torch.Generator().manual_seed(count)
    inputs = {m: _example(predictor, m, count, generator) for m in predictor.modalities}
    shown = {m: torch.ones(count, dtype=torch.bool) for m in predictor.modalities}
    if count > 1 and len(shown) > 1:
        shown[predictor.modalities[-1]][0] = False
    return inputs, shown


def _example(predictor: Predictor, name: str, count: int, generator: torch.Generator) -> Tensor:
    blank, kind = predictor.blank(name, count), modality(name).kind
    if kind in (SPECTROGRAM, SEQUENCE):
        values = torch.randn(blank.shape, generator=generator)
        if kind == SEQUENCE:
            values[..., -1] = 1  # Every step is real.
        return values.to(blank.dtype)
    high = 256 if kind == PICTURES else predictor.facts.inputs[name].size
    return torch.randint(0, high, blank.shape, generator=generator, dtype=blank.dtype)


def _session(
    path: Path, names: Sequence[str], outputs: Sequence[str]
) -> Callable[[Named, Named], Named]:
    """Function that computes a file of ONNX."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(inputs: Named, shown: Named) -> Named:
        arrays = [x.numpy() for x in (*inputs.values(), *shown.values())]
        # Inputs on which nothing depends are not in the file.
        known = {each.name for each in session.get_inputs()}
        feed = {n: x for n, x in zip(names, arrays, strict=True) if n in known}
        values: list[np.ndarray[Any, Any]] = session.run(None, feed)
        return {n: torch.from_numpy(x) for n, x in zip(outputs, values, strict=True)}

    return run


def _compare(predictor: Predictor, program: Callable[[Named, Named], Named]) -> None:
    for count in _COMPARED:
        inputs, shown = examples(predictor, count)
        with torch.no_grad():
            expected = Logits(predictor)(inputs, shown)
        for name, values in program(inputs, shown).items():
            scale = max(1.0, float(expected[name].abs().max()))
            gap = float((values - expected[name]).abs().max())
            if not gap <= _TOLERANCE * scale:
                raise Refused(f"its {name} logits differ from the model's by {gap:.3g}")


@contextmanager
def _refusing() -> Iterator[None]:
    """Turns whatever the tracer raises into a reason, and keeps its chatter off the terminal."""
    noisy = [
        logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
    ]
    levels = [each.level for each in noisy]
    for each in noisy:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Refused:
        raise
    # torch raises many classes, of which most are its own and not public.
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        text = lines[0] if lines else ""
        raise Refused(f"{type(error).__name__}: {text:.300}") from error
    finally:
        for each, level in zip(noisy, levels, strict=True):
            each.setLevel(level)
