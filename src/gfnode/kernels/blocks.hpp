// Vectors of numbers, SiLU, and products of a few rows with a matrix that stay in registers.
//
// WIDTH is defined before; sizes are constants of compilation, so that addresses are too.
//
// With ROUNDED, and where the processor has instructions for it, products are of numbers rounded to
// bfloat16, which it multiplies in pairs and adds up in single precision. Their factors are then
// pairs of numbers that follow each other along the inner dimension.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

// Numbers in a vector: as many as the processor takes, of which two fit into the width.
#if defined(__AVX512F__) && WIDTH % 32 == 0
#include <immintrin.h>
#define LONG_VECTORS
constexpr int LANES = 16;
#elif defined(__AVX__) && WIDTH % 16 == 0
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
static_assert(WIDTH % 8 == 0, "the width must be a multiple of eight");

#if ROUNDED && defined(LONG_VECTORS) && defined(__AVX512BF16__)
#define IN_PAIRS
#endif

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

static inline void add_product(vec &sum, vec x, vec y) { sum += x * y; }

#ifdef IN_PAIRS
constexpr int PACKED = 2;  // numbers in a factor
typedef std::uint32_t Factor;
typedef Factor fvec __attribute__((vector_size(4 * LANES), aligned(4)));

static inline fvec at(const Factor *p) { return *reinterpret_cast<const fvec *>(p); }
static inline fvec all(Factor value) { return value - fvec{}; }

static inline void add_product(vec &sum, fvec x, fvec y) {
    sum = _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)y);
}

// Numbers that follow each other in memory as pairs; n is a multiple of 32.
static inline void pair_along(int n, const float *x, Factor *to) {
    for (int j = 0; j < n; j += 2 * LANES)
        *reinterpret_cast<fvec *>(to + j / 2) = (fvec)_mm512_cvtne2ps_pbh(at(x + j + LANES), at(x + j));
}

// Rows of W numbers, two of which become one of W pairs; the last has zeros to go with it.
template <int W> static inline void pair_rows(int rows, const float *x, Factor *to) {
    const auto rounded = [](vec y) {
        return (fvec)_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(y));
    };
    for (int r = 0; r < rows; r += 2)
        for (int j = 0; j < W; j += LANES) {
            const float *first = x + r * W + j;
            fvec next = r + 1 < rows ? rounded(at(first + W)) : fvec{};
            *reinterpret_cast<fvec *>(to + r / 2 * W + j) = rounded(at(first)) | next << 16;
        }
}
#else
constexpr int PACKED = 1;
typedef float Factor;
#endif

// R rows and two vectors of columns of a product, held in registers.
template <int N, int R, int ROW, int STEP, bool ADD, typename T>
static inline void block(int inner, const T *__restrict a, const T *__restrict b,
                         const float *bias, float *__restrict c) {
    vec sum[R][2];
#pragma GCC unroll 6
    for (int i = 0; i < R; i++)
        for (int j = 0; j < 2; j++) {
            sum[i][j] = bias ? at(bias + j * LANES) : vec{};
            if (ADD) sum[i][j] += at(c + i * N + j * LANES);
        }
#pragma GCC unroll 4
    for (int k = 0; k < inner; k++) {
        const auto left = at(b + k * N), right = at(b + k * N + LANES);
#pragma GCC unroll 6
        for (int i = 0; i < R; i++) {
            const auto x = all(a[i * ROW + k * STEP]);
            add_product(sum[i][0], x, left);
            add_product(sum[i][1], x, right);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < R; i++)
        for (int j = 0; j < 2; j++) at(c + i * N + j * LANES) = sum[i][j];
}

// c (rows, N) = [c +] a b [+ bias], with b (inner, N) and a[i, k] at a[i ROW + k STEP].
template <int N, int ROW, int STEP, bool ADD, typename T>
static void product(int rows, int inner, const T *a, const T *b, const float *bias, float *c) {
    for (int j = 0; j < N; j += 2 * LANES) {
        const T *left = a, *right = b + j;
        const float *start = bias ? bias + j : nullptr;
        float *to = c + j;
        int rest = rows;
        const auto take = [&](auto number) {
            constexpr int R = decltype(number)::value;
            for (; rest >= R; rest -= R, left += R * ROW, to += R * N)
                block<N, R, ROW, STEP, ADD>(inner, left, right, start, to);
        };
        take(std::integral_constant<int, 6>{});
        take(std::integral_constant<int, 4>{});
        take(std::integral_constant<int, 2>{});
        take(std::integral_constant<int, 1>{});
    }
}

// Columns of a weight (N, length), turned: (columns, N), N being a multiple of eight.
template <int N>
static void turn(std::int64_t columns, const float *weight, std::int64_t length, float *to) {
    for (int j = 0; j < N; j += 8)
        for (std::int64_t k = 0; k < columns; k++)
            for (int l = j; l < j + 8; l++) to[k * N + l] = weight[l * length + k];
}

// The first N columns of N rows of one length become those of rows of another.
template <int N>
static void copy(const float *from, std::int64_t length, float *to, std::int64_t new_length) {
    for (int j = 0; j < N; j++)
        std::memcpy(to + j * new_length, from + j * length, sizeof(float) * N);
}
