"""Triggers that hold in the database what the code promises; migrations create and drop them."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.backends.base.schema import BaseDatabaseSchemaEditor


@dataclass(frozen=True)
class Frozen:
    """A table whose rows may not change; of a table with `columns` only these may not."""

    table: str
    message: str
    columns: tuple[str, ...] = ()


IMAGE = Frozen(
    "labeling_image", "the given label of an image is never changed", ("given_class_id", "sha256", "dataset_id")
)
VERDICT = Frozen("labeling_verdict", "verdicts are append-only; record an undo instead")
RELEASE_ENTRY = Frozen("labeling_releaseentry", "a release is frozen; cut a new one instead")
POLICY = Frozen(
    "labeling_policy",
    "a version of a policy is never changed; save the next one instead",
    ("dataset_id", "version", "model_version_id", "definition", "note", "created_by_id"),
)
BULK_ACTION = Frozen("labeling_bulkaction", "bulk actions are append-only; record a revert instead")
EVALUATION = Frozen("labeling_evaluation", "an evaluation is never changed; evaluate again instead")
PROMOTION = Frozen("labeling_promotion", "promotions are append-only; roll back instead")
ESCALATION_EVENT = Frozen("labeling_escalationevent", "the log of escalations is append-only")


def freeze(editor: BaseDatabaseSchemaEditor, frozen: Sequence[Frozen]) -> None:
    for one in frozen:
        of = f"OF {', '.join(one.columns)}" if one.columns else ""
        changed = " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in one.columns) or "TRUE"
        if editor.connection.vendor == "postgresql":
            editor.execute(
                f"CREATE FUNCTION {one.table}_is_frozen() RETURNS trigger AS $$ "
                f"BEGIN RAISE EXCEPTION '{one.message}'; END $$ LANGUAGE plpgsql"
            )
            editor.execute(
                f"CREATE TRIGGER {one.table}_frozen BEFORE UPDATE {of} ON {one.table} "
                f"FOR EACH ROW WHEN ({changed}) EXECUTE FUNCTION {one.table}_is_frozen()"
            )
        else:
            changed = changed.replace("IS DISTINCT FROM", "IS NOT").replace("TRUE", "1")
            editor.execute(
                f"CREATE TRIGGER {one.table}_frozen BEFORE UPDATE {of} ON {one.table} "
                f"FOR EACH ROW WHEN {changed} BEGIN SELECT RAISE(ABORT, '{one.message}'); END"
            )


def thaw(editor: BaseDatabaseSchemaEditor, frozen: Sequence[Frozen]) -> None:
    for one in frozen:
        if editor.connection.vendor == "postgresql":
            editor.execute(f"DROP TRIGGER {one.table}_frozen ON {one.table}")
            editor.execute(f"DROP FUNCTION {one.table}_is_frozen()")
        else:
            editor.execute(f"DROP TRIGGER IF EXISTS {one.table}_frozen")
