// Products of a few rows with a matrix that stay in registers.
//
// WIDTH is defined before; sizes are constants of compilation, so that addresses are too.
//
// With ROUNDED, and where the processor has instructions for it, factors are numbers rounded to
// bfloat16: pairs that follow each other along the inner dimension, whose products are added up in
// single precision.

#pragma once

#include <type_traits>

#include "vectors.hpp"

#if ROUNDED && defined(LONG_VECTORS) && defined(__AVX512BF16__)
#define IN_PAIRS
#endif

static inline void add_product(vec &sum, vec x, vec y) { sum += x * y; }

#ifdef IN_PAIRS
constexpr int PACKED = 2;  // numbers in a factor
typedef std::uint32_t Factor;
typedef Factor fvec __attribute__((vector_size(4 * LANES), aligned(4)));

static inline fvec at(const Factor *p) { return *reinterpret_cast<const fvec *>(p); }
static inline fvec &at(Factor *p) { return *reinterpret_cast<fvec *>(p); }
static inline fvec all(Factor value) { return value - fvec{}; }

static inline void add_product(vec &sum, fvec x, fvec y) {
    sum = _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)y);
}

// Numbers that follow each other in memory as pairs; n is a multiple of 16.
static inline void pair_along(int n, const float *x, Factor *to) {
    for (int j = 0; j < n; j += LANES)
        _mm256_storeu_si256((__m256i *)(to + j / 2), (__m256i)_mm512_cvtneps_pbh(at(x + j)));
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
            at(to + r / 2 * W + j) = rounded(at(first)) | next << 16;
        }
}
#else
constexpr int PACKED = 1;
typedef float Factor;
#endif

// R rows and V vectors of columns of a product, held in registers.
template <int N, int R, int V, int ROW, int STEP, bool ADD, typename T>
static inline void block(int inner, const T *__restrict a, const T *__restrict b,
                         const float *bias, float *__restrict c) {
    vec sum[R][V];
#pragma GCC unroll 6
    for (int i = 0; i < R; i++)
        for (int j = 0; j < V; j++) {
            sum[i][j] = bias ? at(bias + j * LANES) : vec{};
            if (ADD) sum[i][j] += at(c + i * N + j * LANES);
        }
#pragma GCC unroll 4
    for (int k = 0; k < inner; k++) {
        decltype(all(*b)) y[V];
        for (int j = 0; j < V; j++) y[j] = at(b + k * N + j * LANES);
#pragma GCC unroll 6
        for (int i = 0; i < R; i++) {
            const auto x = all(a[i * ROW + k * STEP]);
            for (int j = 0; j < V; j++) add_product(sum[i][j], x, y[j]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < R; i++)
        for (int j = 0; j < V; j++) at(c + i * N + j * LANES) = sum[i][j];
}

// c (rows, N) = [c +] a b [+ bias], with b (inner, N) and a[i, k] at a[i ROW + k STEP].
template <int N, int ROW, int STEP, bool ADD, typename T>
static void product(int rows, int inner, const T *a, const T *b, const float *bias, float *c) {
    constexpr int V = N % (2 * LANES) == 0 ? 2 : 3;
    static_assert(N % (V * LANES) == 0, "a row is a multiple of the vectors held");
    for (int j = 0; j < N; j += V * LANES) {
        const T *left = a, *right = b + j;
        const float *start = bias ? bias + j : nullptr;
        float *to = c + j;
        int rest = rows;
        const auto take = [&](auto number) {
            constexpr int R = decltype(number)::value;
            for (; rest >= R; rest -= R, left += R * ROW, to += R * N)
                block<N, R, V, ROW, STEP, ADD>(inner, left, right, start, to);
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
