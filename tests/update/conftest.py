"""Sites of real processes, as the integration tests have them."""

from __future__ import annotations

from tests.integration.conftest import make_world, provisioned, pytest_runtest_makereport

__all__ = ["make_world", "provisioned", "pytest_runtest_makereport"]
