"""Hold verdicts again, and give items what the fold now keeps beside their state: what is missing, and who was asked."""

from typing import Any, ClassVar

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from labeling.migrations._frozen import VERDICT, freeze


def hold(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    if editor.connection.vendor == "sqlite":
        freeze(editor, (VERDICT,))


def fill_slots(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Until now one verdict settled an image, so only those that people were unsure about wait for somebody else."""
    items, filled = apps.get_model("labeling", "ReviewItem"), apps.get_model("labeling", "FilledSlot")
    items.objects.filter(state="settled").update(missing=0)
    for item in items.objects.filter(state="unsure").iterator():
        last: dict[int, Any] = {}
        for verdict in _standing(list(item.image.verdicts.order_by("id"))):
            last[verdict.reviewer_id] = verdict
        filled.objects.bulk_create(
            filled(item=item, reviewer_id=reviewer, verdict=verdict) for reviewer, verdict in last.items()
        )
        items.objects.filter(pk=item.pk).update(missing=1)


def _standing(verdicts: list[Any]) -> list[Any]:
    taken_back: set[int] = set()
    for verdict in reversed(verdicts):
        if verdict.undoes_id is not None and verdict.pk not in taken_back:
            taken_back.add(verdict.undoes_id)
    return [one for one in verdicts if one.kind != "undo" and one.pk not in taken_back]


class Migration(migrations.Migration):
    dependencies: ClassVar = [("labeling", "0008_agreement")]
    operations: ClassVar = [
        migrations.RunPython(fill_slots, migrations.RunPython.noop),
        migrations.RunPython(hold, migrations.RunPython.noop),
    ]
