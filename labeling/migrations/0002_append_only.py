"""Hold in the database what the code promises: given labels, verdicts and releases are never changed."""

from typing import ClassVar

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

# table, columns whose change is refused (None: any change), message
_FROZEN = [
    (
        "labeling_image",
        ["given_class_id", "sha256", "dataset_id"],
        "the given label of an image is never changed",
    ),
    ("labeling_verdict", None, "verdicts are append-only; record an undo instead"),
    ("labeling_releaseentry", None, "a release is frozen; cut a new one instead"),
]


def freeze(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    for table, columns, message in _FROZEN:
        of = f"OF {', '.join(columns)}" if columns else ""
        changed = (
            " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in columns) if columns else "TRUE"
        )
        if editor.connection.vendor == "postgresql":
            editor.execute(
                f"CREATE FUNCTION {table}_is_frozen() RETURNS trigger AS $$ "
                f"BEGIN RAISE EXCEPTION '{message}'; END $$ LANGUAGE plpgsql"
            )
            editor.execute(
                f"CREATE TRIGGER {table}_frozen BEFORE UPDATE {of} ON {table} "
                f"FOR EACH ROW WHEN ({changed}) EXECUTE FUNCTION {table}_is_frozen()"
            )
        else:
            changed = changed.replace("IS DISTINCT FROM", "IS NOT").replace("TRUE", "1")
            editor.execute(
                f"CREATE TRIGGER {table}_frozen BEFORE UPDATE {of} ON {table} "
                f"FOR EACH ROW WHEN {changed} BEGIN SELECT RAISE(ABORT, '{message}'); END"
            )


def thaw(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    for table, _, _ in _FROZEN:
        if editor.connection.vendor == "postgresql":
            editor.execute(f"DROP TRIGGER {table}_frozen ON {table}")
            editor.execute(f"DROP FUNCTION {table}_is_frozen()")
        else:
            editor.execute(f"DROP TRIGGER {table}_frozen")


class Migration(migrations.Migration):
    dependencies: ClassVar = [("labeling", "0001_initial")]
    operations: ClassVar = [migrations.RunPython(freeze, thaw)]
