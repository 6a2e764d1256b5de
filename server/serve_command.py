"""`parlando serve`. Its engines are started first, and what serving needs is imported while they load.

So this file imports little; `server/__main__.py` takes it alone when the command is `serve`.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from engines.config import MAX_DRAFT_TOLERANCE
from engines.errors import ParlandoError
from server.engine.launch import launch_all
from server.path_option import BundlePath, path
from server.settings import EngineMode, Settings, unknown_variables

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def _parlando() -> None:
    """So that the command has its name."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [8000].")] = None,
    bundle: BundlePath = None,
    engine_mode: Annotated[EngineMode | None, typer.Option(help="Engine in a process [default] or a thread.")] = None,
    pronunciations: Annotated[
        Path | None, typer.Option(parser=path, help="A folder of pronunciation dictionaries.")
    ] = None,
    voices: Annotated[
        Path | None, typer.Option(parser=path, help="A folder of cloned voices, to which clients may add.")
    ] = None,
    slots: Annotated[int | None, typer.Option(help="Streams at once [128].")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda [auto].")] = None,
    gpu_form: Annotated[
        Path | None, typer.Option(parser=path, help="A folder that `parlando export-gpu` wrote.")
    ] = None,
    deterministic: Annotated[
        bool | None, typer.Option(help="On a GPU: the same seed, the same bits; the cost is logged [off].")
    ] = None,
    draft_tolerance: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MAX_DRAFT_TOLERANCE,
            help="Keep drafts this many levels off; above 0 a seed does not fix the audio [0].",
        ),
    ] = None,
    wyoming_port: Annotated[int | None, typer.Option(help="Serve Wyoming (Home Assistant) on this TCP port.")] = None,
    ssl_certfile: Annotated[
        Path | None, typer.Option(parser=path, help="PEM certificate; with it the server speaks TLS.")
    ] = None,
    ssl_keyfile: Annotated[
        Path | None, typer.Option(parser=path, help="PEM key, unless the certificate's file holds it.")
    ] = None,
) -> None:
    """Starts the server. Every flag is also a PARLANDO_* variable."""
    given = {
        "host": host,
        "port": port,
        "bundle": bundle,
        "engine_mode": engine_mode,
        "pronunciations": pronunciations,
        "voices": voices,
        "slots": slots,
        "device": device,
        "gpu_form": gpu_form,
        "deterministic": deterministic,
        "draft_tolerance": draft_tolerance,
        "wyoming_port": wyoming_port,
        "ssl_certfile": ssl_certfile,
        "ssl_keyfile": ssl_keyfile,
    }
    with ExitStack() as until_served:
        try:
            settings = Settings.with_flags({name: value for name, value in given.items() if value is not None})
            launched = launch_all(settings)
            for one in launched:
                until_served.callback(one.discard)
            from server import logs
            from server.app import create_app
            from server.serving import serve as run

            logs.configure(json=sys.stderr is None or not sys.stderr.isatty())
            for name, near in unknown_variables().items():
                logs.get_logger().warning("unknown_setting", variable=name, did_you_mean=near)

            run(create_app(settings, launched=launched), settings)
        except (ParlandoError, OSError, ValueError) as error:
            _stop(error)


def _stop(error: Exception) -> None:
    from rich.console import Console

    err = Console(stderr=True, markup=False, highlight=False)
    err.print("error", style="red", end=" ")
    err.print(str(error), soft_wrap=True)
    raise typer.Exit(1)
