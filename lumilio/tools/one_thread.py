"""Imported by the decoders' fork server before any library: one thread for each of them that would take all processors.

Decoders already run side by side, and OpenMP's threads do not survive a fork. The libraries read these variables when
they are loaded, which is why importing this module sets them; nothing else may import it.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", VIPS_CONCURRENCY="1")
