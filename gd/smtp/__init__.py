"""The wire: which server mail leaves by, and one message to one recipient over it."""

from gd.smtp.connection import Connection, Outcome, Result, SmtpError, check
from gd.smtp.server import Security, Server, address, from_environment

__all__ = ["Connection", "Outcome", "Result", "Security", "Server", "SmtpError", "address", "check", "from_environment"]
