"""Settings of the task models, which do not fit every number of classes and are large."""

_SIDE = {"side": 2, "hidden": 16}
_SMALL = {
    "avga": {**_SIDE, "units": 8, "state": 8},
    "psp": {**_SIDE, "units": 8, "state": 8},
    "avsdn": {"state": 8},
    "mwtsm": {"steps": 6, "hidden": 16},
    "avsd": {"words": 4, "steps": 3, "hidden": 16},
    "panoavqa": {**_SIDE, "words": 4, "steps": 3},
}
SEGMENTED = ("avga", "psp", "avsdn")


def settings_of(fusion, segments):
    """Small settings of a fusion in the catalog, for logits that ``segments`` divide."""
    small = _SMALL.get(fusion, {})
    return {**small, "segments": segments} if fusion in SEGMENTED else small
