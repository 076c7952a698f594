// Forces of a learned potential in one pass over memory, and motion by them, see
// gfnode/dynamics/newton.py.
//
// A tile, some two dozen conformations, goes through the network of potential.hpp and back while
// it lies in the cache, and stays there for all steps that are asked for. What becomes of a
// conformation does not depend on what other conformations are asked for, to the last bit.

#include "potential.hpp"

// The weights of a member, and room for a tile of it.
struct Tile : Member {
    std::vector<float> space;

    Tile(const float *const *w, std::int64_t member, std::int64_t rows)
        : Member{w, member}, space(rows * (3 * P + 4 * W + 2 * M) + N * FULL) {}

    // Forces (row, atom, 3) on conformations x.
    void forces(int rows, const float *x, float *out) {
        float *q = space.data(), *z = q + rows * P, *pull = z + rows * P, *h = pull + rows * P;
        float *g = h + rows * W, *slope_1 = g + rows * W, *slope_2 = slope_1 + rows * W;
        float *near = slope_2 + rows * W, *square = near + rows * 2 * M;
        inputs(rows, x, q, z);
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
        product<P, W, 1, false>(rows, W, g, of(IN_T, W * P), nullptr, pull);
        add_form(rows, z, near, pull);
        for (int r = 0; r < rows; r++) {
            pulls(q + r * P, pull + r * P);
            sum_forces(x + r * 3 * N, pull + r * P, square, out + r * 3 * N);
        }
    }
};

extern "C" void forces(const Sizes *sizes, const float *const *w, const float *x, float *out) {
    each_tile(*sizes, [=](std::int64_t, std::int64_t member, std::int64_t first, int rows) {
        Tile(w, member, rows).forces(rows, x + first * 3 * N, out + first * 3 * N);
    });
}

// A thermostat: ω and 1/τ of each row, R and S of each step and row, or null; K̄ and step length.
struct Thermostat {
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
                        std::int64_t steps, const Thermostat *bath, float *x, float *v, float *friction,
                        float *pull) {
    const float half = bath->step / 2, kinetic = bath->kinetic;
    const std::int64_t all = sizes->members * sizes->batch;
    each_tile(*sizes, [=](std::int64_t, std::int64_t member, std::int64_t first, int rows) {
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
