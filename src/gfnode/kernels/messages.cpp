// A layer of messages (EGNN), and its gradient, in one pass over memory.
//
// A tile, some two dozen samples, goes through the whole layer while what it needs lies in the
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
// a, z, y, g, f, S, ψ, φ and t are kept for the gradient. The rows of a sample are summed in one
// order, whatever the other samples are: its numbers do not depend on them. Gradients of weights
// are summed within each thread, and then over threads.
//
// Arrays are C-ordered: h (atom, batch, W), x and v (atom, batch, 3), e (edge, batch, scalars).
// Weights are as PyTorch keeps them, (out, in), A, B and C side by side, and F and G. W, the width,
// is a constant of compilation, so that the addresses in products are too; it must be a multiple of
// eight.

#include <cmath>
#include <utility>

#include "messages.hpp"

// Without weights of shifts and drives no atom moves, without those of features they stay: `moved`
// and `out` are not given then. `kept` is given where a gradient will be wanted.
extern "C" void forward(const Sizes *sizes, const float *h, const float *x, const float *v,
                        const float *scalars, const std::int64_t *ends, const float *const *w,
                        float *const *kept, float *moved, float *out) {
    const std::int64_t threads = sizes->threads, tiles = sizes->tiles, atoms = sizes->atoms;
    const std::int64_t edges = sizes->edges, batch = sizes->batch, S = sizes->scalars;
    const std::int64_t most = batch / tiles + 7;
    const std::vector<float> degree = degrees(*sizes, ends);
    const Factors part(w, 1 + S, turned);
    const float *of_scalars = part.scalars.data();
#pragma omp parallel for num_threads(threads) schedule(static)
    for (std::int64_t thread = 0; thread < threads; thread++) {
        Space space(3 * atoms + 2, most);
        float *own = space.take(atoms), *other = space.take(atoms), *sum = space.take(atoms);
        float *u = space.take(), *z = space.take();
        std::vector<float> few(3 * atoms * most + 2 * most);
        float *mean = few.data(), *shifts = mean + 3 * atoms * most, *drives = shifts + most;
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
                for (int r = 0; r < rows; r++) {
                    const float *e = scalars + (place + r) * S;
                    const float d = squared(xi + 3 * r, xj + 3 * r);
                    for (int c = 0; c < W; c += LANES) {
                        vec a = at(p + r * W + c) + at(q + r * W + c) + d * at(of_scalars + c);
                        for (int l = 0; l < S; l++) a += e[l] * at(of_scalars + (l + 1) * W + c);
                        at(u + r * W + c) = a * sigmoid(a);
                        if (kept) at(kept[KEPT_IN] + (place + r) * W + c) = a;
                    }
                }
                float *below = kept ? kept[KEPT_OUT] + place * W : z;
                linear(rows, u, part.out, w[OUT_BIAS], below);
                silu(size, below, u);
                if (out) add(size, sum + i * size, u);
                if (moved) {
                    float *y = kept ? kept[KEPT_SHIFT] + place * W : z;
                    float *psi = kept ? kept[KEPT_SHIFTS] + place : shifts;
                    linear(rows, u, part.shift, w[SHIFT_BIAS], y);
                    head(rows, y, w[SHIFT_LAST], w[SHIFT_LAST_BIAS], psi);
                    for (int r = 0; r < 3 * rows; r++)
                        mean[i * 3 * rows + r] += psi[r / 3] * (xi[r] - xj[r]);
                }
            }
            for (std::int64_t i = 0; moved && i < atoms; i++) {
                const std::int64_t place = i * batch + b0;
                float *g = kept ? kept[KEPT_DRIVE] + place * W : z;
                float *phi = kept ? kept[KEPT_DRIVES] + place : drives;
                linear(rows, h + place * W, part.drive, w[DRIVE_BIAS], g);
                head(rows, g, w[DRIVE_LAST], w[DRIVE_LAST_BIAS], phi);
                for (int r = 0; r < 3 * rows; r++) {
                    const std::int64_t here = 3 * place + r;
                    float t = mean[i * 3 * rows + r] / degree[i];
                    if (kept) kept[KEPT_MEAN][here] = t;
                    t = t < -FARTHEST ? -FARTHEST : t > FARTHEST ? FARTHEST : t;
                    moved[here] = x[here] + t + phi[r / 3] * v[here];
                }
            }
            for (std::int64_t i = 0; out && i < atoms; i++) {
                const std::int64_t place = (i * batch + b0) * W;
                float *f = kept ? kept[KEPT_FEATURE] + place : z;
                linear(rows, h + place, part.feature_own, w[FEATURE_BIAS], f);
                add_linear(rows, sum + i * size, part.feature_sum, f);
                if (kept) std::memcpy(kept[KEPT_SUM] + place, sum + i * size, sizeof(float) * size);
                silu(size, f, u);
                linear(rows, u, part.feature_last, w[FEATURE_LAST_BIAS], out + place);
            }
        }
    }
}

// From gradients of `moved` and `out`, either of which may be missing, to those of all that was
// given, `gw` of the weights; what no gradient reaches gets zeros.
extern "C" void backward(const Sizes *sizes, const float *h, const float *x, const float *v,
                         const float *scalars, const std::int64_t *ends, const float *const *w,
                         const float *const *kept, const float *gmoved, const float *gout,
                         float *gh, float *gx, float *gv, float *gscalars, float *const *gw) {
    const std::int64_t threads = sizes->threads, tiles = sizes->tiles, atoms = sizes->atoms;
    const std::int64_t edges = sizes->edges, batch = sizes->batch, S = sizes->scalars;
    const std::int64_t most = batch / tiles + 7, length = 2 * W + 1 + S;
    const std::vector<float> degree = degrees(*sizes, ends);
    const Factors part(w, 1 + S, as_kept);
    const float *of_scalars = part.scalars.data();
    std::vector<Sums> sums;
    for (std::int64_t thread = 0; thread < threads; thread++) sums.emplace_back(1 + S);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (std::int64_t thread = 0; thread < threads; thread++) {
        Space space(3 * atoms + 4, most);
        float *gown = space.take(atoms), *gother = space.take(atoms), *gsum = space.take(atoms);
        float *value = space.take(), *slope = space.take(), *g = space.take(), *g2 = space.take();
        std::vector<float> few(3 * atoms * most + most);
        float *gmean = few.data(), *ghead = gmean + 3 * atoms * most;
        Sums &to = sums[thread];
        float *gof_scalars = to.scalars.data();
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
                add_outer(rows, gout + place, value, to.feature_last);
                add_rows(rows, to.row(FEATURE_LAST_BIAS), gout + place);
                linear(rows, gout + place, part.feature_last, nullptr, g);
                multiply(size, g, slope);
                add_outer(rows, g, h + place, to.feature_own);
                add_outer(rows, g, kept[KEPT_SUM] + place, to.feature_sum);
                add_rows(rows, to.row(FEATURE_BIAS), g);
                linear(rows, g, part.feature_sum, nullptr, gsum + i * size);
                linear(rows, g, part.feature_own, nullptr, gh + place);
            }
            for (std::int64_t i = 0; i < atoms; i++)
                for (int r = 0; r < 3 * rows; r++) {
                    const std::int64_t here = (i * batch + b0) * 3 + r;
                    const float wanted = gmoved ? gmoved[here] : 0.0f;
                    gx[here] = wanted;
                    gv[here] = gmoved ? kept[KEPT_DRIVES][here / 3] * wanted : 0.0f;
                    const bool free = gmoved && std::abs(kept[KEPT_MEAN][here]) <= FARTHEST;
                    gmean[i * 3 * rows + r] = free ? wanted / degree[i] : 0.0f;
                }
            for (std::int64_t k = 0; k < edges; k++) {
                const std::int64_t i = ends[k], j = ends[edges + k], place = k * batch + b0;
                const std::int64_t pi = (i * batch + b0) * 3, pj = (j * batch + b0) * 3;
                const float *xi = x + pi, *xj = x + pj, *gt = gmean + i * 3 * rows;
                silu(size, kept[KEPT_OUT] + place * W, value, slope);
                std::memcpy(g, gsum + i * size, sizeof(float) * size);
                if (gmoved) {
                    std::memset(ghead, 0, sizeof(float) * rows);
                    for (int r = 0; r < 3 * rows; r++) ghead[r / 3] += gt[r] * (xi[r] - xj[r]);
                    head_back(rows, ghead, kept[KEPT_SHIFT] + place * W, w[SHIFT_LAST], g2,
                              to.row(SHIFT_LAST), to.row(SHIFT_LAST_BIAS), to.row(SHIFT_BIAS));
                    add_outer(rows, g2, value, to.shift);
                    add_linear(rows, g2, part.shift, g);
                }
                multiply(size, g, slope);
                silu(size, kept[KEPT_IN] + place * W, value, slope);
                add_outer(rows, g, value, to.out);
                add_rows(rows, to.row(OUT_BIAS), g);
                linear(rows, g, part.out, nullptr, g2);
                multiply(size, g2, slope);
                add(size, gown + i * size, g2);
                add(size, gother + j * size, g2);
                for (int r = 0; r < rows; r++) {
                    const float d = squared(xi + 3 * r, xj + 3 * r);
                    const float gd = of_scalar(g2 + r * W, d, of_scalars, gof_scalars);
                    for (int l = 0; l < S; l++) {
                        const std::int64_t here = (place + r) * S + l, c = (l + 1) * W;
                        gscalars[here] = of_scalar(g2 + r * W, scalars[here], of_scalars + c,
                                                   gof_scalars + c);
                    }
                    const float psi = gmoved ? kept[KEPT_SHIFTS][place + r] : 0.0f;
                    for (int c = 3 * r; c < 3 * r + 3; c++) {
                        const float gr = psi * gt[c] + 2 * gd * (xi[c] - xj[c]);
                        gx[pi + c] += gr;
                        gx[pj + c] -= gr;
                    }
                }
            }
            for (std::int64_t i = 0; i < atoms; i++) {
                const std::int64_t place = i * batch + b0;
                const float *hi = h + place * W;
                float *ghi = gh + place * W;
                if (!gout) std::memset(ghi, 0, sizeof(float) * size);
                add_outer(rows, gown + i * size, hi, to.own);
                add_outer(rows, gother + i * size, hi, to.other);
                add_rows(rows, to.row(IN_BIAS), gown + i * size);
                add_linear(rows, gown + i * size, part.own, ghi);
                add_linear(rows, gother + i * size, part.other, ghi);
                if (gmoved) {
                    std::memset(ghead, 0, sizeof(float) * rows);
                    for (int r = 0; r < 3 * rows; r++)
                        ghead[r / 3] += gmoved[3 * place + r] * v[3 * place + r];
                    head_back(rows, ghead, kept[KEPT_DRIVE] + place * W, w[DRIVE_LAST], g,
                              to.row(DRIVE_LAST), to.row(DRIVE_LAST_BIAS), to.row(DRIVE_BIAS));
                    add_outer(rows, g, hi, to.drive);
                    add_linear(rows, g, part.drive, ghi);
                }
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
