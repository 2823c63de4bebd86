"""The entry point for gunicorn and other WSGI servers."""

import gc
import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "reviewer.settings")
application = get_wsgi_application()

# Everything that the first requests would load is loaded here, and then taken out of the garbage collector's sight: a
# full collection walks half a million objects that never go away, and stops a process for 0.1 s each time.
_ = get_resolver().url_patterns
gc.collect()
gc.freeze()
