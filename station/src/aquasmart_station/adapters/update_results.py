"""What became of an update, put into the operations' queue: each state of a roll-out once, whatever is repeated.

Progress is kept in another file than the queue, so the two cannot be one transaction. Instead the queue itself is
asked, within the transaction that would add to it, whether it has this result: a process that was killed between the
two repeats the step and adds nothing.
"""

from __future__ import annotations

from ..core.errors import BadOperation
from ..core.maintenance import Progress
from ..core.operations import parameters_of
from . import operation_rows
from .ops import OpsFile

UPDATE_RESULT = "update_result"
_LOOKED_AT = 500


def tell(ops: OpsFile, progress: Progress, at_ms: int) -> bool:
    """Queue the present state of an update; False where it had been queued before. Raises OpsError."""
    parameters = {
        "rollout_id": progress.rollout_id,
        "state": progress.state,
        "version": progress.version,
        "number": progress.number,
        "detail": progress.detail,
        "at_ms": at_ms,
    }
    with ops.writing() as connection:
        for each in operation_rows.of_type(connection, UPDATE_RESULT, _LOOKED_AT):
            try:
                said = parameters_of(each.parameters)
            except BadOperation:
                continue
            if (said.get("rollout_id"), said.get("state")) == (progress.rollout_id, progress.state):
                return False
        operation_rows.enqueue(connection, UPDATE_RESULT, parameters, at_ms)
    return True
