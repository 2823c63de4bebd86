"""Escalations: cases, what is in quarantine because of them, and their log, which is only ever added to."""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

import labeling.models.escalation
from labeling.migrations._frozen import ESCALATION_EVENT, freeze, thaw


def hold(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    freeze(editor, (ESCALATION_EVENT,))


def let_go(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    thaw(editor, (ESCALATION_EVENT,))


class Migration(migrations.Migration):
    dependencies = [
        ("labeling", "0012_triage"),
    ]

    operations = [
        migrations.AddField(
            model_name="person",
            name="escalations",
            field=models.BooleanField(default=False, help_text="May see and decide what is in quarantine."),
        ),
        migrations.CreateModel(
            name="Escalation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sha256", models.CharField(max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=labeling.models.escalation.escalation_state_choices, default="open", max_length=20
                    ),
                ),
                ("legal_hold", models.BooleanField(default=False)),
                ("retain_until", models.DateTimeField()),
                ("purged_at", models.DateTimeField(null=True)),
                ("opened_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "released"), _negated=True),
                        fields=("sha256",),
                        name="escalation_one_at_a_time",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Quarantine",
            fields=[
                (
                    "image",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="quarantine",
                        serialize=False,
                        to="labeling.image",
                    ),
                ),
                (
                    "item",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="quarantine",
                        to="labeling.reviewitem",
                    ),
                ),
                (
                    "escalation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="quarantined",
                        to="labeling.escalation",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="EscalationEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(choices=labeling.models.escalation.escalation_event_kind_choices, max_length=20),
                ),
                ("note", models.CharField(blank=True, max_length=1000)),
                ("key", models.UUIDField(default=uuid.uuid4, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "escalation",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="events",
                        to="labeling.escalation",
                    ),
                ),
                (
                    "image",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="labeling.image"
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
            ],
            options={
                "ordering": ["id"],
                "indexes": [models.Index(fields=["escalation", "id"], name="escalation_event_log")],
            },
        ),
        migrations.RunPython(hold, let_go),
    ]
