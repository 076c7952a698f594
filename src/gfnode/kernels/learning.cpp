// Gradients of the forces of a learned potential with respect to its weights, tile by tile.
//
// With the names of potential.hpp, e = ∂L/∂(∂U/∂z) and L the loss, e · ∂U/∂z is the derivative of
// the energy along e. Hence a dot, the derivative along e, goes forward through the network, and
// the gradient of a bar comes back; the gradients with respect to dotted values are the g of the
// forces:
//
//   ȧ_1 = e A_1            ȧ_2 = (ȧ_1 s'(a_1)) A_2                  ȧ_3 = (ȧ_2 s'(a_2)) A_3
//   ā_3 = ȧ_3 l s''(a_3)   ā_2 = ȧ_2 u_2 s''(a_2) + (ā_3 A_3ᵀ) s'(a_2)   ā_1 likewise
//   ∂L/∂A_1 = zᵀ ā_1 + eᵀ g_1                ∂L/∂A_k = s(a_k−1)ᵀ ā_k + (ȧ_k−1 s'(a_k−1))ᵀ g_k
//   ∂L/∂b_k = Σ ā_k   ∂L/∂l = Σ ȧ_3 s'(a_3)  ∂L/∂Q = zᵀ e   ∂L/∂m = Σ e, of near pairs
//
// with u_k = g_k+1 A_k+1ᵀ, and sums over conformations.

#include "potential.hpp"

// Conformations whose gradients are summed at a time, in the cache.
constexpr int ROWS = 64;

// Places of what the gradients need of each conformation: z, s(a_k), s'(a_k), u_k s''(a_k), g_k.
enum { INPUT, HIDDEN_1, HIDDEN_2, SLOPE_1, SLOPE_2, SLOPE_3, BEND_1, BEND_2, BEND_3, BACK_1, BACK_2,
       BACK_3 };

struct Kept {
    float *const *arrays;
    std::int64_t first;

    float *operator[](int which) const {
        return arrays[which] + first * (which == INPUT ? P : W);
    }
};

// s, s' and s'' of x, where SiLU's derivatives are p (1 + x (1 − p)) and p (1 − p) (2 + x (1 − 2p)).
static void silu(int n, const float *x, float *value, float *slope, float *bend) {
    for (int j = 0; j < n; j += LANES) {
        const vec a = at(x + j), p = sigmoid(a), rest = 1.0f - p;
        if (value) at(value + j) = a * p;
        at(slope + j) = p * (1.0f + a * rest);
        at(bend + j) = p * rest * (2.0f + a * (rest - p));
    }
}

// u becomes u s', and s'' becomes u s''.
static void go_back(int n, float *u, const float *slope, float *bend) {
    multiply(n, bend, u);
    multiply(n, u, slope);
}

// Forces (row, atom, 3) on conformations x, and what gradients need.
static void forces(const Member &m, int rows, const float *x, const Kept &kept, float *space,
                   float *out) {
    float *q = space, *pull = q + rows * P, *a = pull + rows * P;
    float *near = a + rows * W, *square = near + rows * 2 * M;
    float *z = kept[INPUT], *g = kept[BACK_3];
    m.inputs(rows, x, q, z);
    product<W, P, 1, false>(rows, P, z, m.of(IN, P * W), m.of(BIAS_1, W), a);
    silu(rows * W, a, kept[HIDDEN_1], kept[SLOPE_1], kept[BEND_1]);
    product<W, W, 1, false>(rows, W, kept[HIDDEN_1], m.of(SECOND, W * W), m.of(BIAS_2, W), a);
    silu(rows * W, a, kept[HIDDEN_2], kept[SLOPE_2], kept[BEND_2]);
    product<W, W, 1, false>(rows, W, kept[HIDDEN_2], m.of(THIRD, W * W), m.of(BIAS_3, W), a);
    silu(rows * W, a, nullptr, kept[SLOPE_3], kept[BEND_3]);
    for (int r = 0; r < rows; r++) std::memcpy(g + r * W, m.of(LAST, W), sizeof(float) * W);
    go_back(rows * W, g, kept[SLOPE_3], kept[BEND_3]);
    product<W, W, 1, false>(rows, W, g, m.of(THIRD_T, W * W), nullptr, kept[BACK_2]);
    go_back(rows * W, kept[BACK_2], kept[SLOPE_2], kept[BEND_2]);
    product<W, W, 1, false>(rows, W, kept[BACK_2], m.of(SECOND_T, W * W), nullptr, kept[BACK_1]);
    go_back(rows * W, kept[BACK_1], kept[SLOPE_1], kept[BEND_1]);
    product<P, W, 1, false>(rows, W, kept[BACK_1], m.of(IN_T, W * P), nullptr, pull);
    m.add_form(rows, z, near, pull);
    for (int r = 0; r < rows; r++) {
        m.pulls(q + r * P, pull + r * P);
        sum_forces(x + r * 3 * N, pull + r * P, square, out + r * 3 * N);
    }
}

// Sum of rows, added.
template <int COLUMNS> static void add_rows(int rows, const float *x, float *to) {
    for (int r = 0; r < rows; r++) add(COLUMNS, to, x + r * COLUMNS);
}

// Gradients as laid out by `learning.py`: those of A_kᵀ and b_k by turns, of l, Q and m.
enum { D_IN, D_BIAS_1, D_SECOND, D_BIAS_2, D_THIRD, D_BIAS_3, D_LAST, D_FORM, D_LINE };

// Add the gradients of some conformations, given those of their forces.
static void gradients(const Member &m, int rows, const float *x, const float *given,
                      const Kept &kept, float *space, float *const *to) {
    float *q = space, *e = q + rows * P, *a_1 = e + rows * P, *a_2 = a_1 + rows * W;
    float *a_3 = a_2 + rows * W, *d = a_3 + rows * W, *near_z = d + rows * W;
    float *near_e = near_z + rows * M;
    for (int r = 0; r < rows; r++) {
        inverse_distances(x + r * 3 * N, q + r * P);
        spread_forces(x + r * 3 * N, given + r * 3 * N, e + r * P);
        for (int p = N * (N - 1) / 2; p < P; p++) q[r * P + p] = e[r * P + p] = 0.0f;
        m.pulls(q + r * P, e + r * P);
    }
    const auto along = [=](const float *a, int slope) {  // d = a s'
        std::memcpy(d, a, sizeof(float) * rows * W);
        multiply(rows * W, d, kept[slope]);
    };
    const auto back = [=](float *a, int bend, int slope) {  // a = a u s'' + d s'
        multiply(rows * W, a, kept[bend]);
        multiply(rows * W, d, kept[slope]);
        add(rows * W, a, d);
    };
    product<W, P, 1, false>(rows, P, e, m.of(IN, P * W), nullptr, a_1);
    product<P, 1, W, true>(W, rows, kept[BACK_1], e, nullptr, to[D_IN]);
    along(a_1, SLOPE_1);
    product<W, W, 1, false>(rows, W, d, m.of(SECOND, W * W), nullptr, a_2);
    product<W, 1, W, true>(W, rows, kept[BACK_2], d, nullptr, to[D_SECOND]);
    along(a_2, SLOPE_2);
    product<W, W, 1, false>(rows, W, d, m.of(THIRD, W * W), nullptr, a_3);
    product<W, 1, W, true>(W, rows, kept[BACK_3], d, nullptr, to[D_THIRD]);
    along(a_3, SLOPE_3);
    add_rows<W>(rows, d, to[D_LAST]);
    multiply(rows * W, a_3, kept[BEND_3]);
    add_rows<W>(rows, a_3, to[D_BIAS_3]);
    product<W, 1, W, true>(W, rows, a_3, kept[HIDDEN_2], nullptr, to[D_THIRD]);
    product<W, W, 1, false>(rows, W, a_3, m.of(THIRD_T, W * W), nullptr, d);
    back(a_2, BEND_2, SLOPE_2);
    add_rows<W>(rows, a_2, to[D_BIAS_2]);
    product<W, 1, W, true>(W, rows, a_2, kept[HIDDEN_1], nullptr, to[D_SECOND]);
    product<W, W, 1, false>(rows, W, a_2, m.of(SECOND_T, W * W), nullptr, d);
    back(a_1, BEND_1, SLOPE_1);
    add_rows<W>(rows, a_1, to[D_BIAS_1]);
    product<P, 1, W, true>(W, rows, a_1, kept[INPUT], nullptr, to[D_IN]);
    m.take_near(rows, kept[INPUT], near_z);
    m.take_near(rows, e, near_e);
    product<M, 1, M, true>(M, rows, near_z, near_e, nullptr, to[D_FORM]);
    add_rows<M>(rows, near_e, to[D_LINE]);
}

constexpr int SIZES[] = {W * P, W, W * W, W, W * W, W, W, M * M, M};

extern "C" void forward(const Sizes *sizes, const float *const *w, const float *x,
                        float *const *kept, float *out) {
    each_tile(*sizes, [=](std::int64_t, std::int64_t member, std::int64_t first, int rows) {
        std::vector<float> space(rows * (2 * P + W + 2 * M) + N * FULL);
        const std::int64_t begin = first * 3 * N;
        forces({w, member}, rows, x + begin, {kept, first}, space.data(), out + begin);
    });
}

// Gradients to[k] of (task, …), which are zero before: each tile is a task.
extern "C" void backward(const Sizes *sizes, const float *const *w, const float *x,
                         const float *given, float *const *kept, float *const *to) {
    each_tile(*sizes, [=](std::int64_t task, std::int64_t member, std::int64_t first, int rows) {
        float *own[std::size(SIZES)];
        for (std::size_t k = 0; k < std::size(SIZES); k++) own[k] = to[k] + task * SIZES[k];
        std::vector<float> space(ROWS * (2 * P + 4 * W + 2 * M));
        for (int done = 0; done < rows; done += ROWS) {
            const std::int64_t row = first + done, begin = row * 3 * N;
            gradients({w, member}, std::min(ROWS, rows - done), x + begin, given + begin,
                      {kept, row}, space.data(), own);
        }
    });
}
