"""Policies, the band of each image, and samples of the bands; a policy's version is held as it was saved."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

import labeling.models.policy
from labeling.migrations._frozen import POLICY, freeze, thaw


def hold(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    freeze(editor, (POLICY,))


def release(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    thaw(editor, (POLICY,))


class Migration(migrations.Migration):
    dependencies = [
        ("labeling", "0010_keys"),
    ]

    operations = [
        migrations.CreateModel(
            name="BandSample",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("side", models.CharField(choices=labeling.models.policy.band_choices, max_length=10)),
                ("threshold", models.FloatField()),
                ("cut", models.FloatField()),
                ("newest_image", models.PositiveBigIntegerField()),
                ("drawn", models.PositiveIntegerField(help_text="Images that nobody had judged before.")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "dataset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="band_samples", to="labeling.dataset"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("side__in", ["safe", "adult"])), name="band_sample_has_side"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ImageBand",
            fields=[
                (
                    "image",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="banding",
                        serialize=False,
                        to="labeling.image",
                    ),
                ),
                ("unsafe", models.FloatField()),
                ("adult", models.FloatField()),
                ("held", models.BooleanField()),
                ("band", models.CharField(choices=labeling.models.policy.band_choices, max_length=10)),
                ("draw", models.FloatField()),
                (
                    "dataset",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="labeling.dataset",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["dataset", "band", "image"], name="band_oldest"),
                    models.Index(fields=["dataset", "band", "-unsafe", "image"], name="band_riskiest"),
                    models.Index(fields=["dataset", "draw"], name="band_draw"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Policy",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.PositiveIntegerField()),
                ("definition", models.JSONField()),
                ("note", models.CharField(blank=True, max_length=300)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("applied_at", models.DateTimeField(null=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "dataset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="policies", to="labeling.dataset"
                    ),
                ),
                (
                    "model_version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="policies", to="labeling.modelversion"
                    ),
                ),
            ],
            options={
                "ordering": ["-version"],
                "constraints": [models.UniqueConstraint(fields=("dataset", "version"), name="policy_version_once")],
            },
        ),
        migrations.RunPython(hold, release),
    ]
