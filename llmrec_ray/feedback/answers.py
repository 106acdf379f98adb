"""Shown recommendations in, rows that are kept until they expire out: the SQL of one table."""

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from llmrec_ray.feedback import codec
from llmrec_ray.feedback.forgotten import mark_erased
from llmrec_ray.feedback.rows import Row, user_key
from llmrec_ray.feedback.tables import erased_recommendations, recommendations, user_versions
from llmrec_ray.types import Shown

PURGED_AT_ONCE = 1_000

LIVE = select(
    recommendations.c.user_id,
    recommendations.c.answer,
    recommendations.c.question,
    recommendations.c.vector,
).where(
    recommendations.c.recommendation_id == bindparam("recommendation_id"),
    recommendations.c.expires_us > bindparam("now_us"),
)
WAS_ERASED = select(erased_recommendations.c.recommendation_id).where(
    erased_recommendations.c.recommendation_id == bindparam("recommendation_id")
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
    answer, question = shown.answer, shown.question
    return {
        "recommendation_id": answer.recommendation_id,
        "user_id": shown.user_id,
        "generation": answer.generation,
        "user_version": answer.user_version,
        "created_us": now_us,
        "expires_us": expires_us,
        "answer": codec.encode(answer),
        "question": None if question is None else codec.encode_question(question),
        "vector": None if question is None else question.vector,
    }


def shown_of(row: RowMapping) -> Shown:
    """The stored answer of a row, with its question where one was kept."""
    question = row["question"]
    return Shown(
        row["user_id"],
        codec.decode(row["answer"]),
        None if question is None else codec.decode_question(question, row["vector"]),
    )


def insert_answers(connection: Connection, shown: Sequence[Shown], rows: Sequence[Row]) -> None:
    """Store the rows, but for those computed from a history that was erased in the meantime."""
    users = {one.user_id for one in shown if one.user_id is not None}
    erased = _erased(connection, sorted(map(user_key, users)))
    kept: list[Row] = []
    late: list[Row] = []
    for one, row in zip(shown, rows, strict=True):
        since = 0 if one.user_id is None else erased.get(user_key(one.user_id), 0)
        (kept if (one.answer.user_version or 0) >= since else late).append(row)
    mark_erased(connection, late)
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
