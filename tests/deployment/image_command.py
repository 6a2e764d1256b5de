"""Prints how a test starts the image that was built last, for `python -m loadtests.start_up --command`. As root.

    python -m loadtests.start_up --command "$(python -m tests.deployment.image_command)"

The root is read-only, the user has no rights, and the container stays until `buildah rm` takes it.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.deployment.test_image import IMAGE, buildah, configuration, start_command


def main() -> None:
    container = Path(buildah("mount", buildah("from", IMAGE)))
    print(shlex.join(start_command(container, configuration(IMAGE), "{port}")))


if __name__ == "__main__":
    main()
