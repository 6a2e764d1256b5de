"""Which capital words are spelled letter by letter, which are read as words.

The lexicon cannot tell, because it leaves out every word that the letter rules say right. So: lists for what is well
known, then length and vowels.
"""

from __future__ import annotations

import re

from engines.text.word_lists import word_list

_SPELLED = frozenset(
    word_list(
        "usa us uk eu un uae fbi cia nsa irs atm api apis url urls cpu cpus gpu gpus ai ml tv pc pcs id ids faq ceo "
        "cto cfo coo pdf html http https xml css sql sms gps dna rna vip diy dvd cd cds hr pr qa ui ux os io ip am "
        "pm tts llm llms asr nlp rpg fps usb ssd hdd lcd led ucla mit bbc cnn abc nbc cbs nba nfl nhl mlb hiv phd "
        "mba kgb gmt utc est pst edt ibm bmw amd att hp ios sdk ide ssh ftp tcp udp dns vpn isp iot ar vr pos rsvp "
        "fyi eta asl ufo suv ac dc dj mc mvp nyc la dc emt icu er pta iq iou ngo gop ussr wwii wifi mri ct ekg ada "
        "csv json yaml tls ssl oauth jwt ui aws gcp ios npm svg rgb hdmi aes rsa eur usd gbp abcd iou ota oem obe "
        "apr epa fda fcc faa fema nih cdc who imf wto wwf nypd lapd omg imho idk asap lax iban "
        "usps dob uuid uuids imei imeis aarp usaa aclu usda uscis aspca eeoc iaea iirc ged pov poc hov dod"
    )
) - {"wifi", "est", "who", "la", "json", "yaml", "oauth", "fema", "ada", "asap", "pos"}
_WORDS_OF_TWO = frozenset(
    word_list("ah am an as at be by do eh er go ha he hi if in is it me my no of oh ok on or ow ox so to up us we ye")
)
_WORDS_OF_THREE = frozenset(
    word_list(
        "act add age ago aid aim air all and ant any ape arm art ash ask ate aye bad bag ban bar bat bay bed bee "
        "beg bet big bin bit bow box boy bud bug bun bus but buy bye cab can cap car cat cop cow cry cup cut dad "
        "dam day den dew did die dig dim dip dog dot dry due dug dye ear eat egg ego elf end era eve eye fan far "
        "fat fax fed fee few fig fin fit fix fly foe fog for fox fun fur gap gas gem get gin god got gum gun gut "
        "guy gym had ham has hat hay hen her hey hid him hip his hit hog hop hot how hub hug hum hut ice ill ink "
        "inn ion its ivy jam jar jaw jet job joe jog joy key kid kin kit lab lad lap law lay leg let lid lie lip "
        "lit log lot low mad man map mat may men met mix mob mom mud mug nap net new nor not now nut oak odd off "
        "oil old one our out owe owl own pad pan pay pea pen pet pie pig pin pit pop pot pub put ram ran rat raw "
        "ray red rib rid rip rob rod rot row rub rug run sad sat saw say sea see set sew sex she shy sin sip sir "
        "sit six ski sky sly son sow spa spy sub sue sum sun tab tag tan tap tar tax tea ten the tie tin tip toe "
        "ton too top toy try tub two use van vet via vow wad war was wax way web wed wet who why wig win wit won "
        "yes yet you zip zoo ram apt rom nan amp san von les ali ann amy bob jim ken kim lee max ray roy sam ted tim "
        "tom una ave est aka"
    )
)
_AMBIGUOUS = frozenset(word_list("us it am pm un os er who led"))  # words when the words around are capitals too
_SPELLED_SMALL = frozenset(
    word_list(
        "ai idk omg imo imho irl api apis url urls cpu cpus gpu gpus ipv usb faq faqs diy fyi iot uk usa eu ui "
        "uuid uuids imei usps"
    )
)
_SYLLABLE = re.compile(r"[bcdfghjklmnprstvwxz][aeiou][bcdfgklmnprstvxz]")
_HAS_VOWEL = re.compile(r"[aeiouy]")
_ODD_START = re.compile(
    r"(?!sh|ch|th|wh|ph|s[cklmnpqtw]|str|spr|scr|[bcfgp][lr]|[dt]r|tw|kn|wr|gn|rh|gh|sch|qu)[^aeiouy]{2}"
)
_ODD_END = re.compile(
    r"[^aeiouy]{2}(?<!ss|ll|ff|ck|ng|nk|nt|nd|mp|st|sk|sp|ld|lt|lk|lf|lm|lp|rs|rt|rd|rk|rm|rn|rl|rf|rp|ct|ft|pt|sh|ch|th|gh"
    r"|ph|ts|ns|ws|ks|ps|ms|ds|ls|bs|gs|ys|rb|zz|tt|rg|rc|nc|lb|mb|wn|wl|lc|xt)$"
)


def is_spelled(word: str, *, among_capitals: bool) -> bool:
    """Whether a word written in capitals is spelled. `word` is lower-case letters, two or more."""
    if among_capitals and word in _AMBIGUOUS:
        return False
    if word in _SPELLED or not _HAS_VOWEL.search(word):
        return True
    if len(word) == 2:
        return word not in _WORDS_OF_TWO
    if len(word) == 3:
        return word not in _WORDS_OF_THREE and not among_capitals and not _SYLLABLE.fullmatch(word)
    return len(word) <= 5 and bool(_ODD_START.match(word) or _ODD_END.search(word))


def is_spelled_small(word: str) -> bool:
    """Whether a lower-case word is spelled: without a vowel and no murmur ("hmmm"), or well known."""
    if word in _SPELLED_SMALL:
        return True
    return len(word) > 1 and not _HAS_VOWEL.search(word) and not (word in _MURMURS or _DRAWN_OUT.fullmatch(word))


_DRAWN_OUT = re.compile(r"h+m+|m+h*m+|s+h+|z+|b+r+|g+r+|p+s+t+|p+f+t*")
_MURMURS = frozenset(word_list("hmm mmm hm mm shh sh psst pst brr grr zzz tsk th nth pfft"))


def spell(letters: str) -> list[str]:
    """Names of letters; the letter a is written "_a", since "a" alone is the article."""
    return ["_a" if letter == "a" else letter for letter in letters.lower()]
