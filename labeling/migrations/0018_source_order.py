"""The images of a source in their order: PostgreSQL keeps none beside a foreign key's index, as SQLite does."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("labeling", "0017_evaluations"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="image",
            index=models.Index(fields=["source", "id"], name="image_source"),
        ),
    ]
