"""Streams shards into batches: exact epochs in any order, reading only the bytes that are shown."""

from mmtrain.data.batches.view import CROPS, View
from mmtrain.data.dataset import ShardedDataset, open_dataset
from mmtrain.data.foreign import ForeignStream
from mmtrain.data.order import SampleOrder, Share
from mmtrain.data.reading.options import StreamOptions
from mmtrain.data.stream import OrderedStream

__all__ = [
    "CROPS",
    "ForeignStream",
    "OrderedStream",
    "SampleOrder",
    "ShardedDataset",
    "Share",
    "StreamOptions",
    "View",
    "open_dataset",
]
