"""The object store in an S3 bucket, through the MinIO SDK; a conditional PUT writes once."""

import logging
import re
import ssl
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from llmrec_ray.errors import InvalidSettings, NotFound, StoreUnavailable
from llmrec_ray.ports import Stat
from llmrec_ray.settings import Credentials
from llmrec_ray.storage.keys import check_key, check_prefix

if TYPE_CHECKING:
    from minio import Minio
    from urllib3 import BaseHTTPResponse, PoolManager

ATTEMPTS = 3
BACKOFF_S = 0.2
CONNECTIONS = 32
UNKNOWN = datetime.max.replace(tzinfo=UTC)  # an object whose age is not told is never old
PASSING = (500, 502, 503, 504)
OK, CONFLICT, TAKEN = 200, 409, 412  # 409: AWS asks to repeat a conditional PUT that met another
ABSENT = frozenset({"NoSuchKey", "ResourceNotFound"})
NO_ACCESS = frozenset(
    {"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
)


class S3Store:
    """Objects below `prefix` of one bucket; safe for many threads and processes.

    A copy that Ray sends elsewhere carries the function that finds the credentials, never the
    credentials.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str,
        secure: bool,
        region: str,
        timeout_s: float,
        credentials: Callable[[], Credentials],
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._again = partial(
            S3Store,
            bucket,
            prefix,
            endpoint=endpoint,
            secure=secure,
            region=region,
            timeout_s=timeout_s,
            credentials=credentials,
        )
        self._http = _pool(timeout_s, secure)
        self._client = self._connect(credentials(), secure, region)
        logging.getLogger("urllib3.connectionpool").addFilter(_without_signature)

    def __repr__(self) -> str:
        return f"S3Store('s3://{self._bucket}/{self._prefix}' at {self._endpoint!r})"

    def __reduce__(self) -> "tuple[partial[S3Store], tuple[()]]":
        return self._again, ()

    def get(self, key: str) -> bytes:
        name = self._name(key)
        with self._reported(key):
            response = self._client.get_object(self._bucket, name)
            try:
                return response.read()
            finally:
                response.close()
                response.release_conn()

    def create(self, key: str, data: bytes) -> bool:
        """PUT with `If-None-Match: *`.

        An attempt whose reply is lost may have written; where a later one then finds the key taken,
        the stored bytes decide. Two writers of equal bytes may both be told True, so a writer that
        must win alone writes its own id.
        """
        name = self._name(key)
        unsure, status = False, 0
        for attempt in range(ATTEMPTS):
            with self._reported(key):
                status = self._put(name, data, last=attempt == ATTEMPTS - 1)
            if status == OK:
                return True
            if status == TAKEN:
                return unsure and self.get(key) == data
            unsure = True
            time.sleep(BACKOFF_S * 2**attempt)
        raise StoreUnavailable(
            f"the object store at {self._endpoint} did not take {key!r} in {ATTEMPTS} attempts; the"
            f" last answer was status {status}. Try again when it is less busy.",
            key=key,
        )

    def exists(self, key: str) -> bool:
        name = self._name(key)
        try:
            with self._reported(key):
                self._client.stat_object(self._bucket, name)
        except NotFound:  # a HEAD has no body, so a missing bucket looks the same
            with self._reported(key):
                if not self._client.bucket_exists(self._bucket):
                    raise self._no_bucket() from None
            return False
        return True

    def list(self, prefix: str) -> list[str]:
        return sorted(self.stats(prefix))

    def stats(self, prefix: str) -> dict[str, Stat]:
        check_prefix(prefix)
        with self._reported(prefix):
            found = self._client.list_objects(
                self._bucket, prefix=self._prefix + prefix, recursive=True
            )
            named = [(each.object_name or "", each.last_modified, each.size) for each in found]
        return {
            name.removeprefix(self._prefix): Stat(modified or UNKNOWN, size or 0)
            for name, modified, size in named
            if not name.endswith("/")
        }

    def delete(self, key: str) -> None:
        name = self._name(key)
        try:
            with self._reported(key):
                self._client.remove_object(self._bucket, name)
        except NotFound:
            return

    def _name(self, key: str) -> str:
        check_key(key)
        return self._prefix + key

    def _put(self, name: str, data: bytes, *, last: bool) -> int:
        """The status of one conditional PUT: worth another attempt where it is not OK or TAKEN.

        0 where the reply was lost and an attempt is left.
        """
        from urllib3.exceptions import HTTPError

        # the SDK's own put_object cannot send the condition, so its signed address is used
        url = self._client.presigned_put_object(
            self._bucket, name, expires=timedelta(seconds=max(60, int(2 * self._timeout_s)))
        )
        headers = {"If-None-Match": "*", "Content-Type": "application/octet-stream"}
        try:
            response = self._http.request(
                "PUT", url, body=data, headers=headers, retries=False, redirect=False
            )
        except HTTPError:
            if last:
                raise
            return 0
        if response.status in {OK, TAKEN}:
            return response.status
        if response.status in {CONFLICT, *PASSING} and _code(response) != "NoSuchBucket":
            return response.status
        raise self._refused(_code(response), response.status)

    def _connect(self, credentials: Credentials, secure: bool, region: str) -> "Minio":
        from minio import Minio

        try:
            if not self._endpoint:
                raise ValueError("the endpoint is empty")  # noqa: TRY301 - as the SDK says the rest
            client = Minio(
                self._endpoint,
                credentials.access_key,
                credentials.secret_key,
                secure=secure,
                region=region,
                http_client=self._http,
            )
            client.presigned_get_object(self._bucket, "name")  # checks the bucket's name, offline
        except ValueError as cause:
            raise InvalidSettings(
                f"the object store cannot be opened: {cause}. Check object_store.url (s3://bucket/prefix),"
                " object_store.endpoint (host:port) and object_store.region.",
                field="object_store",
            ) from cause
        return client

    @contextmanager
    def _reported(self, key: str) -> Generator[None]:
        from minio.error import MinioException, S3Error
        from urllib3.exceptions import HTTPError, MaxRetryError, ResponseError

        try:
            yield
        except S3Error as cause:
            if cause.code in ABSENT:
                raise NotFound(f"{self!r} holds no object {key!r}.", key=key) from cause
            raise self._refused(cause.code or "", cause.response.status) from cause
        except MinioException as cause:
            raise self._refused("no S3 reply", 0) from cause
        except HTTPError as cause:
            if isinstance(cause, MaxRetryError) and isinstance(cause.reason, ResponseError):
                raise StoreUnavailable(
                    f"the object store at {self._endpoint} answered with {cause.reason}. Try again"
                    " when it is less busy; the server's log says why.",
                    endpoint=self._endpoint,
                ) from cause
            raise StoreUnavailable(
                f"the object store at {self._endpoint} cannot be reached ({type(cause).__name__})."
                " Check that it runs, object_store.endpoint (host:port) and object_store.secure.",
                endpoint=self._endpoint,
            ) from cause

    def _refused(self, code: str, status: int) -> StoreUnavailable:
        if code == "NoSuchBucket":
            return self._no_bucket()
        if code in NO_ACCESS:
            return StoreUnavailable(
                f"the object store at {self._endpoint} refuses access to bucket {self._bucket!r}"
                f" ({code}). Check LLMREC_S3_ACCESS_KEY and LLMREC_S3_SECRET_KEY (or the files that"
                " …_FILE name), the region and the rights of that key.",
                bucket=self._bucket,
            )
        return StoreUnavailable(
            f"the object store at {self._endpoint} answered {code or 'an error'} (status {status})."
            " Check object_store.endpoint, object_store.secure and the server's log.",
            endpoint=self._endpoint,
        )

    def _no_bucket(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"the object store at {self._endpoint} has no bucket {self._bucket!r}. Create it, or"
            " set object_store.url to one that exists.",
            bucket=self._bucket,
        )


def _pool(timeout_s: float, secure: bool) -> "PoolManager":
    import certifi
    from urllib3 import PoolManager, Retry, Timeout

    trust: ssl.SSLContext | None = None
    if secure:
        trust = ssl.create_default_context()  # the system's authorities, and those of SSL_CERT_FILE
        trust.load_verify_locations(certifi.where())
    return PoolManager(
        timeout=Timeout(connect=timeout_s, read=timeout_s),
        maxsize=CONNECTIONS,
        retries=Retry(total=ATTEMPTS - 1, backoff_factor=BACKOFF_S, status_forcelist=PASSING),
        ssl_context=trust,
    )


def _code(response: "BaseHTTPResponse") -> str:
    found = re.search(rb"<Code>(\w+)</Code>", response.data[:4096])
    return found.group(1).decode() if found else ""


def _without_signature(record: logging.LogRecord) -> bool:
    """Cut signatures out of urllib3's debug lines: who reads one could write until it expires."""
    message = record.getMessage()
    if "X-Amz-" in message:
        record.msg, record.args = re.sub(r"\?\S*X-Amz-\S*", "?…", message), ()
    return True
