"""Hold in the database what the code promises: given labels, verdicts and releases are never changed."""

from typing import ClassVar

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from labeling.migrations._frozen import IMAGE, RELEASE_ENTRY, VERDICT, freeze, thaw

_FROZEN = (IMAGE, VERDICT, RELEASE_ENTRY)


def hold(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    freeze(editor, _FROZEN)


def let_go(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    thaw(editor, _FROZEN)


class Migration(migrations.Migration):
    dependencies: ClassVar = [("labeling", "0001_initial")]
    operations: ClassVar = [migrations.RunPython(hold, let_go)]
