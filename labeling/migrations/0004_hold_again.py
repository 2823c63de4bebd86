"""Hold verdicts and given labels again: SQLite rebuilds a table to add a column, and drops its triggers."""

from typing import ClassVar

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.models import F

from labeling.migrations._frozen import BULK_ACTION, IMAGE, VERDICT, freeze, thaw


def hold(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    freeze(editor, (IMAGE, VERDICT, BULK_ACTION) if editor.connection.vendor == "sqlite" else (BULK_ACTION,))


def let_go(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    thaw(editor, (BULK_ACTION,))


def keep_the_order(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Queues of before were ordered by label quality alone; they stay so until issues are found again."""
    apps.get_model("labeling", "ReviewItem").objects.update(priority=F("label_quality"))


class Migration(migrations.Migration):
    dependencies: ClassVar = [("labeling", "0003_ranking_audits_bulk")]
    operations: ClassVar = [
        migrations.RunPython(keep_the_order, migrations.RunPython.noop),
        migrations.RunPython(hold, let_go),
    ]
