// The part of CUDA's runtime header that CubeCL's text uses, for g++ on the host. One unit (thread) is one fiber of units.h.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "units.h"

#define __global__
#define __device__
#define __host__
#define __shared__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

#define threadIdx (kiln::current->position)
#define blockIdx (kiln::cube)
#define blockDim (kiln::cube_dim)
#define gridDim (kiln::cube_count)

static const int warpSize = kiln::WARP;
static inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }

// Barriers and warp collectives. `line` is that of the call: units that meet must come from the same one.
static inline void __syncthreads(int line = __builtin_LINE()) { kiln::wait_for_cube(line); }
static inline void __syncwarp(unsigned = ~0u, int line = __builtin_LINE()) { kiln::exchange(0, line); }
static inline void __threadfence() {}

// Outside of the warp a unit gets its own value.
template <class T> static inline T shuffle(T value, int source, int line) {
    static_assert(sizeof(T) <= sizeof(uint64_t));
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(T));
    const kiln::Values& values = kiln::exchange(bits, line);
    if (source >= 0 && source < kiln::WARP) memcpy(&value, &values[source], sizeof(T));
    return value;
}
template <class T> static inline T __shfl_sync(unsigned, T v, int source, int line = __builtin_LINE()) { return shuffle(v, source & 31, line); }
template <class T> static inline T __shfl_xor_sync(unsigned, T v, int mask, int line = __builtin_LINE()) { return shuffle(v, kiln::lane() ^ mask, line); }
template <class T> static inline T __shfl_up_sync(unsigned, T v, unsigned delta, int line = __builtin_LINE()) { return shuffle(v, kiln::lane() - int(delta), line); }
template <class T> static inline T __shfl_down_sync(unsigned, T v, unsigned delta, int line = __builtin_LINE()) { return shuffle(v, kiln::lane() + int(delta), line); }
static inline unsigned __ballot_sync(unsigned, bool vote, int line = __builtin_LINE()) {
    const kiln::Values& values = kiln::exchange(vote, line);
    unsigned bits = 0;
    for (int i = 0; i < kiln::WARP; i++) bits |= unsigned(values[i] == 1) << i;
    return bits;
}
static inline bool __any_sync(unsigned mask, bool vote, int line = __builtin_LINE()) { return __ballot_sync(mask, vote, line) != 0; }
static inline bool __all_sync(unsigned mask, bool vote, int line = __builtin_LINE()) { return __ballot_sync(mask, !vote, line) == 0; }

// Bits.
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __ffsll(long long x) { return __builtin_ffsll(x); }
static inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __mulhi(int a, int b) { return int((int64_t(a) * b) >> 32); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned __int128)a * b >> 64; }
static inline unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int i = 0; i < 32; i++) reversed |= (x >> i & 1) << (31 - i);
    return reversed;
}
static inline int __dp4a(int a, int b, int sum) {
    for (int i = 0; i < 32; i += 8) sum += int(int8_t(a >> i)) * int(int8_t(b >> i));
    return sum;
}

// Functions of floats. The approximate ones of a GPU are exact here; glibc declares some of their names, hence macros.
using std::abs, std::acos, std::acosh, std::asin, std::asinh, std::atan, std::atanh, std::ceil, std::cos, std::cosh, std::erf,
    std::exp, std::floor, std::fma, std::isinf, std::isnan, std::log, std::log1p, std::pow, std::rint, std::sin, std::sinh,
    std::sqrt, std::tan, std::tanh, std::trunc;
#define __expf(x) std::exp(float(x))
#define __logf(x) std::log(float(x))
#define __sinf(x) std::sin(float(x))
#define __cosf(x) std::cos(float(x))
#define __powf(x, y) std::pow(float(x), float(y))
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float x) { return std::sqrt(x); }
static inline float __frsqrt_rn(float x) { return 1.0f / std::sqrt(x); }
static inline float __frcp_rn(float x) { return 1.0f / x; }
static inline float rsqrt(float x) { return 1.0f / std::sqrt(x); }
static inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
static inline float rhypotf(float a, float b) { return 1.0f / std::hypot(a, b); }

template <class A, class B> static inline auto min(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>) return T(std::fmin(T(a), T(b)));
    else return T(b) < T(a) ? T(b) : T(a);
}
template <class A, class B> static inline auto max(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point_v<T>) return T(std::fmax(T(a), T(b)));
    else return T(a) < T(b) ? T(b) : T(a);
}

// Atomics: fibers switch at barriers and collectives only.
template <class T, class F> static inline T replace(T* at, F next) {
    T old = *at;
    *at = next(old);
    return old;
}
template <class T, class U> static inline T atomicAdd(T* at, U v) { return replace(at, [&](T old) { return T(old + T(v)); }); }
template <class T, class U> static inline T atomicSub(T* at, U v) { return replace(at, [&](T old) { return T(old - T(v)); }); }
template <class T, class U> static inline T atomicMax(T* at, U v) { return replace(at, [&](T old) { return max(old, T(v)); }); }
template <class T, class U> static inline T atomicMin(T* at, U v) { return replace(at, [&](T old) { return min(old, T(v)); }); }
template <class T, class U> static inline T atomicAnd(T* at, U v) { return replace(at, [&](T old) { return T(old & T(v)); }); }
template <class T, class U> static inline T atomicOr(T* at, U v) { return replace(at, [&](T old) { return T(old | T(v)); }); }
template <class T, class U> static inline T atomicXor(T* at, U v) { return replace(at, [&](T old) { return T(old ^ T(v)); }); }
template <class T, class U> static inline T atomicExch(T* at, U v) { return replace(at, [&](T) { return T(v); }); }
template <class T, class U, class V> static inline T atomicCAS(T* at, U expected, V v) {
    return replace(at, [&](T old) { return old == T(expected) ? T(v) : old; });
}
