"""Two signatures as in Uptane: the director says what a device runs, the image metadata what may run at all.

On the server: AnswerSigner signs for each device; ImageRepository publishes what people signed offline. On the device:
Gate takes an answer and says what may be installed. Nothing here downloads a task's files or installs them.
"""

from walle_deploy.trust.answer import EXCLUSIVE, ROLLBACK, Answer, AnswerSigner, AnswerTask, Director
from walle_deploy.trust.both import Approved, Decision, Gate, Installed, approve
from walle_deploy.trust.fetch import FolderTransport, HttpTransport, Transport
from walle_deploy.trust.images import Image, ImageClient, Limits
from walle_deploy.trust.keys import (
    PublicKey,
    SigningKey,
    load_key,
    load_public,
    make_key,
    new_key,
    rotate_key,
)
from walle_deploy.trust.repository import ImageRepository
from walle_deploy.trust.shelf import Lifetimes, RoleKeys
from walle_deploy.trust.state import TrustState
from walle_deploy.trust.verify import AnswerVerifier

__all__ = [
    "EXCLUSIVE",
    "ROLLBACK",
    "Answer",
    "AnswerSigner",
    "AnswerTask",
    "AnswerVerifier",
    "Approved",
    "Decision",
    "Director",
    "FolderTransport",
    "Gate",
    "HttpTransport",
    "Image",
    "ImageClient",
    "ImageRepository",
    "Installed",
    "Lifetimes",
    "Limits",
    "PublicKey",
    "RoleKeys",
    "SigningKey",
    "Transport",
    "TrustState",
    "approve",
    "load_key",
    "load_public",
    "make_key",
    "new_key",
    "rotate_key",
]
