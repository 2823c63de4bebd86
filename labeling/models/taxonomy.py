"""Taxonomies: versioned, explicitly ordered class lists."""

from typing import ClassVar

from django.db import models


class Taxonomy(models.Model):
    """One version of a class list; a changed list is a new version, never an edit."""

    slug = models.SlugField(max_length=60)
    version = models.PositiveIntegerField(default=1)
    title = models.CharField(max_length=200)
    content_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["slug", "version"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["slug", "version"], name="taxonomy_version_once"),
            models.UniqueConstraint(fields=["slug", "content_hash"], name="taxonomy_content_once"),
        ]

    def __str__(self) -> str:
        return f"{self.slug} v{self.version}"


class TaxonomyClass(models.Model):
    """A class of a taxonomy. `index` is its place in a model's output; folders never decide it."""

    taxonomy = models.ForeignKey(Taxonomy, on_delete=models.CASCADE, related_name="classes")
    index = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=100)
    group = models.CharField(max_length=100)
    harm_rank = models.PositiveSmallIntegerField(default=0)
    guideline = models.TextField(blank=True)
    aliases = models.JSONField(default=list)

    class Meta:
        ordering: ClassVar = ["taxonomy", "index"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["taxonomy", "index"], name="class_index_once"),
            models.UniqueConstraint(fields=["taxonomy", "name"], name="class_name_once"),
        ]

    def __str__(self) -> str:
        return self.name
