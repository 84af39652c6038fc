// Two 16-bit floats in a register, and the functions of 16-bit floats under CUDA's names. CubeCL's text computes in them where
// a kernel of Burn's does; Kiln's kernels only store them.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace kiln {
template <class T> struct alignas(4) Pair {
    T x, y;
    Pair() = default;
    Pair(T both) : x(both), y(both) {}
    Pair(T first, T second) : x(first), y(second) {}
    template <class U, class = std::enable_if_t<std::is_arithmetic_v<U>>> explicit Pair(U both) : x(T(both)), y(T(both)) {}
};
template <class T> Pair<T> operator+(Pair<T> a, Pair<T> b) { return {T(a.x + b.x), T(a.y + b.y)}; }
template <class T> Pair<T> operator-(Pair<T> a, Pair<T> b) { return {T(a.x - b.x), T(a.y - b.y)}; }
template <class T> Pair<T> operator*(Pair<T> a, Pair<T> b) { return {T(a.x * b.x), T(a.y * b.y)}; }
template <class T> Pair<T> operator/(Pair<T> a, Pair<T> b) { return {T(a.x / b.x), T(a.y / b.y)}; }
template <class T> Pair<T>& operator+=(Pair<T>& a, Pair<T> b) { return a = a + b; }
template <class T> Pair<T>& operator*=(Pair<T>& a, Pair<T> b) { return a = a * b; }
} // namespace kiln

#define KILN_HALF_FUNCTION(T, name, call) \
    static inline T h##name(T v) { return T(call(float(v))); } \
    static inline kiln::Pair<T> h2##name(kiln::Pair<T> v) { return {h##name(v.x), h##name(v.y)}; }
#define KILN_HALF_CHOICE(T, name, call) \
    static inline T name(T a, T b) { return T(call(float(a), float(b))); } \
    static inline kiln::Pair<T> name##2(kiln::Pair<T> a, kiln::Pair<T> b) { return {name(a.x, b.x), name(a.y, b.y)}; }
#define KILN_HALF_FUNCTIONS(T) \
    KILN_HALF_FUNCTION(T, exp, std::exp) \
    KILN_HALF_FUNCTION(T, log, std::log) \
    KILN_HALF_FUNCTION(T, sqrt, std::sqrt) \
    KILN_HALF_FUNCTION(T, rsqrt, 1.0f / std::sqrt) \
    KILN_HALF_FUNCTION(T, sin, std::sin) \
    KILN_HALF_FUNCTION(T, cos, std::cos) \
    KILN_HALF_FUNCTION(T, ceil, std::ceil) \
    KILN_HALF_FUNCTION(T, floor, std::floor) \
    KILN_HALF_FUNCTION(T, trunc, std::trunc) \
    KILN_HALF_FUNCTION(T, rint, std::rint) \
    KILN_HALF_CHOICE(T, __hmax, std::fmax) \
    KILN_HALF_CHOICE(T, __hmin, std::fmin) \
    static inline bool __hisnan(T v) { return std::isnan(float(v)); } \
    static inline bool __hisinf(T v) { return std::isinf(float(v)); }
