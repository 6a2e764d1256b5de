// A pretended cuRAND: ONNX Runtime links the library and calls nothing in it.
extern "C" __attribute__((visibility("default"))) int curand_is_pretended() { return 1; }
