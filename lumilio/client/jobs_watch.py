"""What happens to jobs, as people and scripts follow it."""

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from lumilio.client.events import Connected, Event
from lumilio.client.job_view import JobView, view_job
from lumilio.client.jobs_display import Paper, complain, event_line


class WatchJson:
    """Events as they come, one JSON object a line."""

    def show(self, event: Connected | Event) -> None:
        """Print it, if it is about jobs."""
        match event:
            case Connected():
                self._write({"event": "connected", "url": event.url})
            case Event(name="job"):
                self._write({"event": "job", **event.document()})
            case Event(name="reset"):
                self._write({"event": "reset"})
            case _:
                pass

    def notice(self, text: str) -> None:
        """Print why nothing comes."""
        self._write({"event": "notice", "message": text})

    def _write(self, document: Mapping[str, object]) -> None:
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()


class WatchLines:
    """A line for each change of a job."""

    def __init__(self) -> None:
        self._away = True
        self._running: dict[str, JobView] = {}

    def show(self, event: Connected | Event) -> None:
        """Print it, if it tells something new: after an interruption what runs is told again."""
        match event:
            case Connected() if self._away:
                self._away = False
                complain(f"watching the jobs of {event.url}; Ctrl-C ends")
            case Event(name="job"):
                job = view_job(event.document())
                if self._running.pop(job.job_id, None) != job:
                    Paper(sys.stdout).line(event_line(job, datetime.now(UTC)))
                if job.state == "running":
                    self._running[job.job_id] = job
            case Event(name="reset"):
                self._running.clear()
                complain("some events were missed; `lumilio jobs list` shows how things stand")
            case _:
                pass

    def notice(self, text: str) -> None:
        """Print why nothing comes."""
        self._away = True
        complain(text)
