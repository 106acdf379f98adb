"""What S3 adds to the contract: access, buckets, a network that fails, secrets that stay so."""

import logging
import pickle
import traceback
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmrec_ray.errors import LLMRecError, StoreUnavailable
from llmrec_ray.ports import ObjectStore
from llmrec_ray.settings import Credentials
from llmrec_ray.storage import open_store
from llmrec_ray.storage.s3 import S3Store
from tests.support.lossy import LossyProxy
from tests.support.seaweed import ACCESS_KEY, REGION, SECRET_KEY, SeaweedServer, credentials

BUCKET = "contract"
WRONG_SECRET = "a-wrong-secret-0123456789"

USES: dict[str, Callable[[ObjectStore], object]] = {
    "get": lambda store: store.get("a"),
    "create": lambda store: store.create("a", b"x"),
    "exists": lambda store: store.exists("a"),
    "list": lambda store: store.list(""),
    "stats": lambda store: store.stats(""),
    "delete": lambda store: store.delete("a"),
}


def opened(
    endpoint: str, bucket: str = BUCKET, secret: str = SECRET_KEY, key: str = ACCESS_KEY
) -> S3Store:
    return S3Store(
        bucket,
        "prefix",
        endpoint=endpoint,
        secure=False,
        region=REGION,
        timeout_s=2,
        credentials=lambda: Credentials(access_key=key, secret_key=secret),
    )


@pytest.fixture
def lossy(s3_server: SeaweedServer) -> Iterator[LossyProxy]:
    with LossyProxy(s3_server.endpoint) as proxy:
        yield proxy


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_a_wrong_secret_is_told_from_a_wrong_place(
    s3_server: SeaweedServer, use: Callable[[ObjectStore], object]
) -> None:
    with pytest.raises(StoreUnavailable, match="LLMREC_S3_SECRET_KEY"):
        use(opened(s3_server.endpoint, secret=WRONG_SECRET))


def test_an_unknown_access_key_names_the_setting(s3_server: SeaweedServer) -> None:
    with pytest.raises(StoreUnavailable, match="LLMREC_S3_ACCESS_KEY"):
        opened(s3_server.endpoint, key="nobody").list("")


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_a_missing_bucket_is_named(
    s3_server: SeaweedServer, use: Callable[[ObjectStore], object]
) -> None:
    with pytest.raises(StoreUnavailable, match=r"no bucket 'not-there'.*Create it"):
        use(opened(s3_server.endpoint, bucket="not-there"))


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_an_endpoint_where_nobody_listens_is_named(
    free_port: int, use: Callable[[ObjectStore], object]
) -> None:
    with pytest.raises(StoreUnavailable, match=rf"127.0.0.1:{free_port} cannot be reached"):
        use(opened(f"127.0.0.1:{free_port}"))


def test_tls_against_a_plain_server_names_the_setting(s3_server: SeaweedServer) -> None:
    store = S3Store(
        BUCKET,
        endpoint=s3_server.endpoint,
        secure=True,
        region=REGION,
        timeout_s=2,
        credentials=credentials,
    )
    with pytest.raises(StoreUnavailable, match=r"object_store\.secure"):
        store.get("a")


def test_a_server_that_does_not_speak_s3_is_no_empty_store(s3_server: SeaweedServer) -> None:
    master = f"127.0.0.1:{s3_server.port('master')}"
    with pytest.raises(StoreUnavailable, match=r"object_store\.endpoint"):
        opened(master).list("")


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_reply_to_a_write_that_went_through_is_a_write(
    s3_server: SeaweedServer, lossy: LossyProxy, lost: int
) -> None:
    store = s3_server.store(BUCKET, uuid.uuid4().hex, endpoint=lossy.endpoint)
    lossy.lose(lost)
    assert store.create("a", b"mine")
    assert lossy.left_to_lose == 0
    assert store.get("a") == b"mine"


def test_a_lost_reply_to_a_write_that_lost_the_race_is_no_write(
    s3_server: SeaweedServer, lossy: LossyProxy
) -> None:
    store = s3_server.store(BUCKET, uuid.uuid4().hex, endpoint=lossy.endpoint)
    store.create("a", b"theirs")
    lossy.lose(1)
    assert not store.create("a", b"mine")
    assert store.get("a") == b"theirs"


def test_replies_that_never_come_are_an_error(s3_server: SeaweedServer, lossy: LossyProxy) -> None:
    store = s3_server.store(BUCKET, uuid.uuid4().hex, endpoint=lossy.endpoint)
    lossy.lose(1000)
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        store.create("a", b"mine")


def test_a_reply_lost_while_reading_is_asked_for_again(
    s3_server: SeaweedServer, lossy: LossyProxy
) -> None:
    store = s3_server.store(BUCKET, uuid.uuid4().hex, endpoint=lossy.endpoint)
    store.create("a", b"mine")
    lossy.lose(1)
    assert store.get("a") == b"mine"


def test_two_prefixes_of_a_bucket_do_not_meet(s3_server: SeaweedServer) -> None:
    one, other = (s3_server.store(BUCKET, prefix) for prefix in ("deep/one", "deep/one-more"))
    one.create("a", b"1")
    other.create("a", b"2")
    assert (one.list(""), one.get("a"), other.get("a")) == (["a"], b"1", b"2")


def test_no_secret_reaches_logs_messages_or_tracebacks(
    s3_server: SeaweedServer, lossy: LossyProxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []

    def use(store: S3Store, loses: int = 0) -> None:
        lossy.lose(loses)
        try:
            store.create(uuid.uuid4().hex, b"x")
            store.get("missing")
        except LLMRecError as error:
            told.extend(traceback.format_exception(error))
        told.append(repr(store))

    use(opened(s3_server.endpoint))
    use(opened(s3_server.endpoint, secret=WRONG_SECRET))
    use(opened(s3_server.endpoint, bucket="not-there"))
    use(opened(lossy.endpoint), loses=1000)
    lossy.lose(0)
    seen = "\n".join([caplog.text, *told])
    assert "PUT /contract/prefix/" in seen, "the log that is checked is on"
    for secret in (SECRET_KEY, WRONG_SECRET, ACCESS_KEY, "X-Amz-Signature"):
        assert secret not in seen


def test_a_pickled_store_holds_no_credentials(s3_server: SeaweedServer) -> None:
    sent = pickle.dumps(s3_server.store(BUCKET))
    assert SECRET_KEY.encode() not in sent
    assert ACCESS_KEY.encode() not in sent


def open_url(url: str, endpoint: str = "127.0.0.1:1") -> ObjectStore:
    return open_store(
        url, endpoint=endpoint, secure=False, region=REGION, timeout_s=2, credentials=credentials
    )


def test_a_url_of_a_bucket_opens_the_store_below_its_prefix(s3_server: SeaweedServer) -> None:
    prefix = uuid.uuid4().hex
    open_url(f"s3://{BUCKET}/{prefix}/deep/", s3_server.endpoint).create("a", b"x")
    assert s3_server.store(BUCKET, f"{prefix}/deep").get("a") == b"x"


def test_a_url_of_a_folder_opens_the_store_in_it(tmp_path: Path) -> None:
    open_url(f"file://{tmp_path}/objects").create("a/b", b"x")
    assert (tmp_path / "objects" / "a" / "b").read_bytes() == b"x"
