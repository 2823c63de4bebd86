"""Winnow's library for images and models: arrays and files in, arrays and files out; no Django anywhere.

Importing this package, or anything in it, never loads TensorFlow. Only functions in `inference.models` that
convert a model do, and they run in a process of their own (`python -m inference.models.build`).
"""
