"""Exports a run: weights, config, preparation, a card and programs, in a folder of its own."""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import torch

from mmprep.format.agreement import file_digest
from mmprep.version import VERSION
from mmtrain import files
from mmtrain.config.run import BYTES, TrainConfig
from mmtrain.errors import ConfigError, RunError
from mmtrain.prediction import program
from mmtrain.prediction.card import CARD, card_of
from mmtrain.prediction.opening import (
    EXPORT,
    FORMAT,
    METHOD,
    TOKENIZER,
    ExportFacts,
    Trained,
    open_trained,
)
from mmtrain.prediction.predictor import Predictor, load, predictor_of
from mmtrain.prediction.program import ONNX, PROGRAM, Refused
from mmtrain.prediction.rebuild import without_files
from mmtrain.training import checkpoint
from mmtrain.training.parts import CONFIG
from mmtrain.training.start import WEIGHTS

log = logging.getLogger(__name__)

# Largest difference of the logits of what was written to those of the run.
_TOLERANCE: Final = 1e-6


def export(
    run: str | Path,
    out: str | Path,
    *,
    programs: bool = True,
    onnx: bool = False,
    data: str | None = None,
) -> dict[str, Any]:
    """Exports the best weights of a run, with all that predicting needs, to a new folder.

    The folder is there whole, or not at all. It is loaded once, and compared with the run, before
    it gets its name.

    Args:
        run: Folder of the run, or of another export.
        out: Folder of the export; new or empty.
        programs: Whether the program of `torch.export` is written.
        onnx: Whether it is written as ONNX too.
        data: Place of the shards, of which a run of an older version needs to look at one sample.

    Returns:
        ``out``, ``files`` with the size of each, and ``refused``: the program that could not be
        made, with the reason. Weights are written all the same.

    Raises:
        ConfigError: There is no such run, ``out`` holds something, a library is not installed, or
            ONNX is asked for without the program.
        DataError: A file of the run is damaged.
        MmtrainError: The disk refused.
    """
    if onnx:
        program.require_onnx()
        if not programs:
            raise ConfigError("--onnx is made from the program; leave --no-program out")
    out = Path(out).absolute()
    trained = open_trained(Path(run), data)
    teachers: dict[str, TrainConfig] = {}

    def remember(folder: Path) -> TrainConfig:
        return teachers.setdefault(str(folder), trained.config_of(folder))

    predictor = predictor_of(trained, "cpu", remember)
    with _folder(out) as aside:
        _write_weights(aside, trained)
        refused = _write_programs(aside, predictor, onnx) if programs else {}
        card = card_of(trained, predictor, refused)
        (aside / CARD).write_text(card, "utf-8")
        facts = ExportFacts(
            best=trained.saved["best"],
            digests={path.name: file_digest(path) for path in sorted(aside.iterdir())},
            teachers={
                place: _portable(each, each.data).to_json() for place, each in teachers.items()
            },
            versions={"mmtrain": VERSION, "torch": str(torch.__version__)},
            refused=refused,
        )
        text = json.dumps({"format": FORMAT, **asdict(facts)}, indent=1, ensure_ascii=False)
        (aside / EXPORT).write_text(f"{text}\n", "utf-8")
        _prove(aside, predictor)
    for name, reason in refused.items():
        log.warning("%s is not written: %s", name, reason)
    sizes = {path.name: path.stat().st_size for path in sorted(out.iterdir())}
    return {"out": str(out), "files": sizes, "refused": refused}


def _write_weights(folder: Path, trained: Trained) -> None:
    """Writes weights, the state of the method, config, preparation and tokenizer."""
    from safetensors.torch import save

    state = trained.saved["model"]
    # Copies, since the format has no tensors that share memory.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    (folder / WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))
    checkpoint.save(folder / METHOD, {"method": trained.saved["method"]})
    trained.facts.write(folder)
    tokenizer = trained.config.view.tokenizer
    if tokenizer != BYTES:
        shutil.copyfile(tokenizer, folder / TOKENIZER)
    config = _portable(trained.config, trained.facts.name)
    (folder / CONFIG).write_text(config.to_json(), "utf-8")


def _portable(config: TrainConfig, data: str) -> TrainConfig:
    """The config without what is of one machine: places of data, weights and caches; its device."""
    view, digests = config.view, dict(config.plugins)
    if view.tokenizer != BYTES:
        digests.pop(view.tokenizer, None)
        view = replace(view, tokenizer=TOKENIZER)
    return replace(
        without_files(config),
        data=data,
        view=view,
        plugins=digests,
        endpoint=None,
        cache=None,
        scores=None,
        init=None,
        init_sha256=None,
        device="auto",
        workers=None,
    )


def _write_programs(folder: Path, predictor: Predictor, onnx: bool) -> dict[str, str]:
    """Writes the programs; file to the reason for each that cannot be made."""
    config = predictor.config
    chosen = [*dict.fromkeys(config.encoder_of(m) for m in predictor.modalities)]
    who = f"the method {config.method}, the fusion {config.fusion}, encoders {', '.join(chosen)}"
    asked = (PROGRAM, ONNX) if onnx else (PROGRAM,)
    try:
        traced = program.traced(predictor)
    except Refused as error:
        return dict.fromkeys(asked, f"no program of {who} ({error})")
    program.write_program(traced, folder / PROGRAM)
    if not onnx:
        return {}
    try:
        program.write_onnx(predictor, traced, folder / ONNX)
    except Refused as error:
        (folder / ONNX).unlink(missing_ok=True)
        return {ONNX: f"no ONNX of {who} ({error})"}
    return {}


def _prove(folder: Path, predictor: Predictor) -> None:
    """Loads what was written, and compares it with the run.

    Raises:
        RunError: It computes something else.
    """
    inputs, shown = program.examples(predictor, 2)
    expected, values = (each.predict(inputs, shown).logits for each in (predictor, load(folder)))
    if not torch.allclose(expected, values, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True):
        gap = float((expected - values).abs().max())
        raise RunError(
            f"the export's logits differ from the run's by {gap:.3g}, so it is not written; "
            "please report it with the run's config.json"
        )


@contextmanager
def _folder(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that gets its name at the end, with all that is in it on the disk.

    Raises:
        ConfigError: ``out`` holds something.
        MmtrainError: The disk refused.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is not empty; choose another --out")
    aside = out.with_name(f".{out.name}.partial")
    with files.naming_refusals(out):
        shutil.rmtree(aside, ignore_errors=True)  # Of an export that was killed.
        aside.mkdir(parents=True)
        try:
            yield aside
            for path in (*aside.iterdir(), aside):
                _sync(path)
            aside.rename(out)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        files.sync_folder(out.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
