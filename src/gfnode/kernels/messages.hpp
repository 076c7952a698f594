// Parts of a layer of messages, see messages.cpp: its weights, and what is done to rows.

#pragma once

#include <algorithm>
#include <initializer_list>

#include "blocks.hpp"

constexpr int W = WIDTH;

// Places in the arrays of weights and of their gradients.
enum {
    IN, IN_BIAS, OUT, OUT_BIAS, SHIFT, SHIFT_BIAS, SHIFT_LAST, SHIFT_LAST_BIAS,
    DRIVE, DRIVE_BIAS, DRIVE_LAST, DRIVE_LAST_BIAS,
    FEATURE, FEATURE_BIAS, FEATURE_LAST, FEATURE_LAST_BIAS, WEIGHTS,
};

constexpr int MOST = 32;  // rows of a tile at most, which are about ROWS of messages.py
constexpr float FARTHEST = 100;  // Å: a layer moves no atom farther

static inline void add_rows(int rows, float *sum, const float *x) {
    for (int j = 0; j < W; j += LANES) {
        vec all_rows = at(sum + j);
        for (int r = 0; r < rows; r++) all_rows += at(x + r * W + j);
        at(sum + j) = all_rows;
    }
}

// y = [y +] x weight [+ bias], and weight += gᵀ x, of rows.
#ifdef IN_PAIRS
constexpr int AT_ONCE = 24;  // rows, a multiple of two and six, whose pairs stay in the nearest cache

template <bool ADD>
static void multiplied(int rows, const float *x, const Factor *weight, const float *bias,
                       float *y) {
    Factor left[AT_ONCE * W / 2];
    for (int r = 0; r < rows; r += AT_ONCE) {
        const int some = std::min(AT_ONCE, rows - r);
        pair_along(some * W, x + r * W, left);
        product<W, W / 2, 1, ADD>(some, W / 2, left, weight, bias, y + r * W);
    }
}

static void as_factor(const float *matrix, Factor *to) { pair_rows<W>(W, matrix, to); }

static void add_outer(int rows, const float *g, const float *x, float *weight) {
    Factor left[AT_ONCE * W / 2], right[AT_ONCE * W / 2];
    for (int r = 0; r < rows; r += AT_ONCE) {
        const int some = std::min(AT_ONCE, rows - r);
        pair_rows<W>(some, g + r * W, left);
        pair_rows<W>(some, x + r * W, right);
        product<W, 1, W, true>(W, (some + 1) / 2, left, right, nullptr, weight);
    }
}
#else
template <bool ADD>
static void multiplied(int rows, const float *x, const Factor *weight, const float *bias,
                       float *y) {
    product<W, W, 1, ADD>(rows, W, x, weight, bias, y);
}

static void as_factor(const float *matrix, Factor *to) {
    std::memcpy(to, matrix, sizeof(float) * W * W);
}

static void add_outer(int rows, const float *g, const float *x, float *weight) {
    product<W, 1, W, true>(W, rows, g, x, nullptr, weight);
}
#endif

// A weight (W, W) in rows of this length as `weight` above: turned, or as it is kept.
static void turned(const float *weight, std::int64_t length, float *to) {
    turn<W>(W, weight, length, to);
}

static void as_kept(const float *weight, std::int64_t length, float *to) {
    copy<W>(weight, length, to, W);
}

static void linear(int rows, const float *x, const Factor *weight, const float *bias, float *y) {
    multiplied<false>(rows, x, weight, bias, y);
}

static void add_linear(int rows, const float *x, const Factor *weight, float *y) {
    multiplied<true>(rows, x, weight, nullptr, y);
}

// s(z)·last + bias for each row.
static void head(int rows, const float *z, const float *last, const float *bias, float *out) {
    for (int r = 0; r < rows; r++) {
        vec sum{};
        for (int j = 0; j < W; j += LANES) {
            vec x = at(z + r * W + j);
            sum += x * sigmoid(x) * at(last + j);
        }
        out[r] = total(sum) + bias[0];
    }
}

// Its gradient: from g (rows) to that of z, and those of `last`, its bias and the bias below z.
static void head_back(int rows, const float *g, const float *z, const float *last, float *gz,
                      float *glast, float *gbias, float *gbelow) {
    for (int r = 0; r < rows; r++) {
        gbias[0] += g[r];
        for (int j = 0; j < W; j += LANES) {
            vec x = at(z + r * W + j), part = sigmoid(x);
            vec slope = g[r] * at(last + j) * part * (1.0f + x * (1.0f - part));
            at(glast + j) += g[r] * x * part;
            at(gbelow + j) += slope;
            at(gz + r * W + j) = slope;
        }
    }
}

// ‖a − b‖² of two places.
static inline float squared(const float *a, const float *b) {
    const float r[3] = {a[0] - b[0], a[1] - b[1], a[2] - b[2]};
    return r[0] * r[0] + r[1] * r[1] + r[2] * r[2];
}

static inline float dot(const float *x, const float *y) {
    vec sum{};
    for (int j = 0; j < W; j += LANES) sum += at(x + j) * at(y + j);
    return total(sum);
}

// d and e of the rows of an edge, as (1 + S, MOST).
static void scalars_of(int rows, std::int64_t S, const float *xi, const float *xj, const float *e,
                       float *to) {
    for (int r = 0; r < rows; r++) {
        to[r] = squared(xi + 3 * r, xj + 3 * r);
        for (std::int64_t l = 0; l < S; l++) to[(l + 1) * MOST + r] = e[r * S + l];
    }
}

// Where a tile begins; a multiple of the six rows that products take at once.
static inline int begin(long batch, long tile, long tiles) {
    return tile == tiles ? batch : (batch * tile / tiles + 3) / 6 * 6;
}

struct Sizes {
    std::int64_t threads, tiles, layers, atoms, edges, batch, scalars, residual;
};

// What a layer makes and its gradient needs, by the names in messages.cpp; the next layer is given
// h and x.
struct Made {
    float *a, *z, *y;      // (edge, batch, W)
    float *g, *f, *S, *h;  // (atom, batch, W)
    float *psi;            // (edge, batch)
    float *phi;            // (atom, batch)
    float *t, *x;          // (atom, batch, 3)

    Made(const Sizes &sizes, float *next) {
        const std::int64_t on_edges = sizes.edges * sizes.batch;
        const std::int64_t on_atoms = sizes.atoms * sizes.batch;
        const auto take = [&](std::int64_t size, std::initializer_list<float **> parts) {
            for (float **part : parts) {
                *part = next;
                next += size;
            }
        };
        take(on_edges * W, {&a, &z, &y});
        take(on_atoms * W, {&g, &f, &S, &h});
        take(on_edges, {&psi});
        take(on_atoms, {&phi});
        take(on_atoms * 3, {&t, &x});
    }

    // Numbers of it, a multiple of LANES.
    static std::int64_t size(const Sizes &sizes) {
        const std::int64_t n = sizes.edges * (3 * W + 1) + sizes.atoms * (4 * W + 7);
        return (n * sizes.batch + LANES - 1) / LANES * LANES;
    }
};

// Memory of a thread: `arrays` of the rows of one tile each.
struct Space {
    std::vector<float> numbers;
    std::size_t used = 0, size;
    Space(std::int64_t arrays, std::int64_t rows) : numbers(arrays * rows * W), size(rows * W) {}
    float *take(std::int64_t arrays = 1) {
        float *start = numbers.data() + used;
        used += arrays * size;
        return start;
    }
};

// The square matrices of a layer.
template <typename T> struct Matrices {
    std::vector<T> numbers;
    T *own, *other, *out, *shift, *drive, *feature_own, *feature_sum, *feature_last;
    explicit Matrices(std::int64_t size) : numbers(8 * size) {
        T *place = numbers.data();
        for (T **part : {&own, &other, &out, &shift, &drive, &feature_own, &feature_sum,
                         &feature_last}) {
            *part = place;
            place += size;
        }
    }
    Matrices(Matrices &&) = default;  // and no copies, which would point to the numbers of another
};

// The weights of a layer as right factors, and C as (scalars, W).
struct Factors : Matrices<Factor> {
    std::vector<float> scalars;
    Factors(const float *const *w, std::int64_t S, decltype(turned) *laid)
        : Matrices(W * W / PACKED), scalars(S * W) {
        const std::int64_t length = 2 * W + S;
        std::vector<float> whole(W * W);
        const auto lay = [&](const float *weight, std::int64_t row, Factor *to) {
            laid(weight, row, whole.data());
            as_factor(whole.data(), to);
        };
        turn<W>(S, w[IN] + 2 * W, length, scalars.data());
        lay(w[IN], length, own);
        lay(w[IN] + W, length, other);
        lay(w[OUT], W, out);
        if (w[SHIFT]) lay(w[SHIFT], W, shift);
        if (w[DRIVE]) lay(w[DRIVE], W, drive);
        if (w[FEATURE]) lay(w[FEATURE], 2 * W, feature_own);
        if (w[FEATURE]) lay(w[FEATURE] + W, 2 * W, feature_sum);
        if (w[FEATURE]) lay(w[FEATURE_LAST], W, feature_last);
    }
};

// Gradients of them, of a row for each weight, and of C as (scalars, W).
struct Sums : Matrices<float> {
    std::vector<float> rows, scalars;
    explicit Sums(std::int64_t S) : Matrices(W * W), rows(WEIGHTS * W), scalars(S * W) {}
    float *row(int which) { return rows.data() + which * W; }
    void add(const Sums &more) {
        const auto sum = [](std::vector<float> &x, const std::vector<float> &y) {
            for (std::size_t n = 0; n < x.size(); n++) x[n] += y[n];
        };
        sum(numbers, more.numbers);
        sum(rows, more.rows);
        sum(scalars, more.scalars);
    }
};

// Neighbours of each atom, one at least.
static std::vector<float> degrees(const Sizes &sizes, const std::int64_t *ends) {
    std::vector<float> count(sizes.atoms, 0.0f);
    for (std::int64_t k = 0; k < sizes.edges; k++) count[ends[k]]++;
    for (float &n : count) n = n > 1 ? n : 1;
    return count;
}
