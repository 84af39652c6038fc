// Between a kernel and the program around it, which are compiled apart: the latter once for all kernels.
#pragma once
#include <cstddef>

extern "C" size_t kiln_count_arguments();
extern "C" void kiln_run(void** arguments);
