"""Streams shards into batches: exact epochs in any order, and only the bytes that are shown."""

from mmtrain.data.batches.view import CROPS, View
from mmtrain.data.dataset import PARTS, ShardedDataset, open_dataset
from mmtrain.data.foreign import ForeignStream
from mmtrain.data.order import SampleOrder, Share
from mmtrain.data.reading.options import Loading
from mmtrain.data.stream import OrderedStream

__all__ = [
    "CROPS",
    "PARTS",
    "ForeignStream",
    "Loading",
    "OrderedStream",
    "SampleOrder",
    "ShardedDataset",
    "Share",
    "View",
    "open_dataset",
]
