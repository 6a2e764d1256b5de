"""From nothing to a voice that ships: python -m models.make_voice --work DIR --out BUNDLE

    tools      compile the teacher's program
    speak      the teacher speaks hours of text, some of it twice   (CPU, about 50 times real time per core)
    prepare    trim, pitch, phone times
    times      more speech and single words, of which only the phone times are kept
    codec      train encoder, quantiser and vocoder; the two renderings of a text are drawn to the same codes
    encode     speech to codes
    vocoder    train the decoder further against a discriminator; the codes stay as they are
    durations  train how long phones last
    lm         train the speech language model
    forecast   train what stands beside it and drafts for it, on what it says itself
    export     write the bundle, check it against torch, make it int8

With `--teacher kokoro` (docs/natural-voice.md) Kokoro-82M speaks in the first two stages, and budgets are steps:

    kokoro_speak    hours of speech in blocks, into a folder that plans share     (CPU, 1.6 times real time per core)
    kokoro_prepare  trim, phone times, pitch
    kokoro_times    phone times of more text, which is not spoken
    kokoro_unspoken codes of more text, behind `encode`, at a fifteenth of the cost of speech

With `--data MANIFEST` (docs/own-voice.md) the voice is the user's own, and the first four stages are one:

    recordings  read, check against their texts, find each phone

Each stage but the last leaves a file and is skipped when that file is there; training stages checkpoint every minute
and go on from their checkpoint, so the whole command can be killed and run again. What is made of codes names the
codec's encoder; when the codec has gone on since, the files to delete are listed. `--smoke` does all of it in a minute
on the committed fixture instead of fresh speech.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines.text import FrontEnd
from models import voice_stages as stages
from models.packages import cache_folder
from models.recordings.errors import Refused
from models.recordings.manifest import MIN_VOICE_MINUTES, Manifest, read_manifest
from models.voice_plan import BUDGETS, FIXTURE, FORECAST_ROUNDS, HOURS, KOKORO_FIXTURE, NATURAL_WORK, STEPS, Plan
from models.voice_stages import console
from models.whole_files import replace_file

IN_ROUNDS = {"forecast": f", all {FORECAST_ROUNDS} rounds together"}


class OtherDataError(Refused):
    pass


class BadHoursError(Refused):
    pass


class UnknownStageError(Refused):
    pass


def _stages(plan: Plan) -> list[tuple[Callable[[Plan], None], str]]:
    """Up to the export, each with what says that it is done."""
    speech: list[tuple[Callable[[Plan], None], str]] = []
    unspoken: list[tuple[Callable[[Plan], None], str]] = []
    if plan.data is not None:
        speech = [(stages.recordings, "prepared")]
    elif plan.teacher == "kokoro":
        speech = [(stages.kokoro_prepare, "prepared")]
        if not plan.smoke:
            speech.insert(0, (stages.kokoro_speak, "spoken"))
            speech.append((stages.kokoro_times, "times/done"))
            unspoken = [(stages.kokoro_unspoken, "more.pkl")]
    elif not plan.smoke:
        speech = [
            (stages.tools, "teacher/flite_times"),
            (stages.speak, "teacher/done"),
            (stages.prepare, "prepared"),
            (stages.times, "times/done"),
        ]
    return [
        *speech,
        (stages.codec, "codec.done"),
        (stages.encode, "codes.pkl"),
        *unspoken,
        (stages.vocoder, "vocoder.done"),
        (stages.durations, "durations.done"),
        (stages.lm, "lm.done"),
        (stages.forecast, "forecast.pt"),
    ]


def _refuse_other_data(plan: Plan) -> None:
    """A work folder holds what came of one collection of speech, in smoke form or whole."""
    path, speech = plan.work / "data.json", {"data": plan.data.sha256 if plan.data else None}
    if plan.teacher != "flite":
        speech |= {"teacher": plan.teacher, "voices": ",".join(plan.voices)}
    asked = speech | {"smoke": plan.smoke, "hours": plan.hours}
    if path.exists() or any((plan.work / product).exists() for _, product in _stages(plan)):
        held: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"data": None}
        # A folder may be older than what is recorded of it.
        smoke, hours = held.pop("smoke", plan.smoke), held.pop("hours", plan.hours)
        instead = "give another --work, or --fresh to delete it"
        if smoke != plan.smoke:
            form = "a smoke run, which trains nothing to the end" if smoke else "a voice in full, not a smoke run"
            raise OtherDataError(f"{plan.work} holds {form}; {instead}")
        if held != speech:
            raise OtherDataError(f"{plan.work} holds a voice from other speech; {instead}")
        if list(hours.items()) != list(plan.hours.items()):  # their order numbers the voices
            begun = ",".join(f"{voice}:{some:g}" for voice, some in hours.items())
            raise OtherDataError(f"{plan.work} was begun with --hours {begun}; give these, or {instead}")
    replace_file(path, (json.dumps(asked) + "\n").encode())


def run(plan: Plan, *, fresh: bool, until: str | None = None) -> None:
    """`until` names the last stage to run; the others wait for another call."""
    if fresh and plan.work.exists():
        shutil.rmtree(plan.work)
    plan.work.mkdir(parents=True, exist_ok=True)
    _refuse_other_data(plan)
    for stage, product in _stages(plan):
        if (plan.work / product).exists():
            console.print(f"[dim]{stage.__name__}: there already")
        else:
            console.rule(stage.__name__)
            stage(plan)
        if stage is stages.codec:
            stages.refuse_old_codes(plan)
        if stage.__name__ == until:
            return
    console.rule("export")
    stages.export(plan)  # each time
    console.print(f"bundle written to {plan.out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the manifest of your own recordings: docs/own-voice.md")
    parser.add_argument("--teacher", choices=list(HOURS), default="flite", help="whose speech the voice imitates")
    parser.add_argument("--work", type=Path, help="default: natural-voice, own-voice or voice, in work/")
    parser.add_argument("--spoken", type=Path, help="of Kokoro: its speech, by default in the cache folder")
    parser.add_argument("--disk-gb", type=float, default=4.0, help="of that folder, at most")
    parser.add_argument("--out", type=Path, help="default: bundle in the work folder")
    parser.add_argument("--hours", help="hours of teacher speech for each voice, e.g. " + HOURS["kokoro"])
    for part, (usual, smoke) in BUDGETS.items():
        what = "CPU minutes" + IN_ROUNDS.get(part, "")
        parser.add_argument(f"--{part}-minutes", type=float, help=f"{what}: {usual:g}, with --smoke {smoke:g}")
    for part, (steps, few) in STEPS.items():
        what = "of a Kokoro voice" + IN_ROUNDS.get(part, "")
        parser.add_argument(f"--{part}-steps", type=int, help=f"{what}: {steps}, with --smoke {few}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="a minute's run, on the committed fixture without --data")
    parser.add_argument("--until", help="the last stage to run, for example codec")
    parser.add_argument("--fresh", action="store_true", help="delete the work folder first")
    arguments = parser.parse_args()
    try:
        data = _own_data(arguments.data, smoke=arguments.smoke) if arguments.data else None
        plan = _plan(arguments, data)
        names = [stage.__name__ for stage, _ in _stages(plan)]
        if arguments.until not in (None, *names):
            raise UnknownStageError(f"--until {arguments.until}: the stages are {', '.join(names)}")
        run(plan, fresh=arguments.fresh, until=arguments.until)
    except Refused as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)


def _own_data(path: Path, *, smoke: bool) -> Manifest:
    found = read_manifest(path, FrontEnd.load(), 0.0 if smoke else MIN_VOICE_MINUTES)
    for warning in found.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    for voice, seconds in found.voices.items():
        console.print(f"{voice}: {seconds / 60:.1f} minutes in the manifest")
    return found


def _plan(arguments: argparse.Namespace, data: Manifest | None) -> Plan:
    kokoro = arguments.teacher == "kokoro"
    if kokoro and data is not None:
        raise OtherDataError("--teacher kokoro and --data are two origins of speech; give one")
    if data is not None:
        hours = {voice: seconds / 3600 for voice, seconds in data.voices.items()}
    else:
        hours = _hours(arguments.hours or HOURS[arguments.teacher])
        if arguments.smoke and kokoro:
            hours = {voice: share for voice, share in hours.items() if any(KOKORO_FIXTURE.glob(f"*-{voice}.npz"))}
        elif arguments.smoke:
            hours = {voice: share for voice, share in hours.items() if (FIXTURE / f"{voice}.jsonl").exists()}
    asked = {part: getattr(arguments, f"{part}_minutes") for part in BUDGETS}
    minutes = {part: BUDGETS[part][arguments.smoke] if own is None else own for part, own in asked.items()}
    asked_steps = {part: getattr(arguments, f"{part}_steps") for part in STEPS}
    steps = {part: STEPS[part][arguments.smoke] if own is None else own for part, own in asked_steps.items()}
    usual = cache_folder() / "voice-kokoro" / "speech"
    work = arguments.work or (Path("work", "own-voice") if data else NATURAL_WORK if kokoro else Path("work", "voice"))
    return Plan(
        work=work,
        out=arguments.out or work / "bundle",
        hours=hours,
        codec_minutes=minutes["codec"],
        duration_minutes=minutes["duration"],
        vocoder_minutes=minutes["vocoder"],
        lm_minutes=minutes["lm"],
        forecast_minutes=minutes["forecast"],
        threads=arguments.threads,
        smoke=arguments.smoke,
        teacher=arguments.teacher,
        steps=steps if kokoro else None,
        spoken=KOKORO_FIXTURE if arguments.smoke else arguments.spoken or usual,
        disk_gb=arguments.disk_gb,
        data=data,
    )


def _hours(text: str) -> dict[str, float]:
    """voice:hours,..."""
    found = {}
    for part in text.split(","):
        voice, _, hours = part.partition(":")
        try:
            found[voice] = float(hours)
        except ValueError:
            raise BadHoursError(f"--hours has {part!r}; it needs voice:hours, for example af_heart:10") from None
    return found


if __name__ == "__main__":
    main()
