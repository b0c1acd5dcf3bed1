"""Who is owed which message, what became of it, and how it is sent."""

from gd.outbox.delivery import Delivered, deliver
from gd.outbox.lifecycle import Row, State, Stuck
from gd.outbox.store import LeaseLostError, Outbox, OutboxError

__all__ = ["Delivered", "LeaseLostError", "Outbox", "OutboxError", "Row", "State", "Stuck", "deliver"]
