"""What stops the making of a voice: always theirs to mend, so the message is all they see.

Refused
├── ManifestError         the list of recordings is wrong
├── TooManyLeftOutError   sounds and texts do not go together
├── TooFewError           too little is left to train on
├── OtherDataError        the work folder belongs to other speech
├── OtherEncoderError     a file is of codes that the codec no longer gives
└── StageFailedError      the process of a stage failed; its output names the cause
"""

from __future__ import annotations


class Refused(Exception):
    pass
