"""Repositories and files on disk; knows no database and no queue."""
