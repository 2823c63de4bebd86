"""Evaluations and promotions, both append-only."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

import labeling.models.evaluation
from labeling.migrations._frozen import EVALUATION, PROMOTION, freeze, thaw

_FROZEN = (EVALUATION, PROMOTION)


def hold(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    freeze(editor, _FROZEN)


def let_go(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    thaw(editor, _FROZEN)


class Migration(migrations.Migration):
    dependencies = [
        ("labeling", "0016_training"),
    ]

    operations = [
        migrations.CreateModel(
            name="Evaluation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("split", models.CharField(max_length=20)),
                (
                    "labels",
                    models.CharField(
                        choices=labeling.models.evaluation.labels_used_choices, default="release", max_length=20
                    ),
                ),
                (
                    "class_map",
                    models.JSONField(
                        default=dict, help_text="Model's class → dataset's class, where a person said so."
                    ),
                ),
                ("level", models.CharField(choices=labeling.models.evaluation.level_choices, max_length=20)),
                ("images", models.PositiveIntegerField()),
                ("in_sample", models.PositiveIntegerField()),
                ("unscored", models.PositiveIntegerField()),
                ("hidden", models.PositiveIntegerField()),
                ("figures", models.JSONField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "model_version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="evaluations",
                        to="labeling.modelversion",
                    ),
                ),
                (
                    "release",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="evaluations", to="labeling.release"
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="labeling.run"),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [
                    models.Index(fields=["release", "split", "model_version", "-id"], name="evaluation_newest")
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("split__in", ("train", "validation", "test"))),
                        name="evaluation_split_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("in_sample__lte", models.F("images"))),
                        name="evaluation_in_sample_of_images",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Promotion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "dataset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="promotions", to="labeling.dataset"
                    ),
                ),
                (
                    "model_version",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="promotions",
                        to="labeling.modelversion",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "replaced",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="labeling.modelversion",
                    ),
                ),
                (
                    "takes_back",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="taken_back_by",
                        to="labeling.promotion",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "indexes": [models.Index(fields=["dataset", "-id"], name="promotion_newest")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("model_version__isnull", False), ("takes_back__isnull", False), _connector="OR"
                        ),
                        name="promotion_names_model",
                    )
                ],
            },
        ),
        migrations.RunPython(hold, let_go),
    ]
