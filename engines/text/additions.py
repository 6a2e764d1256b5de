"""Words that came after the teacher, in its phones. Data only.

Listed are words whose reading by the letter rules is wrong enough to hurt.
"""

from __future__ import annotations

ADDED_WORDS: dict[str, str] = {
    "_a": "ey1",  # the letter's name, as firm as those of other letters
    # With a capital letter; see `capital_words`.
    "_mobile": "m ow0 b iy1 l",
    "_nice": "n iy1 s",
    "_polish": "p ow1 l ih0 sh",
    "_reading": "r eh1 d ih0 ng",
    "async": "ey1 s ih1 ng k",
    "atorvastatin": "ax0 t ao1 r v ax0 s t ae1 t ax0 n",
    "buffet": "b ax0 f ey1",
    "buffets": "b ax0 f ey1 z",
    "chatbot": "ch ae1 t b aa1 t",
    "creme": "k r eh1 m",
    "debian": "d eh1 b iy0 ax0 n",
    "deja": "d ey1 zh aa0",
    "emoji": "ih0 m ow1 jh iy0",
    "emojis": "ih0 m ow1 jh iy0 z",
    "exposay": "eh2 k s p ow0 z ey1",
    "gigabyte": "g ih1 g ax0 b ay1 t",
    "gigabytes": "g ih1 g ax0 b ay1 t s",
    "github": "g ih1 t hh ah1 b",
    "hashtag": "hh ae1 sh t ae1 g",
    "instagram": "ih1 n s t ax0 g r ae1 m",
    "iphone": "ay1 f ow1 n",
    "jpeg": "jh ey1 p eh1 g",
    "json": "jh ey1 s ax0 n",
    "kubernetes": "k uw1 b er0 n eh1 t iy0 z",
    "linux": "l ih1 n ax0 k s",
    "lisinopril": "l ay0 s ih1 n ax0 p r ih0 l",
    "login": "l ao1 g ih1 n",
    "megabit": "m eh1 g ax0 b ih1 t",
    "megabits": "m eh1 g ax0 b ih1 t s",
    "ng": "eh1 ng",  # a family's name
    "nginx": "eh1 n jh ax0 n eh1 k s",
    "oaxaca": "w ax0 hh aa1 k ax0",
    "oxycodone": "aa1 k s iy0 k ow1 d ow0 n",
    "patay": "p aa0 t ey1",
    "quinoa": "k iy1 n w aa0",
    "resumay": "r eh1 z ax0 m ey2",  # as `folding` writes résumé and the like
    "resumays": "r eh1 z ax0 m ey2 z",
    "rosay": "r ow0 z ey1",
    "rosays": "r ow0 z ey1 z",
    "schema": "s k iy1 m ax0",
    "spotify": "s p aa1 t ax0 f ay1",
    "terabyte": "t eh1 r ax0 b ay1 t",
    "terabytes": "t eh1 r ax0 b ay1 t s",
    "tiktok": "t ih1 k t aa1 k",
    "uber": "uw1 b er0",
    "ubuntu": "uw0 b uh1 n t uw0",
    "vegan": "v iy1 g ax0 n",
    "wegovy": "w ax0 g ow1 v iy0",
    "whatsapp": "w ah1 t s ae1 p",
    "wifi": "w ay1 f ay1",
    "yaml": "y ae1 m ax0 l",
}
