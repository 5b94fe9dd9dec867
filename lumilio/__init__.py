"""Lumilio, a self-hosted library for photos, videos and audio."""

__version__ = "0.1.0"
