"""Dictionaries that have crossed the pipe to the engine, so that each crosses once and not with every utterance.

Both ends keep a cache, see the same submits in the same order and evict by the same rule: what one folds to a label,
the other can unfold.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from engines.messages import Submit
from engines.text import PronunciationDictionary

MAX_BYTES = 32 * 2**20


class DictionaryCache:
    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._kept: OrderedDict[tuple[str, str], PronunciationDictionary] = OrderedDict()

    def fold(self, submit: Submit) -> Submit:
        """The sender's: what the other end has goes without its entries."""
        folded = []
        for one in submit.option("pronunciations", ()):
            known = self._key(one) in self._kept
            self._keep(one)
            folded.append(replace(one, parts=()) if known else one)
        return submit.asking(pronunciations=tuple(folded))

    def unfold(self, submit: Submit) -> Submit:
        """The receiver's."""
        found = []
        for one in submit.option("pronunciations", ()):
            whole = self._kept[self._key(one)] if one.num_entries and not one.parts else one
            self._keep(whole)
            found.append(whole)
        return submit.asking(pronunciations=tuple(found))

    @staticmethod
    def _key(dictionary: PronunciationDictionary) -> tuple[str, str]:
        return dictionary.name, dictionary.version

    def _keep(self, dictionary: PronunciationDictionary) -> None:
        """As the last used one; the longest unused leave."""
        key = self._key(dictionary)
        if self._kept.pop(key, None) is None:
            self._bytes += dictionary.packed_bytes
        self._kept[key] = dictionary
        while self._bytes > self._max_bytes and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].packed_bytes
