"""The attention store on disk: written step by step, resumed, validated, opened."""

from attnscope.storage.check import validate_store
from attnscope.storage.header import StoreHeader
from attnscope.storage.root import STORE_NAME, locate_store, require_store
from attnscope.storage.store import Store, open_store, resume_or_create

__all__ = [
    "STORE_NAME",
    "Store",
    "StoreHeader",
    "locate_store",
    "open_store",
    "require_store",
    "resume_or_create",
    "validate_store",
]
