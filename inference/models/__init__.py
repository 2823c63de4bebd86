"""Models: where they come from, what is known of them (sidecar), their compiled form and how to run it."""
