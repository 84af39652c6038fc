// CUDA's half precision, as far as CubeCL's text uses it: g++ rounds each operation to 16 bits, as SM61 does.
#pragma once
#include "pairs.h"

typedef _Float16 __half;
typedef kiln::Pair<__half> __half2;

KILN_HALF_FUNCTIONS(__half)
