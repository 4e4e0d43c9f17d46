"""Defence: how many requests each client of the intake may send."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision: str | None = "0007"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Let `client` have a rate."""
    op.add_column("client", sa.Column("rate_limit", sa.String(length=20), nullable=True))
