"""The frames in which a vocoder of ours speaks. Here and not in `models.excitation`, so that graphs can be made
without torch.

                 frame f sees samples [160 f - 352, 160 f + 160)
        ------|======================|------
              ^ look-back            ^ newest sample of hop f
"""

from __future__ import annotations

SAMPLE_RATE_HZ = 16_000
HOP = 160
WINDOW = 512
LOOK_BACK = WINDOW - HOP  # samples of the past that a frame needs
BINS = WINDOW // 2 + 1
TURN = 2**32  # of a phase
