"""MLflow: to the server or folder of MLFLOW_TRACKING_URI, else to the folder ``mlruns`` here."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mmtrain.training.loggers.base import Subject

_EXPERIMENT: Final = "mmtrain"
_OUTCOMES: Final = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_AT_ONCE: Final = 100  # Most parameters that the server takes in one request.


class MLflow:
    """Sends figures to a run of MLflow.

    Args:
        client: Client of the server.
        id: Name of the run there.
    """

    def __init__(self, client: Any, id: str) -> None:
        self._client, self.id = client, id

    def log(self, values: Mapping[str, float], epoch: int) -> None:
        """Takes figures of an epoch, counted from 1."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, epoch) for name, value in values.items()]
        self._client.log_batch(self.id, metrics=metrics)

    def close(self, outcome: str) -> None:
        """Ends the run."""
        self._client.set_terminated(self.id, _OUTCOMES[outcome])


def start(subject: Subject) -> MLflow:
    """Starts or continues a run of the experiment MLFLOW_EXPERIMENT_NAME."""
    # Training sends nothing anywhere that nobody asked for.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    place = os.environ.get("MLFLOW_TRACKING_URI") or Path("mlruns").absolute().as_uri()
    if place.startswith(("file:", "/", ".")):
        # Without it MLflow 3 refuses folders, of which it would rather make databases.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(place)
    if subject.id is not None:
        client.update_run(subject.id, "RUNNING")
        return MLflow(client, subject.id)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
    experiment = client.get_experiment_by_name(name)
    home = experiment.experiment_id if experiment else client.create_experiment(name)
    run = client.create_run(home, run_name=subject.name)
    _describe(client, run.info.run_id, subject)
    return MLflow(client, run.info.run_id)


def _describe(client: Any, run: str, subject: Subject) -> None:
    from mlflow.entities import Param

    params = [Param(name, str(value)) for name, value in subject.config.items()]
    for begin in range(0, len(params), _AT_ONCE):
        client.log_batch(run, params=params[begin : begin + _AT_ONCE])
