from django.apps import AppConfig


class ReviewerConfig(AppConfig):
    name = "reviewer"
    verbose_name = "Reviewer"

    def ready(self) -> None:
        from reviewer import checks  # noqa: F401  (registers the start-up checks)
