"""Our kernels for ONNX Runtime (cpu_kernels/): where the library lies, which forms run here, and the choice of one.

A form is the same arithmetic for one class of processors. Integer sums, and so products, have the same bits in all of
them; attention's last bits differ from form to form. The library keeps the choice, so it is made and used under a lock.
"""

from __future__ import annotations

import ctypes
import platform
import threading
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import ConfigError

if TYPE_CHECKING:
    from engines.runtime.ort import ort

AUTO, OFF = "auto", "off"
FORMS = ("avx512", "avx2")  # the quickest first
CHOICES = (AUTO, OFF, *FORMS)
DOMAIN = "parlando"  # of our operators
FOLDED = "parlando.folded"  # in the metadata of a graph that has nodes for our kernels

_choosing = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels:
    """What a session is given: a form of ours, or none, and why."""

    form: str | None
    why_not: str = ""
    has_products: bool = True  # else they are the runtime's

    @property
    def name(self) -> str:
        if self.form is None:
            return f"the runtime's: {self.why_not}"
        return f"ours, {self.form}" if self.has_products else f"ours, {self.form}; products the runtime's, with AMX"

    def register(self, options: ort.SessionOptions) -> None:
        """Makes a session of these options run them."""
        if self.form is None:
            return
        with _choosing:
            _library().parlando_choose(self.form.encode())
            options.register_custom_ops_library(library_file())


def library_file() -> str | None:
    """The file of our kernels; None where no compiler was at hand when this package was installed."""
    found = find_spec("engines.runtime._kernels")
    return found.origin if found else None


@cache
def _library() -> ctypes.CDLL:
    file = library_file()
    assert file is not None, "asked only where there is one"
    library = ctypes.CDLL(file)
    library.parlando_form.restype = ctypes.c_char_p
    return library


def runs(form: str) -> bool:
    """Whether this processor runs that form, and it was compiled."""
    return library_file() is not None and bool(_library().parlando_runs(form.encode()))


def choose(wanted: str) -> Kernels:
    """The kernels for a setting. Raises ConfigError where it names a form that does not run here."""
    if wanted not in CHOICES:
        raise ConfigError(f"own_kernels is {wanted!r}; it is one of {', '.join(CHOICES)}")
    if wanted == OFF:
        return Kernels(form=None, why_not="own_kernels is off")
    here = [form for form in FORMS if runs(form)]
    reason = "ours were not compiled at the installation, which wants a C compiler on x86-64"
    if library_file() is not None:
        reason = "this processor has no AVX2 with FMA and F16C"
    if wanted == AUTO and not here:
        return Kernels(form=None, why_not=reason)
    if wanted not in (AUTO, *here):
        can = f"this machine runs {' and '.join(here)}" if here else reason
        raise ConfigError(f"own_kernels is {wanted}, which does not run here: {can}; auto takes the quickest that does")
    form = here[0] if wanted == AUTO else wanted
    return Kernels(form=form, has_products=bool(_library().parlando_has_products(form.encode())))


@cache
def instruction_class() -> str:
    """The widest of the instructions that the runtime asks a processor for."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    widest = ("amx_int8", "avx512_vnni", "avx512f", "avx_vnni", "avx2", "i8mm", "asimddp")
    return next((name for name in widest if name in flags), platform.machine())
