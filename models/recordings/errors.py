"""What stops the making of a voice from a user's recordings: always theirs to mend, so the message is all they see.

Refused
├── ManifestError         the list of recordings is wrong
├── TooManyLeftOutError   sounds and texts do not go together
├── TooFewError           too little is left to train on
└── OtherDataError        the work folder belongs to other speech
"""

from __future__ import annotations


class Refused(Exception):
    pass
