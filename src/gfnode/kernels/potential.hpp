// The ends of a learned potential, see gfnode/dynamics/potential.py: from conformations to the
// inputs of its network, and from the slopes of these to forces.
//
// With q = 1/|x_i − x_j| of all pairs, z = (q − μ)/σ, held within a limit as in potential.py, and
// s = SiLU:
//
//   a_1 = z A_1 + b_1     a_2 = s(a_1) A_2 + b_2     a_3 = s(a_2) A_3 + b_3
//   g_3 = l s'(a_3)       g_2 = (g_3 A_3ᵀ) s'(a_2)   g_1 = (g_2 A_2ᵀ) s'(a_1)
//   ∂U/∂z = z Q + m + g_1 A_1ᵀ, the former two of near pairs only
//   F_i = Σ_j ∂U/∂z_ij ∂z_ij/∂q_ij q_ij³ (x_i − x_j)
//
// PAIRS is the number of pairs, filled up with such that have μ = 1/σ = 0 to a multiple of 32, and
// NEAR that of near pairs, filled up with any whose Q and m are zero.

#pragma once

#include "blocks.hpp"

#include <algorithm>
#include <cmath>

constexpr int W = WIDTH, P = PAIRS, N = ATOMS, M = NEAR;
static_assert(P % 32 == 0 && P >= N * (N - 1) / 2, "pairs are filled up");

// Places in the array of weights: each but the first four holds those of one member after another.
enum { MEAN, INVERSE_SPREAD, LIMIT, NEAR_PAIRS, IN, BIAS_1, SECOND, BIAS_2, THIRD, BIAS_3, IN_T, SECOND_T, THIRD_T,
       LAST, FORM, LINE };

// Room in which z comes to rest beyond its limit.
constexpr float FADE = 4.0f;

// Atoms, filled up to whole vectors.
constexpr int FULL = (N + LANES - 1) / LANES * LANES;

// Coordinates (atom, 3), one direction after another.
static void by_direction(const float *x, float (*to)[FULL]) {
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < FULL; i++) to[c][i] = i < N ? x[3 * i + c] : 0.0f;
}

// q of a conformation x (atom, 3).
static void inverse_distances(const float *x, float *q) {
    float place[3][FULL];
    by_direction(x, place);
    for (int i = 0; i < N; i++)
        for (int j = i + 1; j < N; j++) {
            const float a = place[0][i] - place[0][j], b = place[1][i] - place[1][j],
                        c = place[2][i] - place[2][j];
            *q++ = 1.0f / std::sqrt(a * a + b * b + c * c);
        }
}

// Forces (atom, 3) of the pull ∂U/∂q q³ of each pair. `square` is room for all pairs (N, FULL),
// zero where there is none.
static void sum_forces(const float *x, const float *pull, float *square, float *force) {
    float place[3][FULL], sum[3][FULL];
    by_direction(x, place);
    for (int i = 0; i < N; i++)
        for (int j = i + 1; j < N; j++) square[i * FULL + j] = square[j * FULL + i] = *pull++;
    for (int i = 0; i < FULL; i += LANES) {
        vec own[3];
        for (int c = 0; c < 3; c++) own[c] = vec{};
        for (int j = 0; j < N; j++)
            for (int c = 0; c < 3; c++)
                own[c] += at(square + j * FULL + i) * (at(place[c] + i) - place[c][j]);
        for (int c = 0; c < 3; c++) at(sum[c] + i) = own[c];
    }
    for (int i = 0; i < N; i++)
        for (int c = 0; c < 3; c++) force[3 * i + c] = sum[c][i];
}

// Its transpose: what each pair's pull adds to Σ force · given.
static void spread_forces(const float *x, const float *given, float *pull) {
    float place[3][FULL], along[3][FULL];
    by_direction(x, place);
    by_direction(given, along);
    for (int i = 0; i < N; i++)
        for (int j = i + 1; j < N; j++) {
            float sum = 0.0f;
            for (int c = 0; c < 3; c++)
                sum += (along[c][i] - along[c][j]) * (place[c][i] - place[c][j]);
            *pull++ = sum;
        }
}

// z beyond a limit ≥ 0, and how much of that lies within the room.
static inline void look_beyond(vec z, vec limit, vec &over, vec &inside) {
    over = (z < 0.0f ? -z : z) - limit;
    over = over > 0.0f ? over : vec{};
    inside = over < FADE ? over : all(FADE);
}

// The weights of a member.
struct Member {
    const float *const *w;
    std::int64_t number;

    const float *of(int which, int size) const { return w[which] + number * size; }

    // (q − μ)/σ of pairs p and after.
    vec standard(const float *q, int p) const {
        return (at(q + p) - at(w[MEAN] + p)) * at(w[INVERSE_SPREAD] + p);
    }

    // q and z of conformations x (row, atom, 3).
    void inputs(int rows, const float *x, float *q, float *z) const {
        for (int r = 0; r < rows; r++, x += 3 * N, q += P, z += P) {
            inverse_distances(x, q);
            for (int p = N * (N - 1) / 2; p < P; p++) q[p] = 0.0f;
            for (int p = 0; p < P; p += LANES) {
                const vec free = standard(q, p);
                vec over, inside;
                look_beyond(free, at(w[LIMIT] + p), over, inside);
                const vec off = over - inside + inside * inside / (2.0f * FADE);
                at(z + p) = free < 0.0f ? free + off : free - off;
            }
        }
    }

    // Values of near pairs (row, M), of those of all pairs (row, P).
    void take_near(int rows, const float *x, float *to) const {
        const auto *places = reinterpret_cast<const std::int32_t *>(w[NEAR_PAIRS]);
        for (int r = 0; r < rows; r++, x += P)
            for (int k = 0; k < M; k++) *to++ = x[places[k]];
    }

    // The slopes z Q + m of near pairs, added to those of all.
    void add_form(int rows, const float *z, float *near, float *slope) const {
        float *added = near + rows * M;
        take_near(rows, z, near);
        product<M, M, 1, false>(rows, M, near, of(FORM, M * M), of(LINE, M), added);
        const auto *places = reinterpret_cast<const std::int32_t *>(w[NEAR_PAIRS]);
        for (int r = 0; r < rows; r++, slope += P)
            for (int k = 0; k < M; k++) slope[places[k]] += *added++;
    }

    // Slopes by z become those by q, times q³: of one row.
    void pulls(const float *q, float *slope) const {
        for (int p = 0; p < P; p += LANES) {
            const vec near = at(q + p);
            vec over, inside;
            look_beyond(standard(q, p), at(w[LIMIT] + p), over, inside);
            const vec rise = at(w[INVERSE_SPREAD] + p) * (1.0f - inside / FADE);
            at(slope + p) *= rise * near * near * near;
        }
    }
};

struct Sizes {
    std::int64_t threads, tiles, members, batch;
};

// Do something to each tile: its number, its member, its first row of all, and how many.
template <typename Action> static void each_tile(const Sizes &s, Action action) {
#pragma omp parallel for num_threads(s.threads) schedule(static)
    for (std::int64_t task = 0; task < s.members * s.tiles; task++) {
        const std::int64_t member = task / s.tiles, tile = task % s.tiles;
        const std::int64_t first = s.batch * tile / s.tiles, last = s.batch * (tile + 1) / s.tiles;
        action(task, member, member * s.batch + first, static_cast<int>(last - first));
    }
}
