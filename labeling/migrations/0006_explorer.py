"""What keeps lists of a million images as quick as lists of ten thousand: indexes, and the given label on the item."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.models import OuterRef, Subquery


def name_given_labels(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    given = apps.get_model("labeling", "Image").objects.filter(pk=OuterRef("image")).values("given_class")
    apps.get_model("labeling", "ReviewItem").objects.update(given_class=Subquery(given))


class Migration(migrations.Migration):
    # PostgreSQL alters no table whose rows were changed in the same transaction.
    atomic = False
    dependencies = [
        ("labeling", "0005_issue_kinds_and_risk"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="reviewitem",
            name="item_progress",
        ),
        migrations.AddField(
            model_name="reviewitem",
            name="given_class",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                help_text="The image's own, which never changes; repeated here so that a confusion pair is one index range.",
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="labeling.taxonomyclass",
            ),
        ),
        migrations.RunPython(name_given_labels, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="reviewitem",
            name="given_class",
            field=models.ForeignKey(
                db_index=False,
                help_text="The image's own, which never changes; repeated here so that a confusion pair is one index range.",
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="labeling.taxonomyclass",
            ),
        ),
        migrations.AddField(
            model_name="reviewitem",
            name="suspected_before",
            field=models.BooleanField(
                help_text="A person put the item first in the queue; what `suspected` was before that. Null: nobody did.",
                null=True,
            ),
        ),
        migrations.AddIndex(
            model_name="image",
            index=models.Index(fields=["dataset", "id"], name="image_newest"),
        ),
        migrations.AddIndex(
            model_name="image",
            index=models.Index(fields=["dataset", "path", "id"], name="image_path"),
        ),
        migrations.AddIndex(
            model_name="image",
            index=models.Index(fields=["dataset", "split", "id"], name="image_split"),
        ),
        migrations.AddIndex(
            model_name="image",
            index=models.Index(fields=["dataset", "given_class", "id"], name="image_given"),
        ),
        migrations.AddIndex(
            model_name="image",
            index=models.Index(fields=["dataset", "current_class", "id"], name="image_current"),
        ),
        migrations.AddIndex(
            model_name="image",
            index=models.Index(
                condition=models.Q(("current_class", models.F("given_class")), _negated=True),
                fields=["dataset", "id"],
                name="image_relabelled",
            ),
        ),
        migrations.AddIndex(
            model_name="image",
            index=models.Index(condition=models.Q(("excluded", True)), fields=["dataset", "id"], name="image_excluded"),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(fields=["model_version", "predicted_index", "image"], name="prediction_class"),
        ),
        migrations.AddIndex(
            model_name="reviewitem",
            index=models.Index(fields=["dataset", "suspected", "represented_by", "state"], name="item_progress"),
        ),
        migrations.AddIndex(
            model_name="reviewitem",
            index=models.Index(
                condition=models.Q(("state", "settled"), _negated=True),
                fields=["dataset", "suspected", "priority", "id"],
                name="item_suspects",
            ),
        ),
        migrations.AddIndex(
            model_name="reviewitem",
            index=models.Index(
                condition=models.Q(("state", "settled"), _negated=True),
                fields=["dataset", "given_class", "suggested_class", "priority", "id"],
                name="item_pair",
            ),
        ),
        migrations.AddIndex(
            model_name="reviewitem",
            index=models.Index(
                fields=["dataset", "given_class", "suggested_class", "represented_by", "state"],
                name="item_pair_progress",
            ),
        ),
        migrations.AddIndex(
            model_name="reviewitem",
            index=models.Index(fields=["dataset", "label_quality", "image"], name="item_quality"),
        ),
        migrations.AddIndex(
            model_name="reviewitem",
            index=models.Index(fields=["dataset", "-risk", "image"], name="item_risk"),
        ),
        migrations.AddIndex(
            model_name="reviewitem",
            index=models.Index(fields=["dataset", "suggested_class", "image"], name="item_suggested"),
        ),
        migrations.AddIndex(
            model_name="reviewitem",
            index=models.Index(fields=["dataset", "state", "image"], name="item_state"),
        ),
        migrations.AddIndex(
            model_name="reviewitem",
            index=models.Index(
                condition=models.Q(("represented_by__isnull", False)),
                fields=["represented_by", "state"],
                name="item_represents",
            ),
        ),
        migrations.AddIndex(
            model_name="verdict",
            index=models.Index(fields=["reviewer", "created_at"], name="verdict_pace"),
        ),
    ]
