"""The message: who hears of a run, what it says, what is attached, and the bytes that go over the wire."""

from gd.mail.digest import Digest, Item
from gd.mail.message import Address, Kind, Letter, Mailing, compose, headings, notice, refused

__all__ = ["Address", "Digest", "Item", "Kind", "Letter", "Mailing", "compose", "headings", "notice", "refused"]
