// CUDA's bfloat16, as far as CubeCL's text uses it: the upper half of an f32, rounded to nearest even; arithmetic in
// f32. With KILN_CUT_OFF_BF16 it is cut off, as by the conversions of some Vulkan drivers.
#pragma once
#include "pairs.h"

struct __nv_bfloat16 {
    uint16_t bits;

    __nv_bfloat16() = default;
    template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>> explicit __nv_bfloat16(T value) {
        float wide = float(value);
        uint32_t word;
        memcpy(&word, &wide, sizeof word);
#ifdef KILN_CUT_OFF_BF16
        bits = uint16_t(word >> 16);
#else
        bits = std::isnan(wide) ? uint16_t(word >> 16 | 0x40) : uint16_t((word + 0x7FFF + (word >> 16 & 1)) >> 16);
#endif
    }
    operator float() const {
        uint32_t word = uint32_t(bits) << 16;
        float wide;
        memcpy(&wide, &word, sizeof wide);
        return wide;
    }
};
static inline __nv_bfloat16 operator+(__nv_bfloat16 a, __nv_bfloat16 b) { return __nv_bfloat16(float(a) + float(b)); }
static inline __nv_bfloat16 operator-(__nv_bfloat16 a, __nv_bfloat16 b) { return __nv_bfloat16(float(a) - float(b)); }
static inline __nv_bfloat16 operator*(__nv_bfloat16 a, __nv_bfloat16 b) { return __nv_bfloat16(float(a) * float(b)); }
static inline __nv_bfloat16 operator/(__nv_bfloat16 a, __nv_bfloat16 b) { return __nv_bfloat16(float(a) / float(b)); }
static inline __nv_bfloat16& operator+=(__nv_bfloat16& a, __nv_bfloat16 b) { return a = a + b; }
static inline __nv_bfloat16& operator*=(__nv_bfloat16& a, __nv_bfloat16 b) { return a = a * b; }
typedef kiln::Pair<__nv_bfloat16> __nv_bfloat162;

KILN_HALF_FUNCTIONS(__nv_bfloat16)
