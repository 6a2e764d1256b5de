"""`parlando doctor`: what serving needs on this machine, each thing looked at and tried, with the remedy."""

from __future__ import annotations

import contextlib
import http.client
import os
import platform
import re
import ssl
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engines.assemble import load_engine, open_bundle
from engines.config import DeviceChoice, EngineConfig
from engines.errors import ParlandoError
from engines.families.bundle import Bundle
from engines.runtime.installed import check_one_runtime
from server.app import VERSION, create_app
from server.doctor_gpu import gpu, weights_bytes
from server.serving import authority, check_wyoming, listen, loaded
from server.settings import Settings, unknown_variables

_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "numpy", "fastapi", "uvicorn", "websockets", "av", "soxr")
# What our kernels and the runtime's choose by.
_FEATURES = (
    "avx2", "fma", "f16c", "avx512f", "avx512vl", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm",
)  # fmt: skip
_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    what: str
    found: str
    remedy: str | None = None  # None: nothing is wrong


def findings(bundle: Path | None) -> Iterator[Finding]:
    yield Finding(what="parlando", found=f"{VERSION}, Python {platform.python_version()}, {platform.platform()}")
    yield Finding(what="packages", found=", ".join(_installed()))
    yield Finding(what="processor", found=processor())
    try:
        check_one_runtime()
    except ParlandoError as error:
        yield Finding(what="ONNX Runtime", found="installed twice", remedy=str(error))
        return
    for name, near in unknown_variables().items():
        remedy = f"did you mean {near}?" if near else "docs/configuration.md has all variables"
        yield Finding(what="settings", found=f"{name} is no setting", remedy=remedy)
    try:
        settings = Settings.with_flags({} if bundle is None else {"bundle": bundle})
    except ParlandoError as error:
        yield Finding(what="settings", found="unreadable", remedy=str(error))
        return
    yield from _voice(settings)
    yield from _served(settings)
    yield from _ports(settings)


def processor() -> str:
    """Its name, the cores that this process may use, and what its instructions offer."""
    name, offered = platform.processor() or platform.machine(), set[str]()
    if _CPUINFO.exists():
        text = _CPUINFO.read_text()
        named = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
        name = named[1] if named else name
        listed = re.search(r"^(?:flags|Features)\s*: (.+)$", text, re.MULTILINE)
        offered = set(listed[1].split()) if listed else offered
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    features = " ".join(one for one in _FEATURES if one in offered) or "no features known"
    return f"{name}, {cores} cores, {features}"


def _installed() -> Iterator[str]:
    for name in _PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            continue


def _voice(settings: Settings) -> Iterator[Finding]:
    """The bundle, then a word spoken with it: nothing else tells which kernels run."""
    try:
        bundle = open_bundle(settings.bundle)
        voices = ", ".join(voice.id for voice in bundle.voices)
        yield Finding(what="bundle", found=f"{bundle.name} ({bundle.digest[:12]}), voices {voices}, {bundle.folder}")
        yield from _speaks(settings, bundle)
    except ParlandoError as error:
        yield Finding(what="bundle", found="cannot be served", remedy=str(error))
    except Exception as error:  # a file that may not be read, too little memory: whatever it is, it is told
        yield Finding(what="bundle", found="cannot be served", remedy=f"{type(error).__name__}: {error}")


def _served(settings: Settings) -> Iterator[Finding]:
    """What `serve` would refuse: files of keys, certificates and dictionaries, names of voices."""
    try:
        app = create_app(settings)
        loaded(app, settings)
        check_wyoming(settings, app.state.parlando)
    except (ParlandoError, OSError, ValueError) as error:
        yield Finding(what="settings", found="cannot be served with", remedy=str(error))


def _speaks(settings: Settings, bundle: Bundle) -> Iterator[Finding]:
    from engines.synth import speak

    device = DeviceChoice(settings.device)
    wanted = settings.slots
    config = EngineConfig(
        slots=wanted,
        own_kernels=settings.own_kernels,
        device=device,
        gpu_form=settings.gpu_form,
        deterministic=settings.deterministic,
    )
    engine = load_engine(bundle, config)
    try:
        engine.measure()
        speak(engine, "Ready to speak.")
        spoken = speak(engine, "Ready to speak.")
        timings, stats = spoken.timings, engine.stats()
    finally:
        engine.close()
    ttfa_ms, each = 1000 * (timings.first_chunk_s - timings.first_text_s), engine.spec.bytes_per_slot
    held = engine.config.slots
    yield Finding(what="slots", found=f"memory holds {held} of the {wanted} asked for, {each / 1e6:.1f} MB each")
    for what, found, remedy in gpu(device is DeviceChoice.CUDA, each, weights_bytes(settings.gpu_form)):
        yield Finding(what=what, found=found, remedy=remedy)
    reason = engine.model.why_no_gpu if device is not DeviceChoice.CUDA else None  # which the device names
    yield Finding(what="device", found=engine.model.device + (f", since {reason}" if reason else ""))
    yield Finding(what="engine", found=f"speaks, first audio after {ttfa_ms:.1f} ms; kernels: {stats.kernels}")
    if stats.lone_rtf > 1:
        slow = f"none in real time: one takes {stats.lone_rtf:.1f} s for a second of audio, and is heard with gaps"
        yield Finding(what="streams", found=slow, remedy="a faster machine or a smaller model speaks without gaps")
    else:
        yield Finding(what="streams", found=f"{stats.capacity} at once in real time, by what was measured just now")


def _answers(settings: Settings) -> bool:
    scheme = "http" if settings.ssl_certfile is None else "https"
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unverified)
    with contextlib.suppress(OSError, http.client.HTTPException):
        url = f"{scheme}://{authority(settings.host, settings.port)}/openapi.json"
        with urllib.request.build_opener(*handlers).open(url, timeout=2) as answer:
            return b'"parlando"' in answer.read(4_096)
    return False


def _ports(settings: Settings) -> Iterator[Finding]:
    for name in ("port", "metrics_port", "wyoming_port"):
        if (port := getattr(settings, name)) is not None:
            yield _port(settings, name, port)


def _port(settings: Settings, name: str, port: int) -> Finding:
    where, what = authority(settings.host, port), name.replace("_", " ")
    try:
        listen(settings.host, port).close()
    except OSError as error:
        if name == "port" and _answers(settings):
            return Finding(what=what, found=f"{where} is taken, and a server of ours answers already")
        flag = " or --port" if name == "port" else ""
        return Finding(
            what=what, found="not available", remedy=f"{error}; give another by PARLANDO_{name.upper()}{flag}"
        )
    return Finding(what=what, found=f"{where} is free")
