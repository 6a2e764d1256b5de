"""From nothing to the shipped voice: python -m models.make_voice --work DIR --out BUNDLE

    tools      compile the teacher's program
    speak      the teacher speaks hours of text, some of it twice   (CPU, about 50 times real time per core)
    prepare    trim, pitch, phone times
    times      more speech and single words, of which only the phone times are kept
    codec      train encoder, quantiser and vocoder; the two renderings of a text are drawn to the same codes
    encode     speech to codes
    vocoder    train the decoder further against a discriminator; the codes stay as they are
    durations  train how long phones last
    lm         train the speech language model
    export     write the bundle, check it against torch, make it int8
    samples    what the exported LM itself says
    drafts     train heads that foresee it, add them to the bundle

With `--data MANIFEST` (docs/own-voice.md) the voice is the user's own, and the first four stages are one:

    recordings  read, check against their texts, find each phone

Each stage leaves a file and is skipped when that file is there; training stages checkpoint every minute and go on from
their checkpoint, so the whole command can be killed and run again. `--smoke` does all of it in a minute on the
committed fixture instead of fresh speech.
"""

from __future__ import annotations

import argparse
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from engines.text import FrontEnd
from models.recordings.errors import Refused
from models.recordings.manifest import MIN_VOICE_MINUTES, Manifest, read_manifest

console = Console()
FIXTURE = Path(__file__).resolve().parent.parent / "tests" / "voice" / "fixture"
PAIRED_SHARE = 0.1  # of the hours, in texts that are spoken twice
MORE_TIMES = 0.5  # of the hours: texts of which only the phone times are kept
SHORT_PER_HOUR = 1500  # letters and words alone, likewise
BUDGETS = {  # CPU minutes: of a voice, of a smoke run
    "codec": (110.0, 0.25),
    "duration": (10.0, 0.1),
    "vocoder": (60.0, 0.15),
    "lm": (110.0, 0.15),
    "draft": (20.0, 0.1),
}
LIBRARIES = ("cmu_us_rms", "cmu_us_slt", "cmu_us_awb", "cmu_us_kal16", "usenglish", "cmulex")


class OtherDataError(Refused):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    work: Path
    out: Path
    hours: dict[str, float]
    codec_minutes: float
    duration_minutes: float
    vocoder_minutes: float
    lm_minutes: float
    draft_minutes: float
    threads: int
    smoke: bool
    data: Manifest | None = None  # the user's own recordings

    @property
    def voices(self) -> list[str]:
        return list(self.hours)

    @property
    def shares(self) -> str:
        total = sum(self.hours.values())
        return ",".join(f"{voice}:{hours / total:.3f}" for voice, hours in self.hours.items())

    @property
    def speech(self) -> Path:
        return FIXTURE if self.smoke and self.data is None else self.work / "speech"


def tools(plan: Plan) -> None:
    source = Path(__file__).with_name("teacher") / "flite_speak.c"
    target = plan.work / "teacher" / "flite_speak"
    target.parent.mkdir(parents=True, exist_ok=True)
    libraries = [f"-lflite_{name}" for name in LIBRARIES] + ["-lflite", "-lm"]
    subprocess.run(["gcc", "-O2", "-Wall", "-o", str(target), str(source), *libraries], check=True)


def speak(plan: Plan) -> None:
    tasks = [(voice, twice) for voice in plan.voices for twice in (False, True)]
    with ThreadPoolExecutor(plan.threads) as pool:
        list(pool.map(lambda task: _speak(plan, *task), tasks))
    (plan.work / "teacher" / "done").touch()


def _speak(plan: Plan, voice: str, twice: bool) -> None:
    from models.teacher import corpus

    folder = plan.work / ("teacher/pairs" if twice else "teacher")
    folder.mkdir(exist_ok=True)
    seconds = plan.hours[voice] * 3600 * (PAIRED_SHARE if twice else 1)
    jobs = corpus.jobs(voice, seconds, plan.voices.index(voice) + 1 + 100 * twice, twice=twice)
    lines = "".join(f"{name}\t{stretch}\t{text}\n" for name, stretch, text in jobs)
    program = (plan.work / "teacher" / "flite_speak").resolve()
    command = [str(program), str(folder / f"{voice}.pcm"), str(folder / f"{voice}.jsonl")]
    subprocess.run(command, input=lines.encode(), check=True)


def prepare(plan: Plan) -> None:
    from models.teacher import prepare as preparation

    for voice in plan.voices:
        seconds = preparation.prepare(plan.work / "teacher", plan.speech, voice)
        preparation.prepare(plan.work / "teacher" / "pairs", plan.work / "pairs", voice)
        console.print(f"{voice}: {seconds / 3600:.2f} h")
    (plan.work / "prepared").touch()


def recordings(plan: Plan) -> None:
    from models.recordings.collect import collect, refuse_few
    from models.teacher import prepare as preparation

    assert plan.data is not None
    raw = plan.work / "recordings"
    if not (raw / "report.json").exists():
        collect(plan.data, raw, plan.threads)
    for voice in plan.voices:
        seconds = preparation.prepare(raw, plan.speech, voice)
        refuse_few(plan.speech, voice)
        console.print(f"{voice}: {seconds / 60:.1f} minutes of speech")
    (plan.work / "prepared").touch()


def codec(plan: Plan) -> None:
    arguments = ["--data", str(plan.speech), "--voices", plan.shares, "--out", str(plan.work / "codec.pt")]
    if plan.data is not None:
        arguments += ["--disturbed", "--agreement", "0.5"]
    elif not plan.smoke:
        arguments += ["--pairs", str(plan.work / "pairs"), "--agreement", "0.5"]
    _train("models.train_codec", arguments, plan.codec_minutes, plan.threads)
    (plan.work / "codec.done").touch()


def encode(plan: Plan) -> None:
    from models.encode import encode as encode_speech
    from models.encode import load_codec

    examples = encode_speech(plan.speech, load_codec(plan.work / "codec.pt"), plan.voices)
    (plan.work / "codes.pkl").write_bytes(pickle.dumps(examples))


def vocoder(plan: Plan) -> None:
    shares = ",".join(f"{voice}:1" for voice in plan.voices)  # the voice of fewest hours is furthest from its teacher
    arguments = ["--data", str(plan.speech), "--voices", shares, "--out", str(plan.work / "vocoder.pt")]
    arguments += ["--codec", str(plan.work / "codec.pt"), "--codes", str(plan.work / "codes.pkl")]
    _train("models.train_vocoder", arguments, plan.vocoder_minutes, plan.threads)
    (plan.work / "vocoder.done").touch()


def lm(plan: Plan) -> None:
    paths = ["--codes", str(plan.work / "codes.pkl"), "--out", str(plan.work / "lm.pt")]
    _train("models.train_lm", paths, plan.lm_minutes, plan.threads)
    (plan.work / "lm.done").touch()


def times(plan: Plan) -> None:
    from models.teacher.timed import speak_times

    program = plan.work / "teacher" / "flite_speak"
    for voice in plan.voices:
        seconds = plan.hours[voice] * 3600 * MORE_TIMES
        short = round(plan.hours[voice] * SHORT_PER_HOUR)
        speak_times(program, plan.work / "times", voice, seconds, short, plan.voices.index(voice) + 201)
    (plan.work / "times" / "done").touch()


def durations(plan: Plan) -> None:
    paths = ["--codes", str(plan.work / "codes.pkl"), "--out", str(plan.work / "durations.pt")]
    if not plan.smoke and plan.data is None:
        paths += ["--times", str(plan.work / "times"), "--voices", ",".join(plan.voices)]
    _train("models.train_durations", paths, plan.duration_minutes, plan.threads)
    (plan.work / "durations.done").touch()


def export(plan: Plan) -> None:
    from models.finish import finish, from_recordings
    from models.parity import TOLERANCE
    from models.quantise_bundle import quantise_bundle

    # A minute's training leaves F0 at the edge of its range, where last-bit differences grow along the phase.
    tolerance = 1e-2 if plan.smoke else TOLERANCE
    trained = [plan.work / name for name in ("vocoder.pt", "lm.pt", "durations.pt")]
    origin = from_recordings(plan.voices, plan.data.sha256) if plan.data else None
    finish(trained[0], trained[1], trained[2], plan.voices, plan.out, tolerance=tolerance, origin=origin)
    quantise_bundle(plan.out, pickle.loads((plan.work / "codes.pkl").read_bytes()))


def samples(plan: Plan) -> None:
    from models.own_samples import draw

    examples = pickle.loads((plan.work / "codes.pkl").read_bytes())
    drawn = draw(plan.out, examples, 2_000 if plan.smoke else 800_000)
    (plan.work / "own.pkl").write_bytes(pickle.dumps(drawn))


def drafts(plan: Plan) -> None:
    from models.export_drafts import export_drafts, load_heads
    from models.finish import load_lm

    own, heads = plan.work / "own.pkl", plan.work / "drafts.pt"
    paths = ["--lm", str(plan.work / "lm.pt"), "--samples", str(own), "--out", str(heads)]
    _train("models.train_drafts", paths, plan.draft_minutes, plan.threads)
    export_drafts(plan.out, load_lm(plan.work / "lm.pt")[0], load_heads(heads), pickle.loads(own.read_bytes()))


def _train(module: str, arguments: list[str], minutes: float, threads: int) -> None:
    """A process of its own, so that its CPU time is its own."""
    budget = ["--cpu-minutes", str(minutes), "--threads", str(threads), "--resume"]
    subprocess.run([sys.executable, "-m", module, *arguments, *budget], check=True)


def _stages(plan: Plan) -> list[tuple[Callable[[Plan], None], str]]:
    """Up to the export, each with what says that it is done."""
    speech: list[tuple[Callable[[Plan], None], str]] = []
    if plan.data is not None:
        speech = [(recordings, "prepared")]
    elif not plan.smoke:
        speech = [(tools, "teacher/flite_speak"), (speak, "teacher/done"), (prepare, "prepared"), (times, "times/done")]
    return [
        *speech,
        (codec, "codec.done"),
        (encode, "codes.pkl"),
        (vocoder, "vocoder.done"),
        (durations, "durations.done"),
        (lm, "lm.done"),
    ]


def _refuse_other_data(plan: Plan) -> None:
    """A work folder holds what came of one collection of speech."""
    path, ours = plan.work / "data.json", {"data": plan.data.sha256 if plan.data else None}
    theirs = json.loads(path.read_text()) if path.exists() else None
    started = path.exists() or any((plan.work / product).exists() for _, product in _stages(plan))
    if started and (theirs or {"data": None}) != ours:
        raise OtherDataError(
            f"{plan.work} holds a voice from other speech; give another --work, or --fresh to delete it"
        )
    path.write_text(json.dumps(ours) + "\n")


def run(plan: Plan, *, fresh: bool) -> None:
    if fresh and plan.work.exists():
        shutil.rmtree(plan.work)
    plan.work.mkdir(parents=True, exist_ok=True)
    _refuse_other_data(plan)
    for stage, product in _stages(plan):
        if (plan.work / product).exists():
            console.print(f"[dim]{stage.__name__}: there already")
            continue
        console.rule(stage.__name__)
        stage(plan)
    for last in (export, samples, drafts):  # each time: the bundle is made anew, trained heads go on from their file
        console.rule(last.__name__)
        last(plan)
    console.print(f"bundle written to {plan.out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the manifest of your own recordings: docs/own-voice.md")
    parser.add_argument("--work", type=Path, help="default: work/voice, with --data work/own-voice")
    parser.add_argument("--out", type=Path, help="default: bundle in the work folder")
    parser.add_argument(
        "--hours", default="rms:8,slt:4.5,awb:4.5,kal16:2.5", help="hours of teacher speech for each voice"
    )
    for part, (usual, smoke) in BUDGETS.items():
        parser.add_argument(f"--{part}-minutes", type=float, help=f"CPU minutes: {usual:g}, with --smoke {smoke:g}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="a minute's run, on the committed fixture without --data")
    parser.add_argument("--fresh", action="store_true", help="delete the work folder first")
    arguments = parser.parse_args()
    try:
        data = _own_data(arguments.data, smoke=arguments.smoke) if arguments.data else None
        run(_plan(arguments, data), fresh=arguments.fresh)
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
    if data is not None:
        hours = {voice: seconds / 3600 for voice, seconds in data.voices.items()}
    else:
        hours = {part.split(":")[0]: float(part.split(":")[1]) for part in arguments.hours.split(",")}
        if arguments.smoke:
            hours = {voice: share for voice, share in hours.items() if (FIXTURE / f"{voice}.jsonl").exists()}
    asked = {part: getattr(arguments, f"{part}_minutes") for part in BUDGETS}
    minutes = {part: BUDGETS[part][arguments.smoke] if own is None else own for part, own in asked.items()}
    work = arguments.work or Path("work/own-voice" if data else "work/voice")
    return Plan(
        work=work,
        out=arguments.out or work / "bundle",
        hours=hours,
        codec_minutes=minutes["codec"],
        duration_minutes=minutes["duration"],
        vocoder_minutes=minutes["vocoder"],
        lm_minutes=minutes["lm"],
        draft_minutes=minutes["draft"],
        threads=arguments.threads,
        smoke=arguments.smoke,
        data=data,
    )


if __name__ == "__main__":
    main()
