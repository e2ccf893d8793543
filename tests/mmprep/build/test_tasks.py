"""The task of a data set, from its description into the plan and to the shards."""

import pytest

from mmprep.build.plan import Plan
from mmprep.build.request import Request, make_plan
from mmprep.errors import DataError
from mmprep.manifest import Question, Row, write_csv

HEAD = 'title = "t"\nmodalities = ["visual"]\nreader = "csv"\nlicence = "none"\n'
TAIL = """[parts]
names = ["frames"]
[sources]
video = "any"
[lists.files]
manifest = ["m.csv"]
"""


def request(folder, rows, task, **changes):
    write_csv(rows, folder / "m.csv")
    for row in rows:
        (folder / row.source).touch()
    (folder / "mine.toml").write_text(f'{HEAD}task = "{task}"\n{TAIL}')
    dataset = str(folder / "mine.toml")
    return Request(dataset=dataset, raw=folder, annotations=folder, **changes)


def rows(count=2, **changes):
    plain = {"label": "0", "split": "train"}
    return [
        Row(key=f"k{i}", sources={"video": f"{i}.mp4"}, **(plain | changes)) for i in range(count)
    ]


@pytest.mark.parametrize("listed", ["lists", "manifest"])
def test_targets_come_from_the_list_into_the_plan(tmp_path, listed):
    asked = request(tmp_path, rows(target=(0.25,), group="g"), "regression")
    if listed == "manifest":
        asked = Request(dataset=asked.dataset, raw=tmp_path, manifest=tmp_path / "m.csv")
    plan = make_plan(asked)
    assert plan.task == "regression"
    assert {(row.target, row.group) for task in plan.tasks for row in task.rows} == {((0.25,), "g")}
    assert Plan.from_json(plan.to_json(), "plan.json") == plan


def test_a_plan_holds_questions_and_their_answers_are_its_classes(tmp_path):
    asked = [Question(id=str(i), text=f"q{i}", label=("yes", "no")[i], group="t") for i in (0, 1)]
    made = rows(1, label="", questions=tuple(asked))
    plan = make_plan(request(tmp_path, made, "answers"))
    assert plan.classes == ("no", "yes")
    assert plan.tasks[0].rows[0].questions == tuple(asked)
    assert Plan.from_json(plan.to_json(), "plan.json") == plan


def test_a_trial_takes_clips_with_questions_from_every_split(tmp_path):
    asked = (Question(id="1", text="?", label="x"),)
    made = [
        Row(key=f"{s}{i}", label="", split=s, sources={"video": f"{s}{i}.mp4"}, questions=asked)
        for s in ("train", "val", "test")
        for i in range(4)
    ]
    plan = make_plan(request(tmp_path, made, "answers", limit=3))
    assert sorted(row.split for task in plan.tasks for row in task.rows) == ["test", "train", "val"]


@pytest.mark.parametrize(
    ("task", "target", "message"),
    [
        ("regression", (), "k0 has 0 target values; the task regression needs one"),
        ("regression", (1.0, 2.0), "k0 has 2 target values"),
        ("localisation", (), "is no class id for each segment, below 1"),
        ("localisation", (0.0, 1.0), "is no class id for each segment"),
        ("localisation", (0.5,), "is no class id for each segment"),
        ("localisation", (-1.0,), "is no class id for each segment"),
    ],
)
def test_rows_without_the_targets_of_the_task_are_refused(tmp_path, task, target, message):
    with pytest.raises(DataError, match=message):
        make_plan(request(tmp_path, rows(target=target), task))


def test_other_tasks_need_no_targets(tmp_path):
    for task in ("classification", "binary", "answers"):
        assert make_plan(request(tmp_path, rows(), task)).task == task
