// Messages of an EGNN layer, and their gradient, in one pass over memory.
//
// A tile, some two dozen samples, goes through the whole layer while what it needs lies in the
// cache: products, SiLU and sums are not arrays of their own, as they are when an operation is
// taken after the other. With s(z) = z / (1 + exp(−z)) and all products of rows times matrix:
//
//   forward    a_ij = h_i A + h_j B + e_ij C + c      z_ij = s(a_ij) M + m       u_ij = s(z_ij)
//              shift_ij = s(y_ij) p' + π,              y_ij = u_ij P + p
//              S_i = Σ_j u_ij
//              drive_i = s(d_i) q' + κ,               d_i = h_i Q + q
//              out_i = s(f_i) F' + φ',                f_i = h_i F + S_i G + φ
//
//   backward   a bar is the gradient of what stands below it; s' is the slope of s:
//              f̄ = (ōut F'ᵀ) s'(f)     S̄ = f̄ Gᵀ      h̄ += f̄ Fᵀ
//              d̄ = drivē q' s'(d)      h̄ += d̄ Qᵀ
//              ȳ = shift̄ p' s'(y)       ū = ȳ Pᵀ + S̄_i
//              z̄ = ū s'(z)             ā = (z̄ Mᵀ) s'(a)
//              h̄_i += Σ_j ā_ij Aᵀ      h̄_j += Σ_i ā_ij Bᵀ      ē_ij = ā_ij Cᵀ
//              and of a weight W in r W: W̄ = Σ rᵀ (gradient of r W), over all rows r.
//
// a, z, y, d, f and S are kept for the gradient. The rows of a sample are summed in one order,
// whatever the other samples are: its numbers do not depend on them. Gradients of weights are
// summed within each thread and added up by the caller.
//
// Arrays are C-ordered: h (atom, batch, W), e (edge, batch, scalars). W, the width, is a constant
// of compilation, so that the addresses in products are too; it must be a multiple of eight.

#include "blocks.hpp"

constexpr int W = WIDTH;

// Places in the arrays of weights and of their gradients.
enum {
    OWN, OTHER, SCALARS, IN_BIAS, OUT, OUT_BIAS,
    SHIFT, SHIFT_BIAS, SHIFT_LAST, SHIFT_LAST_BIAS,
    DRIVE, DRIVE_BIAS, DRIVE_LAST, DRIVE_LAST_BIAS,
    FEATURE_OWN, FEATURE_SUM, FEATURE_BIAS, FEATURE_LAST, FEATURE_LAST_BIAS,
};

// Places in the array of what is kept for the gradient.
enum { KEPT_IN, KEPT_OUT, KEPT_SHIFT, KEPT_DRIVE, KEPT_FEATURE, KEPT_SUM };

static inline void add_rows(int rows, float *sum, const float *x) {
    for (int j = 0; j < W; j += LANES) {
        vec all_rows = at(sum + j);
        for (int r = 0; r < rows; r++) all_rows += at(x + r * W + j);
        at(sum + j) = all_rows;
    }
}

static void linear(int rows, const float *x, const float *weight, const float *bias, float *y) {
    product<W, W, 1, false>(rows, W, x, weight, bias, y);
}

static void add_linear(int rows, const float *x, const float *weight, float *y) {
    product<W, W, 1, true>(rows, W, x, weight, nullptr, y);
}

// ∂/∂weight (W out, W in) of rows x weightᵀ, whose gradient is g: gᵀ x.
static void add_outer(int rows, const float *g, const float *x, float *weight) {
    product<W, 1, W, true>(W, rows, g, x, nullptr, weight);
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

// Where a tile begins; a multiple of the six rows that products take at once.
static inline int begin(long batch, long tile, long tiles) {
    return tile == tiles ? batch : (batch * tile / tiles + 3) / 6 * 6;
}

struct Sizes {
    std::int64_t threads, tiles, atoms, edges, batch, scalars;
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

extern "C" void forward(const Sizes *sizes, const std::int64_t *ends, const float *h,
                        const float *scalars, const float *const *w, float *const *kept,
                        float *shifts, float *drives, float *out) {
    const auto [threads, tiles, atoms, edges, batch, S] = *sizes;
    const std::int64_t most = batch / tiles + 7;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (std::int64_t thread = 0; thread < threads; thread++) {
        Space space(3 * atoms + 2, most);
        float *own = space.take(atoms), *other = space.take(atoms), *sum = space.take(atoms);
        float *u = space.take(), *z = space.take();
        const std::int64_t last = tiles * (thread + 1) / threads;
        for (std::int64_t tile = tiles * thread / threads; tile < last; tile++) {
            const int b0 = begin(batch, tile, tiles), rows = begin(batch, tile + 1, tiles) - b0;
            const int size = rows * W;
            if (rows == 0) continue;
            for (std::int64_t i = 0; i < atoms; i++) {
                const std::int64_t place = i * batch + b0;
                const float *hi = h + place * W;
                linear(rows, hi, w[OWN], w[IN_BIAS], own + i * size);
                linear(rows, hi, w[OTHER], nullptr, other + i * size);
                if (drives) {
                    float *d = kept ? kept[KEPT_DRIVE] + place * W : z;
                    linear(rows, hi, w[DRIVE], w[DRIVE_BIAS], d);
                    head(rows, d, w[DRIVE_LAST], w[DRIVE_LAST_BIAS], drives + place);
                }
            }
            std::memset(sum, 0, sizeof(float) * atoms * size);
            for (std::int64_t k = 0; k < edges; k++) {
                const std::int64_t place = k * batch + b0;
                const float *p = own + ends[k] * size, *q = other + ends[edges + k] * size;
                for (int r = 0; r < rows; r++) {
                    const float *e = scalars + (place + r) * S;
                    for (int j = 0; j < W; j += LANES) {
                        vec a = at(p + r * W + j) + at(q + r * W + j);
                        for (int l = 0; l < S; l++) a += e[l] * at(w[SCALARS] + l * W + j);
                        at(u + r * W + j) = a * sigmoid(a);
                        if (kept) at(kept[KEPT_IN] + (place + r) * W + j) = a;
                    }
                }
                float *below = kept ? kept[KEPT_OUT] + place * W : z;
                linear(rows, u, w[OUT], w[OUT_BIAS], below);
                silu(size, below, u);
                if (out) add(size, sum + ends[k] * size, u);
                if (shifts) {
                    float *y = kept ? kept[KEPT_SHIFT] + place * W : z;
                    linear(rows, u, w[SHIFT], w[SHIFT_BIAS], y);
                    head(rows, y, w[SHIFT_LAST], w[SHIFT_LAST_BIAS], shifts + place);
                }
            }
            for (std::int64_t i = 0; out && i < atoms; i++) {
                const std::int64_t place = (i * batch + b0) * W;
                float *f = kept ? kept[KEPT_FEATURE] + place : z;
                linear(rows, h + place, w[FEATURE_OWN], w[FEATURE_BIAS], f);
                add_linear(rows, sum + i * size, w[FEATURE_SUM], f);
                if (kept) std::memcpy(kept[KEPT_SUM] + place, sum + i * size, sizeof(float) * size);
                silu(size, f, u);
                linear(rows, u, w[FEATURE_LAST], w[FEATURE_LAST_BIAS], out + place);
            }
        }
    }
}

// `w` holds the square weights turned: (out, in). `gw` holds gradients of weights, each of them
// (thread, …), of the same form and zero; what is not given has no gradient.
extern "C" void backward(const Sizes *sizes, const std::int64_t *ends, const float *h,
                         const float *scalars, const float *const *w, const float *const *kept,
                         const float *gshifts, const float *gdrives, const float *gout, float *gh,
                         float *gscalars, float *const *gw) {
    const auto [threads, tiles, atoms, edges, batch, S] = *sizes;
    const std::int64_t most = batch / tiles + 7;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (std::int64_t thread = 0; thread < threads; thread++) {
        Space space(3 * atoms + 4, most);
        float *gown = space.take(atoms), *gother = space.take(atoms), *gsum = space.take(atoms);
        float *value = space.take(), *slope = space.take(), *g = space.take(), *g2 = space.take();
        const auto square = [&](int which) { return gw[which] + thread * W * W; };
        const auto row = [&](int which) { return gw[which] + thread * W; };
        const auto one = [&](int which) { return gw[which] + thread; };
        float *gC = gw[SCALARS] + thread * S * W;
        const std::int64_t last = tiles * (thread + 1) / threads;
        for (std::int64_t tile = tiles * thread / threads; tile < last; tile++) {
            const int b0 = begin(batch, tile, tiles), rows = begin(batch, tile + 1, tiles) - b0;
            const int size = rows * W;
            if (rows == 0) continue;
            std::memset(gown, 0, sizeof(float) * atoms * size);
            std::memset(gother, 0, sizeof(float) * atoms * size);
            if (!gout) std::memset(gsum, 0, sizeof(float) * atoms * size);
            for (std::int64_t i = 0; gout && i < atoms; i++) {
                const std::int64_t place = (i * batch + b0) * W;
                silu(size, kept[KEPT_FEATURE] + place, value, slope);
                add_outer(rows, gout + place, value, square(FEATURE_LAST));
                add_rows(rows, row(FEATURE_LAST_BIAS), gout + place);
                linear(rows, gout + place, w[FEATURE_LAST], nullptr, g);
                multiply(size, g, slope);
                add_outer(rows, g, h + place, square(FEATURE_OWN));
                add_outer(rows, g, kept[KEPT_SUM] + place, square(FEATURE_SUM));
                add_rows(rows, row(FEATURE_BIAS), g);
                linear(rows, g, w[FEATURE_SUM], nullptr, gsum + i * size);
                linear(rows, g, w[FEATURE_OWN], nullptr, gh + place);
            }
            for (std::int64_t k = 0; k < edges; k++) {
                const std::int64_t place = k * batch + b0;
                silu(size, kept[KEPT_OUT] + place * W, value, slope);
                std::memcpy(g, gsum + ends[k] * size, sizeof(float) * size);
                if (gshifts) {
                    head_back(rows, gshifts + place, kept[KEPT_SHIFT] + place * W, w[SHIFT_LAST],
                              g2, row(SHIFT_LAST), one(SHIFT_LAST_BIAS), row(SHIFT_BIAS));
                    add_outer(rows, g2, value, square(SHIFT));
                    add_linear(rows, g2, w[SHIFT], g);
                }
                multiply(size, g, slope);
                silu(size, kept[KEPT_IN] + place * W, value, slope);
                add_outer(rows, g, value, square(OUT));
                add_rows(rows, row(OUT_BIAS), g);
                linear(rows, g, w[OUT], nullptr, g2);
                multiply(size, g2, slope);
                add(size, gown + ends[k] * size, g2);
                add(size, gother + ends[edges + k] * size, g2);
                for (int r = 0; r < rows; r++)
                    for (int l = 0; l < S; l++) {
                        const std::int64_t scalar = (place + r) * S + l;
                        vec sum{};
                        for (int j = 0; j < W; j += LANES) {
                            vec x = at(g2 + r * W + j);
                            at(gC + l * W + j) += scalars[scalar] * x;
                            sum += x * at(w[SCALARS] + l * W + j);
                        }
                        gscalars[scalar] = total(sum);
                    }
            }
            for (std::int64_t i = 0; i < atoms; i++) {
                const std::int64_t place = i * batch + b0;
                const float *hi = h + place * W;
                float *ghi = gh + place * W;
                if (!gout) std::memset(ghi, 0, sizeof(float) * size);
                add_outer(rows, gown + i * size, hi, square(OWN));
                add_outer(rows, gother + i * size, hi, square(OTHER));
                add_rows(rows, row(IN_BIAS), gown + i * size);
                add_linear(rows, gown + i * size, w[OWN], ghi);
                add_linear(rows, gother + i * size, w[OTHER], ghi);
                if (gdrives) {
                    head_back(rows, gdrives + place, kept[KEPT_DRIVE] + place * W, w[DRIVE_LAST],
                              g, row(DRIVE_LAST), one(DRIVE_LAST_BIAS), row(DRIVE_BIAS));
                    add_outer(rows, g, hi, square(DRIVE));
                    add_linear(rows, g, w[DRIVE], ghi);
                }
            }
        }
    }
}
