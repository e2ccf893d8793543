"""Lines of the tasks."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mmtrain.tasks.task import Task
from mmtrain.catalog import Catalog, Entry

CLASSIFICATION: Final = "classification"

TASKS: Final["Catalog[Task]"] = Catalog(
    "task",
    "tasks",
    "mmtrain.tasks",
    "task:Task",
    (
        Entry(
            CLASSIFICATION,
            "classification:Classification",
            "-",
            "One of C classes for each sample: accuracy, mAP, macro-F1.",
        ),
        Entry(
            "binary",
            "binary:Binary",
            "-",
            "One of two classes, or the sign of a score: accuracy and weighted F1, with and "
            "without scores of 0.",
        ),
        Entry(
            "regression",
            "regression:Regression",
            "-",
            "A score in [-3, 3] for each sample, by the L1 loss: MAE, correlation, Acc-7, Acc-5, "
            "Acc-2, F1.",
        ),
        Entry(
            "localisation",
            "localisation:Localisation",
            "-",
            "A class for each segment of a sample: accuracy over segments, beside that of "
            "background alone.",
        ),
        Entry(
            "answers",
            "answers:Answers",
            "-",
            "An answer to a question about a clip: accuracy over all and by type of question.",
        ),
    ),
)
