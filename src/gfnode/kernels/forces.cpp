// Forces of a learned potential, see gfnode/dynamics/potential.py, in one pass over memory, and
// motion by them, see gfnode/dynamics/newton.py.
//
// A tile, some two dozen conformations, goes through the network and back while it lies in the
// cache, and stays there for all steps that are asked for. With q = 1/|x_i − x_j| of all pairs,
// z = (q − μ)/σ, held within a limit as in potential.py, and s = SiLU:
//
//   a_1 = z A_1 + b_1     a_2 = s(a_1) A_2 + b_2     a_3 = s(a_2) A_3 + b_3
//   g_3 = l s'(a_3)       g_2 = (g_3 A_3ᵀ) s'(a_2)   g_1 = (g_2 A_2ᵀ) s'(a_1)
//   −∂U/∂q = −(z Q + m + g_1 A_1ᵀ) z'/σ
//   F_i = Σ_j ∂U/∂q_ij q_ij³ (x_i − x_j)
//
// What becomes of a conformation does not depend on what other conformations are asked for, to the
// last bit. PAIRS is the number of pairs, filled up with such that have μ = 1/σ = 0 to a multiple
// of 32.

#include "blocks.hpp"

#include <algorithm>
#include <cmath>

constexpr int W = WIDTH, P = PAIRS, N = ATOMS;
static_assert(P % 32 == 0 && P >= N * (N - 1) / 2, "pairs are filled up");

// Places in the array of weights: each but the first three holds those of one member after another.
enum { MEAN, INVERSE_SPREAD, LIMIT, IN, BIAS_1, SECOND, BIAS_2, THIRD, BIAS_3, IN_T, SECOND_T, THIRD_T,
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

// Room in which z comes to rest beyond its limit.
constexpr float FADE = 4.0f;

// z beyond a limit ≥ 0, and how much of that lies within the room.
static inline void look_beyond(vec z, vec limit, vec &over, vec &inside) {
    over = (z < 0.0f ? -z : z) - limit;
    over = over > 0.0f ? over : vec{};
    inside = over < FADE ? over : all(FADE);
}

// The weights of a member, and room for a tile of it.
struct Tile {
    const float *const *w;
    std::int64_t member;
    std::vector<float> space;

    Tile(const float *const *w, std::int64_t member, std::int64_t rows)
        : w(w), member(member), space(rows * (3 * P + 4 * W)) {}

    const float *of(int which, int size) const { return w[which] + member * size; }

    // (q − μ)/σ of pairs p and after.
    vec standard(const float *q, int p) const {
        return (at(q + p) - at(w[MEAN] + p)) * at(w[INVERSE_SPREAD] + p);
    }

    // Forces (row, atom, 3) on conformations x.
    void forces(int rows, const float *x, float *out) {
        float *q = space.data(), *z = q + rows * P, *pull = z + rows * P, *h = pull + rows * P;
        float *g = h + rows * W, *slope_1 = g + rows * W, *slope_2 = slope_1 + rows * W;
        for (int r = 0; r < rows; r++) {
            float *own = q + r * P;
            inverse_distances(x + r * 3 * N, own);
            for (int p = N * (N - 1) / 2; p < P; p++) own[p] = 0.0f;
            for (int p = 0; p < P; p += LANES) {
                const vec free = standard(own, p);
                vec over, inside;
                look_beyond(free, at(w[LIMIT] + p), over, inside);
                const vec off = over - inside + inside * inside / (2.0f * FADE);
                at(z + r * P + p) = free < 0.0f ? free + off : free - off;
            }
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
                vec over, inside;
                look_beyond(standard(q + r * P, p), at(w[LIMIT] + p), over, inside);
                const vec slope = at(w[INVERSE_SPREAD] + p) * (1.0f - inside / FADE);
                at(pull + r * P + p) *= slope * near * near * near;
            }
            sum_forces(x + r * 3 * N, pull + r * P, out + r * 3 * N);
        }
    }
};

struct Sizes {
    std::int64_t threads, tiles, members, batch;
};

// Do something to each tile: its member, its first row of all, and how many.
template <typename Action> static void each_tile(const Sizes &s, Action action) {
#pragma omp parallel for num_threads(s.threads) schedule(static)
    for (std::int64_t task = 0; task < s.members * s.tiles; task++) {
        const std::int64_t member = task / s.tiles, tile = task % s.tiles;
        const std::int64_t first = s.batch * tile / s.tiles, last = s.batch * (tile + 1) / s.tiles;
        action(member, member * s.batch + first, static_cast<int>(last - first));
    }
}

extern "C" void forces(const Sizes *sizes, const float *const *w, const float *x, float *out) {
    each_tile(*sizes, [=](std::int64_t member, std::int64_t first, int rows) {
        Tile(w, member, rows).forces(rows, x + first * 3 * N, out + first * 3 * N);
    });
}

// A thermostat: ω and 1/τ of each row, R and S of each step and row, or null; K̄ and step length.
struct Bath {
    const float *frequency, *rate, *along, *others;
    float kinetic, step;
    std::int64_t freedoms;
};

static float twice_kinetic(const float *v, const float *mass) {
    float sum = 0.0f;
    for (int i = 0; i < N; i++)
        for (int c = 0; c < 3; c++) sum += mass[i] * v[3 * i + c] * v[3 * i + c];
    return sum;
}

// Steps of positions, velocities (row, atom, 3), friction (row) and accelerations, in place.
extern "C" void advance(const Sizes *sizes, const float *const *w, const float *mass,
                        std::int64_t steps, const Bath *bath, float *x, float *v, float *friction,
                        float *pull) {
    const float half = bath->step / 2, kinetic = bath->kinetic;
    const std::int64_t all = sizes->members * sizes->batch;
    each_tile(*sizes, [=](std::int64_t member, std::int64_t first, int rows) {
        Tile tile(w, member, rows);
        const auto heat = [=](std::int64_t row) {
            const float frequency = bath->frequency[row];
            const float twice = twice_kinetic(v + row * 3 * N, mass);
            return half * frequency * frequency * (twice / (2 * kinetic) - 1);
        };
        for (std::int64_t step = 0; step < steps; step++) {
            for (std::int64_t row = first; row < first + rows; row++) {
                friction[row] += heat(row);
                const float damping = std::exp(-half * friction[row]);
                for (std::int64_t k = row * 3 * N; k < (row + 1) * 3 * N; k++) {
                    v[k] = v[k] * damping + half * pull[k];
                    x[k] += bath->step * v[k];
                }
            }
            tile.forces(rows, x + first * 3 * N, pull + first * 3 * N);
            for (std::int64_t row = first; row < first + rows; row++) {
                const float damping = std::exp(-half * friction[row]);
                for (int i = 0; i < N; i++)
                    for (int c = 0; c < 3; c++) {
                        const std::int64_t k = (row * N + i) * 3 + c;
                        pull[k] /= mass[i];
                        v[k] = (v[k] + half * pull[k]) * damping;
                    }
                friction[row] += heat(row);
                if (!bath->along) continue;
                const float left = std::exp(-bath->step * bath->rate[row]);
                const float twice = std::max(twice_kinetic(v + row * 3 * N, mass), 1e-12f);
                const float share = 2 * kinetic / twice / bath->freedoms;
                const float R = bath->along[step * all + row], S = bath->others[step * all + row];
                const float squared = left + (1 - left) * share * (R * R + S) +
                                      2 * R * std::sqrt(left * (1 - left) * share);
                const float scale = std::sqrt(std::max(squared, 0.0f));
                for (std::int64_t k = row * 3 * N; k < (row + 1) * 3 * N; k++) v[k] *= scale;
            }
        }
    });
}
