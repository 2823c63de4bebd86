"""What the database's planner believes about our tables.

PostgreSQL plans by statistics that a process of its own renews within a minute or so. Where that falls into the middle
of a large import or of a set of rows that was taken back, it plans for empty tables, and a query over a thousand images
takes minutes instead of milliseconds. So long jobs see to it themselves, between their stages.
"""

import logging

from django.apps import apps
from django.db import DatabaseError, connection, transaction

logger = logging.getLogger(__name__)

# Pages of 8 kB; reltuples is -1 before the first ANALYZE. The planner scales what it knows by the size; nothing stays
# nothing.
_FAR_OFF = """
    SELECT relname FROM pg_class
    WHERE oid = ANY (SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)
      AND pg_relation_size(oid) > 0
      AND (reltuples <= 0 OR pg_relation_size(oid) / 8192 > 2 * greatest(relpages, 8))
    ORDER BY relname
"""


def inform_planner() -> list[str]:
    """Renew the statistics of those tables that hold much more than the planner believes.

    Returns:
        the tables; none on SQLite, whose planner follows the indexes whatever there is.
    """
    if connection.vendor != "postgresql":
        return []
    tables = [model._meta.db_table for model in apps.get_app_config("labeling").get_models(include_auto_created=True)]
    with connection.cursor() as cursor:
        cursor.execute(_FAR_OFF, [tables])
        stale = [name for (name,) in cursor.fetchall()]
    try:
        # A savepoint, where somebody's transaction is open: that this fails is no reason to lose it.
        with transaction.atomic(), connection.cursor() as cursor:
            for name in stale:
                # Another process that does the same is not waited for.
                cursor.execute(f"ANALYZE (SKIP_LOCKED) {connection.ops.quote_name(name)}")
    except DatabaseError as error:
        logger.warning("The statistics of the tables could not be renewed: %s", error)
    return stale
