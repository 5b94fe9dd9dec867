"""Every metric of Lumilio, in Prometheus terms. The only module that imports prometheus_client.

Definitions are module-level, as that library intends; nothing is measured at import.
"""

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest

REQUESTS = Counter("lumilio_http_requests_total", "HTTP requests answered", ["route", "method", "status"])
REQUEST_SECONDS = Histogram("lumilio_http_request_seconds", "Time to answer an HTTP request", ["route", "method"])
UPLOADED_BYTES = Counter("lumilio_uploaded_bytes_total", "Bytes received and made durable in staging")
UPLOADS = Counter("lumilio_uploads_total", "Files received", ["outcome"])

JOBS_FINISHED = Counter("lumilio_jobs_finished_total", "Attempts that ended", ["kind", "outcome"])
JOB_SECONDS = Histogram("lumilio_job_seconds", "Run time of an attempt", ["kind"])
JOBS_RUNNING = Gauge("lumilio_jobs_running", "Jobs that run in this process", ["queue"])
JOBS_RESCUED = Counter("lumilio_jobs_rescued_total", "Jobs taken back from dead or frozen workers")
QUEUE_DEPTH = Gauge("lumilio_queue_jobs", "Jobs that are not final", ["queue", "state"])

ASSETS_COMMITTED = Counter("lumilio_assets_committed_total", "Assets that became part of the library", ["kind"])
PROBLEMS = Counter("lumilio_problems_total", "Files for which a step failed", ["code"])


def exposition() -> bytes:
    """All metrics in the Prometheus text format, version 0.0.4."""
    return generate_latest(REGISTRY)
