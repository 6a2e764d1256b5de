// A pretended driver: the one function that ONNX Runtime links, the one that says a driver is there, and those that tell
// the nodes of a graph.
#include <cstddef>

#define API extern "C" __attribute__((visibility("default")))

extern "C" size_t drycuda_graph_nodes(void* graph, void** nodes);
extern "C" const char* drycuda_kernel_name(void* node);  // null for another node

API int cuInit(unsigned) { return 0; }
API int cuTensorMapEncodeTiled(...) { return 0; }

API int cuGraphGetNodes(void* graph, void** nodes, size_t* count) {
    *count = drycuda_graph_nodes(graph, nodes);
    return 0;
}
API int cuGraphNodeGetType(void* node, int* type) {
    *type = drycuda_kernel_name(node) == nullptr;  // 0: a kernel
    return 0;
}
API int cuGraphKernelNodeGetParams_v2(void* node, void** parameters) {  // the function is first
    parameters[0] = node;
    return 0;
}
API int cuFuncGetName(const char** name, void* node) {
    *name = drycuda_kernel_name(node);
    return 0;
}
