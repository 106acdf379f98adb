"""Shown recommendations in, rows that are kept until they expire out: the SQL of one table."""

from collections.abc import Sequence

from sqlalchemy import Connection, Select, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from llmrec_ray.feedback import codec
from llmrec_ray.feedback.rows import Row, user_key
from llmrec_ray.feedback.tables import recommendations, user_versions
from llmrec_ray.types import Recommendations

Shown = tuple[str | None, Recommendations]

PURGED_AT_ONCE = 1_000

LIVE: Select[str] = select(recommendations.c.answer).where(
    recommendations.c.recommendation_id == bindparam("recommendation_id"),
    recommendations.c.expires_us > bindparam("now_us"),
)

_EXPIRED = (
    select(recommendations.c.recommendation_id)
    .where(recommendations.c.expires_us <= bindparam("now_us"))
    .order_by(recommendations.c.expires_us)
    .limit(PURGED_AT_ONCE)
    .with_for_update(skip_locked=True)  # two purges at once share the work (PostgreSQL alone)
)
PURGE = delete(recommendations).where(recommendations.c.recommendation_id.in_(_EXPIRED))
_INSERT = {
    "sqlite": sqlite.insert(recommendations).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(recommendations).on_conflict_do_nothing(),
}


def answer_row(shown: Shown, now_us: int, expires_us: int) -> Row:
    """The row of one answer."""
    user_id, answer = shown
    return {
        "recommendation_id": answer.recommendation_id,
        "user_id": user_id,
        "generation": answer.generation,
        "user_version": answer.user_version,
        "created_us": now_us,
        "expires_us": expires_us,
        "answer": codec.encode(answer),
    }


def insert_answers(connection: Connection, shown: Sequence[Shown], rows: Sequence[Row]) -> None:
    """Store the rows, but for those computed from a history that was erased in the meantime."""
    erased = _erased(connection, sorted({user_key(user) for user, _ in shown if user is not None}))
    kept = [
        row
        for (user, answer), row in zip(shown, rows, strict=True)
        if user is None or (answer.user_version or 0) >= erased.get(user_key(user), 0)
    ]
    if kept:
        kept.sort(key=lambda row: str(row["recommendation_id"]))
        connection.execute(_INSERT[connection.dialect.name], kept)


def _erased(connection: Connection, keys: Sequence[bytes]) -> dict[bytes, int]:
    """When each user was last erased; holds the rows, so that no erasure slips in meanwhile."""
    statement = (
        select(user_versions.c.user_key, user_versions.c.erased)
        .where(user_versions.c.user_key.in_(keys))
        .order_by(user_versions.c.user_key)
        .with_for_update(read=True)
    )
    return {row.user_key: row.erased for row in connection.execute(statement)}
