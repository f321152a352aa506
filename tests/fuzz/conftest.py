from __future__ import annotations

import importlib.util

# Runs in `tox -e fuzz`, whose environment has it.
collect_ignore = [] if importlib.util.find_spec("schemathesis") else ["test_openapi.py"]
