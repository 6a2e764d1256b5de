"""The stages of `models.make_voice`. Each reads and leaves files in the plan's work folder."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console

from models.recordings.errors import Refused
from models.voice_plan import Plan
from models.whole_files import replace_file

console = Console()
PAIRED_SHARE = 0.1  # of the hours, in texts that are spoken twice
MORE_TIMES = 5.0  # times the hours: texts of which only the phone times are kept
KOKORO_TIMES = 4.0  # likewise, beside those of the texts whose codes are known
UNSPOKEN = 4.0  # times the hours: texts whose codes are known without their sound
SHORT_PER_HOUR = 10_000  # letters and words alone, likewise
LIBRARIES = ("cmu_us_rms", "cmu_us_slt", "cmu_us_awb", "cmu_us_kal16", "usenglish", "cmulex")


class SpeechMissingError(Refused):
    pass


class StageFailedError(Refused):
    pass


def tools(plan: Plan) -> None:
    sources = Path(__file__).with_name("teacher")
    libraries = [*(f"-lflite_{name}" for name in LIBRARIES), "-lflite", "-lm", "-ldl"]
    programs = {"flite_speak": ["flite_speak.c"], "flite_times": ["flite_speak.c", "flite_times.c"]}
    folder = plan.work / "teacher"
    folder.mkdir(parents=True, exist_ok=True)
    for program, files in programs.items():
        paths = [str(sources / name) for name in files]
        subprocess.run(["gcc", "-O2", "-Wall", "-o", str(folder / program), *paths, *libraries], check=True)


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


def kokoro_speak(plan: Plan) -> None:
    """Waits for nothing that another process makes: blocks that it holds are there when it ends, or made here."""
    from models.packages import cache_folder
    from models.teachers.kokoro.generate import generate

    assert plan.spoken is not None
    if not generate(plan.hours, plan.spoken, cache_folder() / "packages", round(plan.disk_gb * 1e9)):
        raise SpeechMissingError(
            f"{plan.spoken} lacks blocks: another process still makes some, or the disk budget of {plan.disk_gb:g} GB "
            "is used up; run this again, with a larger --disk-gb if that is why"
        )
    (plan.work / "spoken").touch()


def kokoro_prepare(plan: Plan) -> None:
    from models.teachers.kokoro.prepare import prepare

    assert plan.spoken is not None
    for voice in plan.voices:
        seconds = prepare(plan.spoken, plan.speech, voice, plan.hours[voice])
        console.print(f"{voice}: {seconds / 3600:.2f} h")
    (plan.work / "prepared").touch()


def kokoro_times(plan: Plan) -> None:
    from models.packages import cache_folder
    from models.teachers.kokoro.speaker import Speaker
    from models.teachers.kokoro.texts import Texts
    from models.teachers.kokoro.times import times

    hours = {voice: some * KOKORO_TIMES for voice, some in plan.hours.items()}  # no sound and no codes: cheaper still
    times(plan.work / "times", hours, Speaker(cache_folder() / "packages", plan.threads), Texts())
    (plan.work / "times" / "done").touch()


def recordings(plan: Plan) -> None:
    from models.recordings.collect import collect, refuse_few
    from models.teacher import prepare as preparation

    assert plan.data is not None
    raw = plan.work / "recordings"
    if not (raw / "done").exists():
        collect(plan.data, raw, plan.threads)
        (raw / "done").touch()
    for voice in plan.voices:
        seconds = preparation.prepare(raw, plan.speech, voice, natural=True)
        refuse_few(plan.speech, voice)
        console.print(f"{voice}: {seconds / 60:.1f} minutes of speech")
    (plan.work / "prepared").touch()


def codec(plan: Plan) -> None:
    arguments = ["--data", str(plan.speech), "--voices", plan.shares, "--out", str(plan.work / "codec.pt")]
    if plan.data is not None or plan.teacher == "kokoro":  # one rendering of each text
        arguments += ["--disturbed", "--agreement", "0.5"]
    elif not plan.smoke:
        arguments += ["--pairs", str(plan.work / "pairs"), "--agreement", "0.5"]
    if plan.teacher == "kokoro":  # its voices say more than codes alone hold
        arguments += ["--sees-text"]
    _train("models.train_codec", arguments, plan, "codec", plan.codec_minutes)
    (plan.work / "codec.done").touch()


def encode(plan: Plan) -> None:
    from models.code_files import Coded, write_codes
    from models.encode import encode as encode_speech
    from models.encode import load_codec
    from models.encoder_hash import encoder_sha256

    codec = load_codec(plan.work / "codec.pt")
    examples = encode_speech(plan.speech, codec, plan.voices)
    write_codes(plan.work / "codes.pkl", Coded(encoder_sha256=encoder_sha256(codec), examples=examples))


def refuse_old_codes(plan: Plan) -> None:
    """A codec that has gone on says other codes, and each later product would otherwise be taken for done."""
    from models.code_files import refuse_old_codes
    from models.encode import load_codec
    from models.encoder_hash import encoder_sha256

    refuse_old_codes(plan.work, encoder_sha256(load_codec(plan.work / "codec.pt")))


def kokoro_unspoken(plan: Plan) -> None:
    from models.code_files import write_codes
    from models.packages import cache_folder
    from models.teachers.kokoro.listener import load_listener
    from models.teachers.kokoro.speaker import Speaker
    from models.teachers.kokoro.texts import Texts
    from models.teachers.kokoro.unspoken import load_unspoken, unspoken

    trained, folder = plan.work / "listener.pt", plan.work / "unspoken"
    arguments = ["--speech", str(plan.spoken), "--codec", str(plan.work / "codec.pt"), "--out", str(trained)]
    _train(
        "models.teachers.kokoro.train_listener", [*arguments, "--voices", ",".join(plan.voices)], plan, "listener", 15
    )
    hours = {voice: some * UNSPOKEN for voice, some in plan.hours.items()}
    speaker, (listener, encoder) = Speaker(cache_folder() / "packages", plan.threads), load_listener(trained)
    if not unspoken(hours, folder, speaker, listener, encoder, Texts()):
        raise SpeechMissingError(f"{folder} lacks blocks that another process still makes; run this again when it ends")
    write_codes(plan.work / "more.pkl", load_unspoken(folder, plan.voices, encoder))


def vocoder(plan: Plan) -> None:
    shares = ",".join(f"{voice}:1" for voice in plan.voices)  # the voice of fewest hours is furthest from its teacher
    arguments = ["--data", str(plan.speech), "--voices", shares, "--out", str(plan.work / "vocoder.pt")]
    arguments += ["--codec", str(plan.work / "codec.pt"), "--codes", str(plan.work / "codes.pkl")]
    _train("models.train_vocoder", arguments, plan, "vocoder", plan.vocoder_minutes)
    (plan.work / "vocoder.done").touch()


def lm(plan: Plan) -> None:
    paths = ["--codes", str(plan.work / "codes.pkl"), "--out", str(plan.work / "lm.pt")]
    if plan.teacher == "kokoro" and not plan.smoke:
        paths += ["--more", str(plan.work / "more.pkl")]
    _train("models.train_lm", paths, plan, "lm", plan.lm_minutes)
    (plan.work / "lm.done").touch()


def times(plan: Plan) -> None:
    from models.teacher.timed import speak_times

    program = plan.work / "teacher" / "flite_times"
    for voice in plan.voices:
        seconds = plan.hours[voice] * 3600 * MORE_TIMES
        short = round(plan.hours[voice] * SHORT_PER_HOUR)
        speak_times(program, plan.work / "times", voice, seconds, short, plan.voices.index(voice) + 201)
    (plan.work / "times" / "done").touch()


def durations(plan: Plan) -> None:
    coded = [str(path) for name in ("codes.pkl", "more.pkl") if (path := plan.work / name).exists()]
    paths = ["--codes", *coded, "--out", str(plan.work / "durations.pt")]
    if not plan.smoke and plan.data is None:
        paths += ["--times", str(plan.work / "times"), "--voices", ",".join(plan.voices)]
    _train("models.train_durations", paths, plan, "duration", plan.duration_minutes)
    (plan.work / "durations.done").touch()


def forecast(plan: Plan) -> None:
    """In rounds: what the LM with the forecast so far says, and a forecast trained on that."""
    from engines.families.phone_pointer.bundle import load_bundle
    from models.code_files import Coded, read_codes, write_codes
    from models.own_samples import draw

    codes = read_codes(plan.work / "codes.pkl")
    before: Path | None = None
    for number in range(1, plan.forecast_rounds + 1):
        samples, trained = plan.work / f"spoken-{number}.pkl", plan.work / f"forecast-{number}.pt"
        if not samples.exists():
            _export(plan, before, plan.work / "speaker")
            drawn = draw(load_bundle(plan.work / "speaker"), codes.examples, 2_000 if plan.smoke else 600_000)
            write_codes(samples, Coded(encoder_sha256=codes.encoder_sha256, examples=drawn))
        paths = ["--lm", str(plan.work / "lm.pt"), "--samples", str(samples), "--out", str(trained)]
        paths += ["--start-from", str(before)] if before else []
        _train("models.train_forecast", paths, plan, "forecast", plan.forecast_minutes)
        before = trained
    assert before is not None, "there is at least one round"
    replace_file(plan.work / "forecast.pt", before.read_bytes())


def export(plan: Plan) -> None:
    _export(plan, plan.work / "forecast.pt", plan.out)


def _export(plan: Plan, trained: Path | None, out: Path) -> None:
    from models.code_files import read_codes
    from models.export_drafts import export_drafts
    from models.finish import finish, from_recordings, imitating_kokoro, load_forecast
    from models.forecast import WEIGHT
    from models.parity import TOLERANCE
    from models.quantise_bundle import quantise_bundle

    # A minute's training leaves F0 at the edge of its range, where last-bit differences grow along the phase.
    tolerance = 1e-2 if plan.smoke else TOLERANCE
    origin = imitating_kokoro(plan.voices) if plan.teacher == "kokoro" else None
    if plan.data is not None:
        origin = from_recordings(plan.voices, plan.data.sha256)
    for stale in [*out.glob("*.onnx"), *out.glob("*.weights")]:  # of an earlier export; the manifest would not have it
        stale.unlink()
    parts = plan.work / "vocoder.pt", plan.work / "lm.pt", plan.work / "durations.pt"
    forecast = load_forecast(trained).weighted(WEIGHT) if trained else None
    lm = finish(*parts, plan.voices, out, tolerance=tolerance, origin=origin, forecast=forecast)
    quantise_bundle(out, read_codes(plan.work / "codes.pkl").examples)
    if forecast is not None:
        export_drafts(out, lm)


def _train(module: str, arguments: list[str], plan: Plan, part: str, minutes: float) -> None:
    """A process of its own, so that its CPU time is its own. The forecast's budget is of all its rounds."""
    rounds = plan.forecast_rounds if part == "forecast" else 1
    budget = ["--cpu-minutes", str(minutes / rounds), "--threads", str(plan.threads), "--resume"]
    if plan.steps is not None:
        budget += ["--steps", str(max(1, plan.steps[part] // rounds))]
    done = subprocess.run([sys.executable, "-m", module, *arguments, *budget])
    if done.returncode:
        raise StageFailedError(f"python -m {module} ended with status {done.returncode}; it says why above")
