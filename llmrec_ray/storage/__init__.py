"""Object stores: from a URL of the settings to the `ObjectStore` that it names."""

from collections.abc import Callable
from pathlib import Path

from llmrec_ray.errors import InvalidInput, InvalidSettings
from llmrec_ray.ports import ObjectStore
from llmrec_ray.settings import Credentials
from llmrec_ray.storage.keys import check_key


def open_store(
    url: str,
    *,
    endpoint: str,
    secure: bool,
    region: str,
    timeout_s: float,
    credentials: Callable[[], Credentials],
) -> ObjectStore:
    """`file:///folder`, `file://relative/folder` or `s3://bucket/prefix`; the rest is for S3 alone.

    Nothing is sent yet: a store that cannot be used says so at its first call.
    """
    scheme, separator, place = url.partition("://")
    if not separator or scheme not in {"file", "s3"}:
        raise _invalid(f"starts with {scheme.partition(':')[0]!r}, which is no object store")
    if not place.strip("/"):
        raise _invalid("names no folder or bucket")
    if scheme == "file":
        from llmrec_ray.storage.local import FolderStore

        return FolderStore(Path(place))
    if "@" in place:
        raise _invalid(
            "holds credentials, which do not belong there: set LLMREC_S3_ACCESS_KEY and"
            " LLMREC_S3_SECRET_KEY"
        )
    from llmrec_ray.storage.s3 import S3Store

    bucket, _, prefix = place.partition("/")
    return S3Store(
        bucket,
        _checked(prefix.strip("/")),
        endpoint=endpoint,
        secure=secure,
        region=region,
        timeout_s=timeout_s,
        credentials=credentials,
    )


def _checked(prefix: str) -> str:
    try:
        if prefix:
            check_key(prefix)
    except InvalidInput as cause:
        raise _invalid(f"has a prefix that cannot be used: {cause}") from cause
    return prefix


def _invalid(problem: str) -> InvalidSettings:
    return InvalidSettings(
        f"object_store.url {problem}. Use file:///folder, file://relative/folder or s3://bucket/prefix.",
        field="object_store.url",
    )
