"""From nothing to the shipped voice: python -m models.make_voice --work DIR --out BUNDLE

    tools    compile the teacher's program
    speak    the teacher speaks hours of text          (CPU, about 50 times real time per core)
    prepare  trim, pitch, phone times
    codec    train encoder, quantiser and vocoder
    encode   speech to codes
    lm       train the speech language model
    export   write the bundle, check it against torch

Each stage leaves a file and is skipped when that file is there; training stages checkpoint every minute and go on from
their checkpoint, so the whole command can be killed and run again. `--smoke` does all of it in a minute on the
committed fixture instead of fresh speech.
"""

from __future__ import annotations

import argparse
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

console = Console()
FIXTURE = Path(__file__).resolve().parent.parent / "tests" / "voice" / "fixture"
LIBRARIES = ("cmu_us_rms", "cmu_us_slt", "cmu_us_awb", "cmu_us_kal16", "usenglish", "cmulex")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    work: Path
    out: Path
    hours: dict[str, float]
    codec_minutes: float
    lm_minutes: float
    threads: int
    smoke: bool

    @property
    def voices(self) -> list[str]:
        return list(self.hours)

    @property
    def speech(self) -> Path:
        return FIXTURE if self.smoke else self.work / "speech"


def tools(plan: Plan) -> None:
    source = Path(__file__).with_name("teacher") / "flite_speak.c"
    target = plan.work / "teacher" / "flite_speak"
    target.parent.mkdir(parents=True, exist_ok=True)
    libraries = [f"-lflite_{name}" for name in LIBRARIES] + ["-lflite", "-lm"]
    subprocess.run(["gcc", "-O2", "-Wall", "-o", str(target), str(source), *libraries], check=True)


def speak(plan: Plan) -> None:
    with ThreadPoolExecutor(plan.threads) as pool:
        list(pool.map(lambda voice: _speak(plan, voice), plan.voices))
    (plan.work / "teacher" / "done").touch()


def _speak(plan: Plan, voice: str) -> None:
    from models.teacher import corpus

    folder = plan.work / "teacher"
    jobs = corpus.jobs(voice, plan.hours[voice] * 3600, plan.voices.index(voice) + 1)
    lines = "".join(f"{name}\t{stretch}\t{text}\n" for name, stretch, text in jobs)
    command = [str((folder / "flite_speak").resolve()), str(folder / f"{voice}.pcm"), str(folder / f"{voice}.jsonl")]
    subprocess.run(command, input=lines.encode(), check=True)


def prepare(plan: Plan) -> None:
    from models.teacher import prepare as preparation

    for voice in plan.voices:
        seconds = preparation.prepare(plan.work / "teacher", plan.speech, voice)
        console.print(f"{voice}: {seconds / 3600:.2f} h")
    (plan.work / "prepared").touch()


def codec(plan: Plan) -> None:
    shares = ",".join(f"{voice}:{0.6 if index == 0 else 0.4}" for index, voice in enumerate(plan.voices))
    _train(
        "models.train_codec",
        ["--data", str(plan.speech), "--voices", shares, "--out", str(plan.work / "codec.pt")],
        plan.codec_minutes,
        plan.threads,
    )
    (plan.work / "codec.done").touch()


def encode(plan: Plan) -> None:
    from models.encode import encode as encode_speech
    from models.encode import load_codec

    examples = encode_speech(plan.speech, load_codec(plan.work / "codec.pt"), plan.voices)
    (plan.work / "codes.pkl").write_bytes(pickle.dumps(examples))


def lm(plan: Plan) -> None:
    paths = ["--codes", str(plan.work / "codes.pkl"), "--out", str(plan.work / "lm.pt")]
    _train("models.train_lm", paths, plan.lm_minutes, plan.threads)
    (plan.work / "lm.done").touch()


def export(plan: Plan) -> None:
    from models.finish import finish
    from models.parity import TOLERANCE

    # A minute's training leaves F0 at the edge of its range, where last-bit differences grow along the phase.
    tolerance = 1e-2 if plan.smoke else TOLERANCE
    finish(plan.work / "codec.pt", plan.work / "lm.pt", plan.voices, plan.out, tolerance=tolerance)


def _train(module: str, arguments: list[str], minutes: float, threads: int) -> None:
    """A process of its own, so that its CPU time is its own."""
    budget = ["--cpu-minutes", str(minutes), "--threads", str(threads), "--resume"]
    subprocess.run([sys.executable, "-m", module, *arguments, *budget], check=True)


def run(plan: Plan, *, fresh: bool) -> None:
    if fresh and plan.work.exists():
        shutil.rmtree(plan.work)
    plan.work.mkdir(parents=True, exist_ok=True)
    stages: list[tuple[Callable[[Plan], None], str]] = [
        (tools, "teacher/flite_speak"),
        (speak, "teacher/done"),
        (prepare, "prepared"),
        (codec, "codec.done"),
        (encode, "codes.pkl"),
        (lm, "lm.done"),
    ]
    for stage, product in stages[3 if plan.smoke else 0 :]:
        if (plan.work / product).exists():
            console.print(f"[dim]{stage.__name__}: there already")
            continue
        console.rule(stage.__name__)
        stage(plan)
    console.rule("export")
    export(plan)
    console.print(f"bundle written to {plan.out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("work/voice"))
    parser.add_argument("--out", type=Path, default=Path("work/voice/bundle"))
    parser.add_argument("--hours", default="rms:7,slt:3.5", help="hours of teacher speech for each voice")
    parser.add_argument("--codec-minutes", type=float, default=110, help="CPU minutes")
    parser.add_argument("--lm-minutes", type=float, default=110, help="CPU minutes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="a minute's run on the committed fixture")
    parser.add_argument("--fresh", action="store_true", help="delete the work folder first")
    arguments = parser.parse_args()
    hours = {part.split(":")[0]: float(part.split(":")[1]) for part in arguments.hours.split(",")}
    plan = Plan(
        work=arguments.work,
        out=arguments.out,
        hours=hours,
        codec_minutes=0.25 if arguments.smoke else arguments.codec_minutes,
        lm_minutes=0.15 if arguments.smoke else arguments.lm_minutes,
        threads=arguments.threads,
        smoke=arguments.smoke,
    )
    run(plan, fresh=arguments.fresh)


if __name__ == "__main__":
    main()
