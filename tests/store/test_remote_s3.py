"""A remote store in buckets of a local S3 server."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec.config import conf, set_conf_env

from pytest_biastransfer.store import Store
from pytest_biastransfer.store.chunks import Content
from pytest_biastransfer.store.remote import RemoteStore
from pytest_biastransfer.store.remote_location import require_usable

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")
boto3 = pytest.importorskip("boto3")

KEY = "a" * 64
CHUNKS = [range(start, start + 4) for start in range(0, 80, 4)]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def client(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FSSPEC_S3_ENDPOINT_URL": server,
    }.items():
        monkeypatch.setenv(name, value)
    before = dict(conf)
    # As fsspec does when it is imported.
    set_conf_env(conf)
    client = boto3.client("s3", endpoint_url=server)
    client.create_bucket(Bucket="bucket")
    yield client
    conf.clear()
    conf.update(before)


def collected(store: Store) -> tuple[int, list[str]]:
    """Return how many chunks are computed, and the warnings at the end of the session."""
    computed = []

    def compute(chunk: range) -> Content:
        computed.append(chunk)
        return {"squares": np.array(chunk) ** 2}

    for chunk, content in store.predictions.collect(store.generations.current(KEY), CHUNKS, compute):
        assert content["squares"].tolist() == [number**2 for number in chunk]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        store.flush()
    return len(computed), [str(warning.message) for warning in caught if warning.category.__name__ == "StoreWarning"]


# Libraries of the protocol warn of their own.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_machines_share_a_bucket(client: Any, tmp_path: Path) -> None:
    url = "s3://bucket/store"
    require_usable(url, "--bias-store")
    first = Store(tmp_path / "first", None, RemoteStore(url))
    assert collected(first) == (20, [])
    assert collected(Store(tmp_path / "second", None, RemoteStore(url))) == (0, [])
    assert client.list_objects_v2(Bucket="bucket")["KeyCount"] == 20

    dropping = Store(tmp_path / "second", None, RemoteStore(url))
    dropping.generations.drop(KEY, dropping.generations.current(KEY))
    dropping.flush()
    assert collected(Store(tmp_path / "third", None, RemoteStore(url))) == (20, [])

    computed, messages = collected(Store(tmp_path / "fourth", None, RemoteStore("s3://misspelt/store")))
    assert computed == 20
    (message,) = messages
    assert message.startswith(
        "s3://misspelt/store: cannot be written (FileNotFoundError: The specified bucket does not"
    )
    assert [bucket["Name"] for bucket in client.list_buckets()["Buckets"]] == ["bucket"]
