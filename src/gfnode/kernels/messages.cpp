// Layers of messages (EGNN), and their gradient, each in one pass over memory.
//
// A tile, some two dozen samples, goes through a whole layer while what it needs lies in the
// cache: products, SiLU and sums are not arrays of their own, as they are when an operation is
// taken after the other. With s(z) = z / (1 + exp(−z)) and all products of rows times matrix:
//
//   forward    r_ij = x_i − x_j                        d_ij = ‖r_ij‖²
//              a_ij = h_i A + h_j B + (d_ij, e_ij) C + c
//              z_ij = s(a_ij) M + m                    u_ij = s(z_ij)
//              ψ_ij = s(y_ij) p' + π,                  y_ij = u_ij P + p
//              φ_i = s(g_i) q' + κ,                    g_i = h_i Q + q
//              x'_i = x_i + clamp(t_i) + φ_i v_i,      t_i = Σ_j ψ_ij r_ij / n_i
//              h'_i = s(f_i) F' + φ',                  f_i = h_i F + S_i G + φ
//              S_i = Σ_j u_ij
//
//   backward   a bar is the gradient of what stands below it; s' is the slope of s:
//              f̄ = (h̄' F'ᵀ) s'(f)      S̄ = f̄ Gᵀ       h̄ += f̄ Fᵀ
//              t̄_i = x̄'_i / n_i where nothing was clamped, else 0
//              φ̄ = x̄'·v     v̄ = φ x̄'     ψ̄_ij = t̄_i·r_ij
//              ḡ = φ̄ q' s'(g)          h̄ += ḡ Qᵀ
//              ȳ = ψ̄ p' s'(y)          ū = ȳ Pᵀ + S̄_i
//              z̄ = ū s'(z)             ā = (z̄ Mᵀ) s'(a)
//              h̄_i += Σ_j ā_ij Aᵀ      h̄_j += Σ_i ā_ij Bᵀ      (d̄_ij, ē_ij) = ā_ij Cᵀ
//              r̄_ij = ψ_ij t̄_i + 2 d̄_ij r_ij           x̄_i += r̄_ij       x̄_j −= r̄_ij
//              and of a weight W in r W: W̄ = Σ rᵀ (gradient of r W), over all rows r.
//
// h' is added to h where layers are residual. a, z, y, g, f, S, ψ, φ and t are kept for the
// gradient.
// The rows of a sample are summed in one order, whatever the other samples are: its numbers do not
// depend on them. Gradients of weights are summed within each thread, and then over threads.
//
// Arrays are C-ordered: h (atom, batch, W), x and v (atom, batch, 3), e (edge, batch, scalars).
// Weights are as PyTorch keeps them, (out, in), A, B and C side by side, and F and G; without those
// of shifts and drives no atom moves, without those of features they stay. W, the width, is a
// constant of compilation, so that the addresses in products are too; it must be a multiple of
// eight.

#include <cmath>
#include <memory>
#include <utility>

#include "messages.hpp"

// From h and x to `out` and `moved`; `made` is given where a gradient will be wanted.
static void layer(const Sizes &sizes, const float *h, const float *x, const float *v,
                  const float *scalars, const std::int64_t *ends, const float *const *w,
                  const Made *made, float *out, float *moved) {
    const std::int64_t threads = sizes.threads, tiles = sizes.tiles, atoms = sizes.atoms;
    const std::int64_t edges = sizes.edges, batch = sizes.batch, S = sizes.scalars;
    const std::int64_t most = batch / tiles + 7;
    const bool moves = w[SHIFT], changes = w[FEATURE];
    const std::vector<float> degree = degrees(sizes, ends);
    const Factors part(w, 1 + S, turned);
    const float *of_scalars = part.scalars.data();
#pragma omp parallel for num_threads(threads) schedule(static)
    for (std::int64_t thread = 0; thread < threads; thread++) {
        Space space(3 * atoms + 2, most);
        float *own = space.take(atoms), *other = space.take(atoms), *sum = space.take(atoms);
        float *u = space.take(), *z = space.take();
        std::vector<float> few(3 * atoms * most + most), of_edge((1 + S) * MOST);
        float *mean = few.data(), *each = mean + 3 * atoms * most, *edge = of_edge.data();
        const std::int64_t last = tiles * (thread + 1) / threads;
        for (std::int64_t tile = tiles * thread / threads; tile < last; tile++) {
            const int b0 = begin(batch, tile, tiles), rows = begin(batch, tile + 1, tiles) - b0;
            const int size = rows * W;
            if (rows == 0) continue;
            for (std::int64_t i = 0; i < atoms; i++) {
                const float *hi = h + (i * batch + b0) * W;
                linear(rows, hi, part.own, w[IN_BIAS], own + i * size);
                linear(rows, hi, part.other, nullptr, other + i * size);
            }
            std::memset(sum, 0, sizeof(float) * atoms * size);
            std::memset(mean, 0, sizeof(float) * 3 * atoms * rows);
            for (std::int64_t k = 0; k < edges; k++) {
                const std::int64_t i = ends[k], j = ends[edges + k], place = k * batch + b0;
                const float *xi = x + (i * batch + b0) * 3, *xj = x + (j * batch + b0) * 3;
                const float *p = own + i * size, *q = other + j * size;
                scalars_of(rows, S, xi, xj, scalars + place * S, edge);
                product<W, 1, MOST, false>(rows, 1 + S, edge, of_scalars, nullptr, z);
                for (int c = 0; c < size; c += LANES) {
                    const vec a = at(z + c) + at(p + c) + at(q + c);
                    at(u + c) = a * sigmoid(a);
                    if (made) put(made->a + place * W + c, a);
                }
                linear(rows, u, part.out, w[OUT_BIAS], z);
                silu(size, z, u);
                if (made) put(size, made->z + place * W, z);
                if (changes) add(size, sum + i * size, u);
                if (moves) {
                    float *psi = made ? made->psi + place : each;
                    linear(rows, u, part.shift, w[SHIFT_BIAS], z);
                    head(rows, z, w[SHIFT_LAST], w[SHIFT_LAST_BIAS], psi);
                    if (made) put(size, made->y + place * W, z);
                    for (int r = 0; r < 3 * rows; r++)
                        mean[i * 3 * rows + r] += psi[r / 3] * (xi[r] - xj[r]);
                }
            }
            for (std::int64_t i = 0; i < atoms; i++) {
                const std::int64_t place = i * batch + b0;
                const float *hi = h + place * W;
                std::memcpy(moved + 3 * place, x + 3 * place, sizeof(float) * 3 * rows);
                if (moves) {
                    float *phi = made ? made->phi + place : each;
                    linear(rows, hi, part.drive, w[DRIVE_BIAS], z);
                    head(rows, z, w[DRIVE_LAST], w[DRIVE_LAST_BIAS], phi);
                    if (made) put(size, made->g + place * W, z);
                    for (int r = 0; r < 3 * rows; r++) {
                        const std::int64_t here = 3 * place + r;
                        float t = mean[i * 3 * rows + r] / degree[i];
                        if (made) made->t[here] = t;
                        t = t < -FARTHEST ? -FARTHEST : t > FARTHEST ? FARTHEST : t;
                        moved[here] += t + phi[r / 3] * v[here];
                    }
                }
                if (changes) {
                    linear(rows, hi, part.feature_own, w[FEATURE_BIAS], z);
                    add_linear(rows, sum + i * size, part.feature_sum, z);
                    silu(size, z, u);
                    linear(rows, u, part.feature_last, w[FEATURE_LAST_BIAS], out + place * W);
                    if (made) put(size, made->f + place * W, z);
                    if (made) put(size, made->S + place * W, sum + i * size);
                    if (sizes.residual) add(size, out + place * W, hi);
                } else {
                    std::memcpy(out + place * W, hi, sizeof(float) * size);
                }
            }
        }
        settle();
    }
}

// Gradients gh and gx of `out` and `moved` become those of h and x; to gv and gscalars, where they
// are wanted, those of this layer are added; gw are those of its weights.
static void layer_back(const Sizes &sizes, const float *h, const float *x, const float *v,
                       const float *scalars, const std::int64_t *ends, const float *const *w,
                       const Made &made, float *gh, float *gx, float *gv, float *gscalars,
                       float *const *gw) {
    const std::int64_t threads = sizes.threads, tiles = sizes.tiles, atoms = sizes.atoms;
    const std::int64_t edges = sizes.edges, batch = sizes.batch, S = sizes.scalars;
    const std::int64_t most = batch / tiles + 7, length = 2 * W + 1 + S;
    const bool moves = w[SHIFT], changes = w[FEATURE];
    const std::vector<float> degree = degrees(sizes, ends);
    const Factors part(w, 1 + S, as_kept);
    const float *of_scalars = part.scalars.data();
    std::vector<Sums> sums;
    for (std::int64_t thread = 0; thread < threads; thread++) sums.emplace_back(1 + S);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (std::int64_t thread = 0; thread < threads; thread++) {
        Space space(3 * atoms + 4, most);
        float *gown = space.take(atoms), *gother = space.take(atoms), *gsum = space.take(atoms);
        float *value = space.take(), *slope = space.take(), *g = space.take(), *g2 = space.take();
        std::vector<float> few(3 * atoms * most + most), of_edge((1 + S) * MOST);
        float *gmean = few.data(), *ghead = gmean + 3 * atoms * most, *edge = of_edge.data();
        Sums &to = sums[thread];
        float *gof_scalars = to.scalars.data();
        const std::int64_t last = tiles * (thread + 1) / threads;
        for (std::int64_t tile = tiles * thread / threads; tile < last; tile++) {
            const int b0 = begin(batch, tile, tiles), rows = begin(batch, tile + 1, tiles) - b0;
            const int size = rows * W;
            if (rows == 0) continue;
            std::memset(gown, 0, sizeof(float) * atoms * size);
            std::memset(gother, 0, sizeof(float) * atoms * size);
            if (!changes) std::memset(gsum, 0, sizeof(float) * atoms * size);
            for (std::int64_t i = 0; i < atoms; i++) {
                const std::int64_t place = i * batch + b0;
                const float *hi = h + place * W;
                float *ghi = gh + place * W;
                if (changes) {
                    silu(size, made.f + place * W, value, slope);
                    add_outer(rows, ghi, value, to.feature_last);
                    add_rows(rows, to.row(FEATURE_LAST_BIAS), ghi);
                    linear(rows, ghi, part.feature_last, nullptr, g);
                    multiply(size, g, slope);
                    add_outer(rows, g, hi, to.feature_own);
                    add_outer(rows, g, made.S + place * W, to.feature_sum);
                    add_rows(rows, to.row(FEATURE_BIAS), g);
                    linear(rows, g, part.feature_sum, nullptr, gsum + i * size);
                    if (!sizes.residual) std::memset(ghi, 0, sizeof(float) * size);
                    add_linear(rows, g, part.feature_own, ghi);
                }
                if (moves) {
                    std::memset(ghead, 0, sizeof(float) * rows);
                    for (int r = 0; r < 3 * rows; r++) {
                        const std::int64_t here = 3 * place + r;
                        const bool free = std::abs(made.t[here]) <= FARTHEST;
                        gmean[i * 3 * rows + r] = free ? gx[here] / degree[i] : 0.0f;
                        ghead[r / 3] += gx[here] * v[here];
                        if (gv) gv[here] += made.phi[here / 3] * gx[here];
                    }
                    head_back(rows, ghead, made.g + place * W, w[DRIVE_LAST], g,
                              to.row(DRIVE_LAST), to.row(DRIVE_LAST_BIAS), to.row(DRIVE_BIAS));
                    add_outer(rows, g, hi, to.drive);
                    add_linear(rows, g, part.drive, ghi);
                }
            }
            for (std::int64_t k = 0; k < edges; k++) {
                const std::int64_t i = ends[k], j = ends[edges + k], place = k * batch + b0;
                const std::int64_t pi = (i * batch + b0) * 3, pj = (j * batch + b0) * 3;
                const float *xi = x + pi, *xj = x + pj, *gt = gmean + i * 3 * rows;
                silu(size, made.z + place * W, value, slope);
                std::memcpy(g, gsum + i * size, sizeof(float) * size);
                if (moves) {
                    std::memset(ghead, 0, sizeof(float) * rows);
                    for (int r = 0; r < 3 * rows; r++) ghead[r / 3] += gt[r] * (xi[r] - xj[r]);
                    head_back(rows, ghead, made.y + place * W, w[SHIFT_LAST], g2,
                              to.row(SHIFT_LAST), to.row(SHIFT_LAST_BIAS), to.row(SHIFT_BIAS));
                    add_outer(rows, g2, value, to.shift);
                    add_linear(rows, g2, part.shift, g);
                }
                multiply(size, g, slope);
                silu(size, made.a + place * W, value, slope);
                add_outer(rows, g, value, to.out);
                add_rows(rows, to.row(OUT_BIAS), g);
                linear(rows, g, part.out, nullptr, g2);
                multiply(size, g2, slope);
                add(size, gown + i * size, g2);
                add(size, gother + j * size, g2);
                scalars_of(rows, S, xi, xj, scalars + place * S, edge);
                product<W, MOST, 1, true>(1 + S, rows, edge, g2, nullptr, gof_scalars);
                for (int r = 0; r < rows; r++) {
                    const float gd = dot(g2 + r * W, of_scalars);
                    for (int l = 0; gscalars && l < S; l++)
                        gscalars[(place + r) * S + l] += dot(g2 + r * W, of_scalars + (l + 1) * W);
                    const float psi = moves ? made.psi[place + r] : 0.0f;
                    for (int c = 3 * r; c < 3 * r + 3; c++) {
                        const float shifted = moves ? psi * gt[c] : 0.0f;
                        const float gr = shifted + 2 * gd * (xi[c] - xj[c]);
                        gx[pi + c] += gr;
                        gx[pj + c] -= gr;
                    }
                }
            }
            for (std::int64_t i = 0; i < atoms; i++) {
                const std::int64_t place = (i * batch + b0) * W;
                add_outer(rows, gown + i * size, h + place, to.own);
                add_outer(rows, gother + i * size, h + place, to.other);
                add_rows(rows, to.row(IN_BIAS), gown + i * size);
                add_linear(rows, gown + i * size, part.own, gh + place);
                add_linear(rows, gother + i * size, part.other, gh + place);
            }
        }
    }
    Sums &all = sums[0];
    for (std::int64_t thread = 1; thread < threads; thread++) all.add(sums[thread]);
    copy<W>(all.own, W, gw[IN], length);
    copy<W>(all.other, W, gw[IN] + W, length);
    for (std::int64_t l = 0; l <= S; l++)
        for (int j = 0; j < W; j++) gw[IN][j * length + 2 * W + l] = all.scalars[l * W + j];
    for (auto [which, matrix] : {std::pair(OUT, all.out), std::pair(SHIFT, all.shift),
                                 std::pair(DRIVE, all.drive),
                                 std::pair(FEATURE_LAST, all.feature_last)})
        if (gw[which]) std::memcpy(gw[which], matrix, sizeof(float) * W * W);
    if (gw[FEATURE]) copy<W>(all.feature_own, W, gw[FEATURE], 2 * W);
    if (gw[FEATURE]) copy<W>(all.feature_sum, W, gw[FEATURE] + W, 2 * W);
    for (int which : {IN_BIAS, OUT_BIAS, SHIFT_BIAS, SHIFT_LAST, DRIVE_BIAS, DRIVE_LAST,
                      FEATURE_BIAS, FEATURE_LAST_BIAS})
        if (gw[which]) std::memcpy(gw[which], all.row(which), sizeof(float) * W);
    for (int which : {SHIFT_LAST_BIAS, DRIVE_LAST_BIAS})
        if (gw[which]) gw[which][0] = all.row(which)[0];
}

// How many numbers the layers keep for their gradient.
extern "C" void kept(const Sizes *sizes, std::int64_t *numbers) {
    *numbers = sizes->layers * Made::size(*sizes);
}

// All layers, from h and x to `out` and `moved`. `kept` is given where a gradient will be wanted.
extern "C" void forward(const Sizes *sizes, const float *h, const float *x, const float *v,
                        const float *scalars, const std::int64_t *ends, const float *const *w,
                        float *kept, float *out, float *moved) {
    const std::int64_t on_atoms = sizes->atoms * sizes->batch;
    std::unique_ptr<float[]> passing;  // features and positions between layers, by turns
    if (!kept && sizes->layers > 1) passing.reset(new float[2 * on_atoms * (W + 3)]);
    for (std::int64_t l = 0; l < sizes->layers; l++) {
        const bool last = l + 1 == sizes->layers;
        float *to_h = out, *to_x = moved;
        if (kept) {
            const Made made(*sizes, kept + l * Made::size(*sizes));
            if (!last) to_h = made.h, to_x = made.x;
            layer(*sizes, h, x, v, scalars, ends, w + l * WEIGHTS, &made, to_h, to_x);
        } else {
            if (!last) to_h = passing.get() + l % 2 * on_atoms * (W + 3);
            if (!last) to_x = to_h + on_atoms * W;
            layer(*sizes, h, x, v, scalars, ends, w + l * WEIGHTS, nullptr, to_h, to_x);
        }
        h = to_h;
        x = to_x;
    }
}

// Gradients gh and gx of what `forward` gave become those of what it was given; those of v and the
// scalars are added to gv and gscalars, which may be missing; gw are those of the weights.
extern "C" void backward(const Sizes *sizes, const float *h, const float *x, const float *v,
                         const float *scalars, const std::int64_t *ends, const float *const *w,
                         float *kept, float *gh, float *gx, float *gv, float *gscalars,
                         float *const *gw) {
    for (std::int64_t l = sizes->layers; l-- > 0;) {
        const Made made(*sizes, kept + l * Made::size(*sizes));
        const Made below(*sizes, kept + (l ? l - 1 : 0) * Made::size(*sizes));
        layer_back(*sizes, l ? below.h : h, l ? below.x : x, v, scalars, ends, w + l * WEIGHTS,
                   made, gh, gx, gv, gscalars, gw + l * WEIGHTS);
    }
}
