"""In an environment with Ray: streams over parlando's app while it is deployed anew, and while replicas come and go.

    python -m tests.deployment.ray_drill redeploy|autoscale [--streams N] [--seconds S]

Prints one line of JSON: streams, cut, and what else was seen. Everything stays on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

WINDOW_S = 5
os.environ |= {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(WINDOW_S),
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "600",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PARLANDO_SHED": "false",
    "PARLANDO_DRAIN_S": "540",
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2] / "deploy/ray"), str(Path(__file__).parents[2])]),
}
sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)

import ray
from ray import serve
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

PORT = int(os.environ.get("RAY_DRILL_PORT", "18123"))
WORDS = "One word after the other keeps this reply alive until its very last word has been heard. ".split()


async def stream(seconds: float, begun: asyncio.Event) -> bool:
    """Feeds words for so long. Whether it ended as it should."""
    url = f"ws://127.0.0.1:{PORT}/v1/audio/speech/ws"
    async with connect(url, subprotocols=[Subprotocol("parlando.v1")], compression=None, open_timeout=60) as socket:

        async def feed() -> None:
            loop = asyncio.get_running_loop()
            until_s = loop.time() + seconds
            number = 0
            while loop.time() < until_s:
                await socket.send(json.dumps({"type": "append", "text": WORDS[number % len(WORDS)] + " "}))
                number += 1
                await asyncio.sleep(0.4)
            await socket.send(json.dumps({"type": "end"}))

        feeding = asyncio.create_task(feed())
        try:
            async for message in socket:
                if isinstance(message, bytes):
                    begun.set()
                elif json.loads(message)["type"] in ("done", "error"):
                    return bool(json.loads(message)["type"] == "done")
        finally:
            feeding.cancel()
    return False


async def streams(count: int, seconds: float, then: Any) -> int:
    """How many were cut, while `then` happens to their server."""
    begun = [asyncio.Event() for _ in range(count)]
    running = [asyncio.create_task(stream(seconds, one)) for one in begun]
    for one in begun:
        await asyncio.wait_for(one.wait(), 120)
    happening = asyncio.create_task(then())
    ended = await asyncio.gather(*running, return_exceptions=True)
    await happening
    return sum(one is not True for one in ended)


def deploy(version: str, **options: Any) -> None:
    from app import Parlando

    serve.run(Parlando.options(user_config=None, **options).bind(max_ttfa_s=0.25 if version == "a" else 0.26))


async def redeploy(count: int, seconds: float) -> dict[str, Any]:
    await asyncio.to_thread(deploy, "a", num_replicas=1, ray_actor_options={"num_cpus": 0.5})

    async def anew() -> None:
        await asyncio.to_thread(deploy, "b", num_replicas=1, ray_actor_options={"num_cpus": 0.5})

    return {"window_s": WINDOW_S, "cut": await streams(count, seconds, anew)}


async def autoscale(count: int, seconds: float) -> dict[str, Any]:
    scaling = {
        "min_replicas": 1,
        "max_replicas": 2,
        "target_ongoing_requests": count / 2,
        "upscale_delay_s": 1,
        "downscale_delay_s": 5,
    }
    await asyncio.to_thread(deploy, "a", autoscaling_config=scaling, ray_actor_options={"num_cpus": 0.5})
    seen = [replicas()]

    async def look() -> None:
        while True:
            await asyncio.sleep(0.5)
            if (now := await asyncio.to_thread(replicas)) != seen[-1]:
                seen.append(now)

    async def nothing() -> None:
        pass

    looking = asyncio.create_task(look())
    # Most listeners leave after a third of the time: then a replica is too many, and the others are on both.
    cut = await asyncio.gather(streams(count // 4, seconds, nothing), streams(count - count // 4, seconds / 3, nothing))
    async with asyncio.timeout(120):
        while seen[-1] != 1:
            await asyncio.sleep(0.5)
    looking.cancel()
    return {"replicas": seen, "cut": sum(cut)}


def replicas() -> int:
    (application,) = serve.status().applications.values()
    (deployment,) = application.deployments.values()
    return deployment.replica_states.get("RUNNING", 0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("drill", choices=["redeploy", "autoscale"])
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=40)
    asked = parser.parse_args()
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    try:
        drill = {"redeploy": redeploy, "autoscale": autoscale}[asked.drill]
        found = asyncio.run(drill(asked.streams, asked.seconds))
        print(json.dumps({"drill": asked.drill, "streams": asked.streams, "seconds": asked.seconds, **found}))
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
