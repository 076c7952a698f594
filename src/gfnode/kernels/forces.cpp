// Forces of a learned potential, see gfnode/dynamics/potential.py, in one pass over memory.
//
// A tile, some two dozen conformations, goes through the network and back while it lies in the
// cache. With q = 1/|x_i − x_j| of all pairs, z = (q − μ)/σ and s = SiLU:
//
//   a_1 = z A_1 + b_1     a_2 = s(a_1) A_2 + b_2     a_3 = s(a_2) A_3 + b_3
//   g_3 = l s'(a_3)       g_2 = (g_3 A_3ᵀ) s'(a_2)   g_1 = (g_2 A_2ᵀ) s'(a_1)
//   −∂U/∂q = −(z Q + m + g_1 A_1ᵀ)/σ
//   F_i = Σ_j ∂U/∂q_ij q_ij³ (x_i − x_j)
//
// The forces on a conformation do not depend on what other conformations are asked for, to the
// last bit. PAIRS is the number of pairs, filled up with such that have μ = 1/σ = 0 to a multiple
// of 32.

#include "blocks.hpp"

#include <cmath>

constexpr int W = WIDTH, P = PAIRS, N = ATOMS;
static_assert(P % 32 == 0 && P >= N * (N - 1) / 2, "pairs are filled up");

// Places in the array of weights: each but the first two holds those of one member after another.
enum { MEAN, INVERSE_SPREAD, IN, BIAS_1, SECOND, BIAS_2, THIRD, BIAS_3, IN_T, SECOND_T, THIRD_T,
       LAST, FORM, LINE };

// q of a conformation x (atom, 3).
static void inverse_distances(const float *x, float *q) {
    float place[3][N];
    for (int i = 0; i < N; i++)
        for (int c = 0; c < 3; c++) place[c][i] = x[3 * i + c];
    for (int i = 0; i < N; i++)
        for (int j = i + 1; j < N; j++) {
            const float a = place[0][i] - place[0][j], b = place[1][i] - place[1][j],
                        c = place[2][i] - place[2][j];
            *q++ = 1.0f / std::sqrt(a * a + b * b + c * c);
        }
}

// Forces (atom, 3) of the pull ∂U/∂q q³ of each pair.
static void sum_forces(const float *x, const float *pull, float *force) {
    std::memset(force, 0, sizeof(float) * 3 * N);
    for (int i = 0; i < N; i++)
        for (int j = i + 1; j < N; j++, pull++)
            for (int c = 0; c < 3; c++) {
                const float along = *pull * (x[3 * i + c] - x[3 * j + c]);
                force[3 * i + c] += along;
                force[3 * j + c] -= along;
            }
}

extern "C" void forces(std::int64_t threads, std::int64_t tiles, std::int64_t members,
                       std::int64_t batch, const float *x, const float *const *w, float *out) {
    const std::int64_t most = (batch + tiles - 1) / tiles;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (std::int64_t task = 0; task < members * tiles; task++) {
        const std::int64_t member = task / tiles, tile = task % tiles;
        const std::int64_t first = batch * tile / tiles, last = batch * (tile + 1) / tiles;
        const int rows = last - first;
        const auto of = [&](int which, int size) { return w[which] + member * size; };
        std::vector<float> space(most * (3 * P + 4 * W));
        float *q = space.data(), *z = q + most * P, *pull = z + most * P, *h = pull + most * P;
        float *g = h + most * W, *slope_1 = g + most * W, *slope_2 = slope_1 + most * W;
        const float *conformations = x + (member * batch + first) * 3 * N;
        for (int r = 0; r < rows; r++) {
            float *own = q + r * P;
            inverse_distances(conformations + r * 3 * N, own);
            for (int p = N * (N - 1) / 2; p < P; p++) own[p] = 0.0f;
            for (int p = 0; p < P; p += LANES)
                at(z + r * P + p) = (at(own + p) - at(w[MEAN] + p)) * at(w[INVERSE_SPREAD] + p);
        }
        product<W, P, 1, false>(rows, P, z, of(IN, P * W), of(BIAS_1, W), g);
        silu(rows * W, g, h, slope_1);
        product<W, W, 1, false>(rows, W, h, of(SECOND, W * W), of(BIAS_2, W), g);
        silu(rows * W, g, h, slope_2);
        product<W, W, 1, false>(rows, W, h, of(THIRD, W * W), of(BIAS_3, W), g);
        silu(rows * W, g, h, g);
        for (int r = 0; r < rows; r++) multiply(W, g + r * W, of(LAST, W));
        product<W, W, 1, false>(rows, W, g, of(THIRD_T, W * W), nullptr, h);
        multiply(rows * W, h, slope_2);
        product<W, W, 1, false>(rows, W, h, of(SECOND_T, W * W), nullptr, g);
        multiply(rows * W, g, slope_1);
        product<P, P, 1, false>(rows, P, z, of(FORM, P * P), of(LINE, P), pull);
        product<P, W, 1, true>(rows, W, g, of(IN_T, W * P), nullptr, pull);
        for (int r = 0; r < rows; r++) {
            for (int p = 0; p < P; p += LANES) {
                const vec near = at(q + r * P + p);
                at(pull + r * P + p) *= at(w[INVERSE_SPREAD] + p) * near * near * near;
            }
            sum_forces(conformations + r * 3 * N, pull + r * P,
                       out + (member * batch + first + r) * 3 * N);
        }
    }
}
