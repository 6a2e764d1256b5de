"""The parts of `loadtests/gpu_spike.py`: what a GPU can do with the shapes this project wants to serve."""
