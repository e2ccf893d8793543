"""Teachers: finished runs of one modality each."""

from collections.abc import Sequence

from mmtrain.errors import ConfigError
from mmtrain.methods.base import Run, Teacher


def unimodal_teachers(run: Run, folders: Sequence[str]) -> dict[str, Teacher]:
    """Modality to the teacher that was trained on it alone, in the order of the model.

    Args:
        run: Run that learns from them, in its ``setup``.
        folders: Folders of the teachers' runs, in any order.

    Raises:
        ConfigError: A modality has no teacher or two, or a teacher has several modalities.
    """
    modalities = run.model.modalities
    by_modality: dict[str, tuple[str, Teacher]] = {}
    for folder in folders:
        teacher = run.teacher(folder)
        own = teacher.model.modalities
        if len(own) > 1:
            raise ConfigError(
                f"{folder} was trained on {', '.join(own)}; a teacher is of one modality: train it "
                f"with --modalities {own[0]}"
            )
        (modality,) = own
        if modality in by_modality:
            raise ConfigError(
                f"{by_modality[modality][0]} and {folder} are both teachers of {modality}; name one"
            )
        by_modality[modality] = folder, teacher
    if absent := [m for m in modalities if m not in by_modality]:
        raise ConfigError(
            f"there is no teacher of {', '.join(absent)}; set method.teachers="
            f"{','.join(['RUN'] * len(modalities))}, a finished run with --modalities {absent[0]} "
            "and so on"
        )
    return {m: by_modality[m][1] for m in modalities}


def alike_teachers(run: Run, folders: Sequence[str]) -> dict[str, Teacher]:
    """`unimodal_teachers` whose features are as wide as those of the model.

    Raises:
        ConfigError: As there, or a teacher's features have another width.
    """
    teachers = unimodal_teachers(run, folders)
    for modality, width in run.model.feature_widths.items():
        wide = teachers[modality].model.feature_widths[modality]
        if wide != width:
            raise ConfigError(
                f"the teacher of {modality} has {wide} features, the model {width}; give both the "
                "same encoder and a fusion that leaves its features as they are"
            )
    return teachers
