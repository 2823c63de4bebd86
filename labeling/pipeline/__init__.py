"""The only bridge from the domain to `inference`: importing, scoring, finding issues, cutting releases.

Each function is one run (or one cut): it reads through the ORM, computes with `inference`, and writes through
`actions`, chunk by chunk, so that a killed run goes on where it stopped.
"""

from inference.errors import InferenceError

__all__ = ["InferenceError"]
