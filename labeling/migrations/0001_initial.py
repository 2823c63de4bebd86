import uuid

import django.contrib.auth.models
import django.contrib.auth.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import labeling.models.dataset
import labeling.models.issue
import labeling.models.review
import labeling.models.run


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [
        migrations.CreateModel(
            name="Dataset",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=60, unique=True)),
                ("title", models.CharField(max_length=200)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["slug"],
            },
        ),
        migrations.CreateModel(
            name="ModelVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.SlugField(max_length=100)),
                ("version", models.PositiveIntegerField(default=1)),
                ("folder", models.CharField(help_text="Below WINNOW_HOME/models.", max_length=300)),
                ("sha256", models.CharField(max_length=64)),
                ("profile", models.CharField(max_length=60)),
                ("embedding_size", models.PositiveIntegerField()),
                ("sidecar", models.JSONField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["name", "version"],
            },
        ),
        migrations.CreateModel(
            name="Person",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("password", models.CharField(max_length=128, verbose_name="password")),
                ("last_login", models.DateTimeField(blank=True, null=True, verbose_name="last login")),
                (
                    "is_superuser",
                    models.BooleanField(
                        default=False,
                        help_text="Designates that this user has all permissions without explicitly assigning them.",
                        verbose_name="superuser status",
                    ),
                ),
                (
                    "username",
                    models.CharField(
                        error_messages={"unique": "A user with that username already exists."},
                        help_text="Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.",
                        max_length=150,
                        unique=True,
                        validators=[django.contrib.auth.validators.UnicodeUsernameValidator()],
                        verbose_name="username",
                    ),
                ),
                ("first_name", models.CharField(blank=True, max_length=150, verbose_name="first name")),
                ("last_name", models.CharField(blank=True, max_length=150, verbose_name="last name")),
                ("email", models.EmailField(blank=True, max_length=254, verbose_name="email address")),
                (
                    "is_staff",
                    models.BooleanField(
                        default=False,
                        help_text="Designates whether the user can log into this admin site.",
                        verbose_name="staff status",
                    ),
                ),
                (
                    "is_active",
                    models.BooleanField(
                        default=True,
                        help_text="Designates whether this user should be treated as active. Unselect this instead of deleting accounts.",
                        verbose_name="active",
                    ),
                ),
                ("date_joined", models.DateTimeField(default=django.utils.timezone.now, verbose_name="date joined")),
                (
                    "theme",
                    models.CharField(choices=labeling.models.dataset.theme_choices, default="system", max_length=10),
                ),
                (
                    "shield",
                    models.BooleanField(
                        default=True, help_text="Blur and grey images of harmful classes until revealed."
                    ),
                ),
                (
                    "groups",
                    models.ManyToManyField(
                        blank=True,
                        help_text="The groups this user belongs to. A user will get all permissions granted to each of their groups.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.group",
                        verbose_name="groups",
                    ),
                ),
                (
                    "user_permissions",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Specific permissions for this user.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.permission",
                        verbose_name="user permissions",
                    ),
                ),
            ],
            options={
                "verbose_name": "user",
                "verbose_name_plural": "users",
                "abstract": False,
            },
            managers=[
                ("objects", django.contrib.auth.models.UserManager()),
            ],
        ),
        migrations.CreateModel(
            name="ImageRoot",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("path", models.CharField(max_length=4096)),
                (
                    "dataset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="roots", to="labeling.dataset"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Image",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "path",
                    models.CharField(
                        help_text="Below the root, '/'-separated, escaped by importers.paths.", max_length=4096
                    ),
                ),
                ("sha256", models.CharField(max_length=64)),
                ("byte_size", models.BigIntegerField()),
                ("modified_ns", models.BigIntegerField()),
                ("width", models.PositiveIntegerField()),
                ("height", models.PositiveIntegerField()),
                ("format", models.CharField(max_length=10)),
                ("mode", models.CharField(max_length=10)),
                ("phash", models.BigIntegerField()),
                ("dhash", models.BigIntegerField()),
                ("brightness", models.FloatField()),
                ("contrast", models.FloatField()),
                ("sharpness", models.FloatField()),
                ("entropy", models.FloatField()),
                (
                    "split",
                    models.CharField(blank=True, default="", help_text="Empty until the first release.", max_length=20),
                ),
                ("excluded", models.BooleanField(default=False)),
                ("imported_at", models.DateTimeField(auto_now_add=True)),
                (
                    "dataset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="images", to="labeling.dataset"
                    ),
                ),
                (
                    "duplicate_group",
                    models.ForeignKey(
                        help_text="The group's centre.",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="duplicates",
                        to="labeling.image",
                    ),
                ),
                (
                    "root",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="images", to="labeling.imageroot"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Membership",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("role", models.CharField(choices=labeling.models.dataset.role_choices, max_length=20)),
                (
                    "dataset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="memberships", to="labeling.dataset"
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="memberships",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ReviewItem",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(choices=labeling.models.review.item_state_choices, default="open", max_length=20),
                ),
                ("label_quality", models.FloatField(help_text="0..1, low = likely wrong.")),
                ("suspected", models.BooleanField(default=False)),
                ("reason", models.CharField(max_length=300)),
                (
                    "dataset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="items", to="labeling.dataset"
                    ),
                ),
                (
                    "image",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="item", to="labeling.image"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Claim",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slot", models.PositiveSmallIntegerField(default=0)),
                ("lease_expires_at", models.DateTimeField()),
                ("returned", models.BooleanField(default=False, help_text="Came back by undo, so it is shown first.")),
                (
                    "reviewer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="claims", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "item",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="claims", to="labeling.reviewitem"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Run",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(choices=labeling.models.run.run_kind_choices, max_length=20)),
                (
                    "state",
                    models.CharField(choices=labeling.models.run.run_state_choices, default="queued", max_length=20),
                ),
                ("parameters", models.JSONField(default=dict)),
                ("stage", models.CharField(blank=True, max_length=100)),
                ("done", models.PositiveBigIntegerField(default=0)),
                ("total", models.PositiveBigIntegerField(null=True)),
                ("host", models.CharField(blank=True, max_length=200)),
                ("stop_requested", models.BooleanField(default=False)),
                ("summary", models.JSONField(default=dict)),
                ("error", models.TextField(blank=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("started_at", models.DateTimeField(null=True)),
                ("heartbeat_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "dataset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="runs", to="labeling.dataset"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.AddField(
            model_name="reviewitem",
            name="run",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="labeling.run"),
        ),
        migrations.CreateModel(
            name="Release",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("major", models.PositiveIntegerField()),
                ("minor", models.PositiveIntegerField()),
                ("content_hash", models.CharField(max_length=64)),
                ("ratios", models.JSONField()),
                ("note", models.CharField(blank=True, max_length=500)),
                ("left_out", models.JSONField(default=dict, help_text="How many images were left out, by reason.")),
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
                        on_delete=django.db.models.deletion.PROTECT, related_name="releases", to="labeling.dataset"
                    ),
                ),
                (
                    "cut_run",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="release",
                        to="labeling.run",
                    ),
                ),
                (
                    "issues_run",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="labeling.run"
                    ),
                ),
            ],
            options={
                "ordering": ["-major", "-minor"],
            },
        ),
        migrations.CreateModel(
            name="Prediction",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("profile", models.CharField(max_length=60)),
                ("probabilities", models.BinaryField()),
                ("predicted_index", models.PositiveSmallIntegerField()),
                ("confidence", models.FloatField()),
                ("embedding_row", models.PositiveBigIntegerField()),
                (
                    "image",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="predictions", to="labeling.image"
                    ),
                ),
                (
                    "model_version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="predictions",
                        to="labeling.modelversion",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="labeling.run"),
                ),
            ],
        ),
        migrations.CreateModel(
            name="FoldPrediction",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("fold", models.PositiveSmallIntegerField()),
                ("probabilities", models.BinaryField()),
                (
                    "image",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="fold_predictions",
                        to="labeling.image",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="fold_predictions", to="labeling.run"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="RunRefusal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("path", models.CharField(max_length=4096)),
                ("code", models.CharField(max_length=40)),
                ("reason", models.CharField(max_length=500)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="refusals", to="labeling.run"
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="Skip",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("until", models.DateTimeField()),
                (
                    "item",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="skips", to="labeling.reviewitem"
                    ),
                ),
                (
                    "reviewer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Source",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=300)),
                (
                    "dataset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="sources", to="labeling.dataset"
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="image",
            name="source",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="images", to="labeling.source"
            ),
        ),
        migrations.CreateModel(
            name="Taxonomy",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=60)),
                ("version", models.PositiveIntegerField(default=1)),
                ("title", models.CharField(max_length=200)),
                ("content_hash", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["slug", "version"],
                "constraints": [
                    models.UniqueConstraint(fields=("slug", "version"), name="taxonomy_version_once"),
                    models.UniqueConstraint(fields=("slug", "content_hash"), name="taxonomy_content_once"),
                ],
            },
        ),
        migrations.AddField(
            model_name="modelversion",
            name="taxonomy",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="model_versions", to="labeling.taxonomy"
            ),
        ),
        migrations.AddField(
            model_name="dataset",
            name="taxonomy",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="datasets", to="labeling.taxonomy"
            ),
        ),
        migrations.CreateModel(
            name="TaxonomyClass",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("index", models.PositiveSmallIntegerField()),
                ("name", models.CharField(max_length=100)),
                ("group", models.CharField(max_length=100)),
                ("harm_rank", models.PositiveSmallIntegerField(default=0)),
                ("guideline", models.TextField(blank=True)),
                ("aliases", models.JSONField(default=list)),
                (
                    "taxonomy",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="classes", to="labeling.taxonomy"
                    ),
                ),
            ],
            options={
                "ordering": ["taxonomy", "index"],
            },
        ),
        migrations.AddField(
            model_name="reviewitem",
            name="suggested_class",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="labeling.taxonomyclass"
            ),
        ),
        migrations.CreateModel(
            name="LabelIssue",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(choices=labeling.models.issue.issue_kind_choices, max_length=30)),
                ("label_quality", models.FloatField(help_text="0..1, low = likely wrong.", null=True)),
                ("reason", models.CharField(max_length=300)),
                (
                    "image",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="issues", to="labeling.image"
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="issues", to="labeling.run"
                    ),
                ),
                (
                    "suggested_class",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="labeling.taxonomyclass",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="image",
            name="current_class",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="labeling.taxonomyclass"
            ),
        ),
        migrations.AddField(
            model_name="image",
            name="given_class",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="labeling.taxonomyclass"
            ),
        ),
        migrations.CreateModel(
            name="Verdict",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(choices=labeling.models.review.verdict_kind_choices, max_length=20)),
                ("key", models.UUIDField(default=uuid.uuid4, unique=True)),
                ("shown_quality", models.FloatField(null=True)),
                ("seconds", models.FloatField(help_text="From seeing the image to deciding.", null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "image",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="verdicts", to="labeling.image"
                    ),
                ),
                (
                    "label",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="labeling.taxonomyclass",
                    ),
                ),
                (
                    "reviewer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="verdicts",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "shown_suggestion",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="labeling.taxonomyclass",
                    ),
                ),
                (
                    "undoes",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="undone_by",
                        to="labeling.verdict",
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="ReleaseEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sha256", models.CharField(max_length=64)),
                ("split", models.CharField(max_length=20)),
                ("label_quality", models.FloatField(null=True)),
                (
                    "image",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="labeling.image"
                    ),
                ),
                (
                    "release",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="entries", to="labeling.release"
                    ),
                ),
                (
                    "label",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="labeling.taxonomyclass"
                    ),
                ),
                (
                    "verdict",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="labeling.verdict"
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="imageroot",
            constraint=models.UniqueConstraint(fields=("dataset", "path"), name="image_root_once"),
        ),
        migrations.AddConstraint(
            model_name="membership",
            constraint=models.UniqueConstraint(fields=("dataset", "person"), name="membership_once"),
        ),
        migrations.AddConstraint(
            model_name="claim",
            constraint=models.UniqueConstraint(fields=("item", "slot"), name="claim_slot_once"),
        ),
        migrations.AddConstraint(
            model_name="claim",
            constraint=models.UniqueConstraint(fields=("item", "reviewer"), name="claim_reviewer_once"),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "running")), fields=("dataset", "kind"), name="run_one_running_of_a_kind"
            ),
        ),
        migrations.AddConstraint(
            model_name="release",
            constraint=models.UniqueConstraint(fields=("dataset", "major", "minor"), name="release_version_once"),
        ),
        migrations.AddIndex(
            model_name="prediction",
            index=models.Index(fields=["model_version", "embedding_row"], name="prediction_row"),
        ),
        migrations.AddConstraint(
            model_name="prediction",
            constraint=models.UniqueConstraint(fields=("image", "model_version"), name="prediction_once"),
        ),
        migrations.AddConstraint(
            model_name="foldprediction",
            constraint=models.UniqueConstraint(fields=("run", "image"), name="fold_prediction_once"),
        ),
        migrations.AddConstraint(
            model_name="runrefusal",
            constraint=models.UniqueConstraint(fields=("run", "path", "code"), name="refusal_once"),
        ),
        migrations.AddConstraint(
            model_name="skip",
            constraint=models.UniqueConstraint(fields=("item", "reviewer"), name="skip_once"),
        ),
        migrations.AddConstraint(
            model_name="source",
            constraint=models.UniqueConstraint(fields=("dataset", "name"), name="source_once"),
        ),
        migrations.AddConstraint(
            model_name="modelversion",
            constraint=models.UniqueConstraint(fields=("name", "version"), name="model_version_once"),
        ),
        migrations.AddConstraint(
            model_name="taxonomyclass",
            constraint=models.UniqueConstraint(fields=("taxonomy", "index"), name="class_index_once"),
        ),
        migrations.AddConstraint(
            model_name="taxonomyclass",
            constraint=models.UniqueConstraint(fields=("taxonomy", "name"), name="class_name_once"),
        ),
        migrations.AddIndex(
            model_name="reviewitem",
            index=models.Index(
                condition=models.Q(("state", "settled"), _negated=True),
                fields=["dataset", "label_quality", "id"],
                name="item_queue",
            ),
        ),
        migrations.AddIndex(
            model_name="reviewitem",
            index=models.Index(fields=["dataset", "suspected", "state"], name="item_progress"),
        ),
        migrations.AddConstraint(
            model_name="reviewitem",
            constraint=models.CheckConstraint(
                condition=models.Q(("label_quality__gte", 0), ("label_quality__lte", 1)), name="item_quality_0_1"
            ),
        ),
        migrations.AddConstraint(
            model_name="labelissue",
            constraint=models.UniqueConstraint(fields=("run", "image", "kind"), name="issue_once"),
        ),
        migrations.AddIndex(
            model_name="image",
            index=models.Index(fields=["dataset", "split", "given_class"], name="image_split_class"),
        ),
        migrations.AddIndex(
            model_name="image",
            index=models.Index(fields=["dataset", "sha256"], name="image_sha256"),
        ),
        migrations.AddConstraint(
            model_name="image",
            constraint=models.UniqueConstraint(fields=("root", "path"), name="image_path_once"),
        ),
        migrations.AddConstraint(
            model_name="image",
            constraint=models.CheckConstraint(
                condition=models.Q(("split__in", ["", "train", "validation", "test"])), name="image_split_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="image",
            constraint=models.CheckConstraint(
                condition=models.Q(("height__gt", 0), ("width__gt", 0)), name="image_has_pixels"
            ),
        ),
        migrations.AddIndex(
            model_name="verdict",
            index=models.Index(fields=["image", "id"], name="verdict_image"),
        ),
        migrations.AddIndex(
            model_name="verdict",
            index=models.Index(fields=["reviewer", "-id"], name="verdict_reviewer"),
        ),
        migrations.AddConstraint(
            model_name="verdict",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "undo"), ("undoes__isnull", False)),
                    models.Q(models.Q(("kind", "undo"), _negated=True), ("undoes__isnull", True)),
                    _connector="OR",
                ),
                name="verdict_undo_names_verdict",
            ),
        ),
        migrations.AddConstraint(
            model_name="verdict",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "relabel"), ("label__isnull", False)),
                    models.Q(models.Q(("kind", "relabel"), _negated=True), ("label__isnull", True)),
                    _connector="OR",
                ),
                name="verdict_relabel_names_class",
            ),
        ),
        migrations.AddConstraint(
            model_name="releaseentry",
            constraint=models.UniqueConstraint(fields=("release", "image"), name="release_image_once"),
        ),
        migrations.AddConstraint(
            model_name="releaseentry",
            constraint=models.UniqueConstraint(fields=("release", "sha256"), name="release_bytes_once"),
        ),
        migrations.AddConstraint(
            model_name="releaseentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("split__in", ("train", "validation", "test"))), name="release_split_known"
            ),
        ),
    ]
