// Vectors of numbers, and SiLU. WIDTH is defined before.

#pragma once

#ifdef __AVX__
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

// Numbers in a vector: as many as the processor takes, of which two (or three, if they are long) fit
// into the width.
#if defined(__AVX512F__) && (WIDTH % 32 == 0 || WIDTH % 48 == 0)
#define LONG_VECTORS
constexpr int LANES = 16;
#elif defined(__AVX__) && WIDTH % 16 == 0
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
static_assert(WIDTH % 8 == 0, "the width must be a multiple of eight");

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4)));
typedef std::int32_t ivec __attribute__((vector_size(4 * LANES), aligned(4)));

static inline vec &at(float *p) { return *reinterpret_cast<vec *>(p); }
static inline vec at(const float *p) { return *reinterpret_cast<const vec *>(p); }
static inline vec all(float value) { return value - vec{}; }

static inline float total(vec x) {
#ifdef LONG_VECTORS
    return _mm512_reduce_add_ps(x);
#else
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += x[i];
    return sum;
#endif
}

// 2^f, −½ ≤ f ≤ ½, with a relative error of 1e-7.
static inline vec small_power(vec f) {
    vec p = all(1.32647e-3f);
    p = p * f + 9.67151e-3f;
    p = p * f + 5.550734e-2f;
    p = p * f + 2.4022242e-1f;
    p = p * f + 6.9314698e-1f;
    return p * f + 1.0f;
}

// 1 / (1 + exp(−x)), with exp(−x) = 2^n 2^f.
static inline vec sigmoid(vec x) {
    vec t = x * -1.44269504f;
#ifdef LONG_VECTORS
    vec n = _mm512_roundscale_ps(t, 0);
    return 1.0f / (1.0f + (vec)_mm512_scalef_ps(small_power(t - n), n));
#else  // beyond ±83 it stays what it is there
    t = t < all(-120.0f) ? all(-120.0f) : t;
    t = t > all(120.0f) ? all(120.0f) : t;
    vec n = t + 12582912.0f;  // 1.5 × 2^23: the last bits of the sum are n
    vec power = small_power(t - (n - 12582912.0f));
    ivec shifted = reinterpret_cast<ivec>(power) + (reinterpret_cast<ivec>(n) << 23);
    return 1.0f / (1.0f + reinterpret_cast<vec>(shifted));
#endif
}

// Past the caches: what is only read much later would push out what is needed now, and memory would
// be read before it is written. The address is a multiple of the size of a vector.
static inline void put(float *p, vec x) {
#ifdef LONG_VECTORS
    _mm512_stream_ps(p, x);
#elif defined(__AVX__) && WIDTH % 16 == 0
    _mm256_stream_ps(p, x);
#else
    at(p) = x;
#endif
}

static inline void put(int n, float *to, const float *x) {
    for (int j = 0; j < n; j += LANES) put(to + j, at(x + j));
}

// Before other threads read what was put.
static inline void settle() {
#ifdef __AVX__
    _mm_sfence();
#endif
}

static inline void silu(int n, const float *z, float *value) {
    for (int j = 0; j < n; j += LANES) at(value + j) = at(z + j) * sigmoid(at(z + j));
}

static inline void silu(int n, const float *z, float *value, float *slope) {
    for (int j = 0; j < n; j += LANES) {
        vec x = at(z + j), part = sigmoid(x);
        at(value + j) = x * part;
        at(slope + j) = part * (1.0f + x * (1.0f - part));
    }
}

static inline void multiply(int n, float *x, const float *by) {
    for (int j = 0; j < n; j += LANES) at(x + j) *= at(by + j);
}

static inline void add(int n, float *x, const float *y) {
    for (int j = 0; j < n; j += LANES) at(x + j) += at(y + j);
}
