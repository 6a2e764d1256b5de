"""The GPU form of the shipped voice, made from the bundle's own files: its int8 weights are multiplied out.

No torch and no checkpoint: numpy and onnx. `python -m models.gpu_graphs` writes the graphs. A graph here is one that
ONNX Runtime's CUDA provider captures whole: no node on the host, no copy to or from it, no cuDNN, sampling and state
inside.
"""
