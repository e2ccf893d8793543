"""Settings of the fusions that do not fit every number of classes, or are large."""

_SEGMENTED = ("avga", "avsdn", "psp")


def settings_of(fusion, segments):
    """Small settings of a fusion in the catalog, for logits that ``segments`` divide."""
    if fusion not in _SEGMENTED:
        return {}
    small = {"segments": segments, "state": 8}
    return small if fusion == "avsdn" else {**small, "side": 2, "hidden": 16, "units": 8}
