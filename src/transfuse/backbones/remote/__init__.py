"""Models behind an API, asked through the services' own SDKs: ``openai:MODEL`` and ``google:MODEL``.

What costs money goes through one place (`model.RemoteModel`): an answer is looked up before it is asked for, its worst
case is reserved before it is sent, and it is kept in the moment in which it is paid.
"""

from transfuse.backbones.remote.requests import Message, Reply, Request
from transfuse.data.remote_names import is_remote

__all__ = ["Message", "Reply", "Request", "is_remote"]
