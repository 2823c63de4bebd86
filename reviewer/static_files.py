"""How static files are named once they are collected."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ModuleStaticFilesStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """WhiteNoise's, whose names carry a hash of the content, also where one of our modules imports another.

    So no browser ever joins a new module with an old one that it kept. Django can do this for every module, but not
    all that libraries bring can be read by its pattern; so it is done for the folder that needs it.
    """

    patterns = (
        *CompressedManifestStaticFilesStorage.patterns,
        ("review/*.js", ((r"""(?P<matched>from "(?P<url>\./\w+\.js)";)""", 'from "%(url)s";'),)),
    )
