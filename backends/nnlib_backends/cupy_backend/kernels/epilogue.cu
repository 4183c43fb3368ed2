// Bias and activation after a GEMM or a convolution, and their gradients.
#include "activation.cuh"
#include "columns.cuh"

template <int N>
__device__ void add_bias(
    real* y, const wide* bias, Size activation, Size rows, Size columns
) {
    Tile<N> tile(rows, columns);
    tile.for_units([&](Size unit, bool active) {
        if (!active) return;
        Vector<N> shift = bias ? load<N>(bias, unit) : filled<N>(0);
        tile.for_rows([&](Size row) {
            Vector<N> v = load<N>(y + row * columns, unit);
#pragma unroll
            for (int j = 0; j < N; j++) v.v[j] = activate(v.v[j] + shift.v[j], activation);
            store(y + row * columns, unit, v);
        });
    });
}

// y = activation(y + bias), in place
KERNEL bias_activation(real* y, const wide* bias, Size activation, Size rows, Size columns) {
    if (columns % PACK == 0 && aligned(y, bias))
        add_bias<PACK>(y, bias, activation, rows, columns);
    else
        add_bias<1>(y, bias, activation, rows, columns);
}

template <int N>
__device__ void derive_and_sum(
    const real* g, const real* y, real* d, wide* sums, Size activation, Size rows, Size columns
) {
    column_sums<N, 1>(rows, columns, sums, [=](Size row, Size unit, Vector<N>* sum) {
        Vector<N> v = load<N>(g + row * columns, unit);
        if (y) {
            Vector<N> result = load<N>(y + row * columns, unit);
#pragma unroll
            for (int j = 0; j < N; j++) v.v[j] = derive(v.v[j], result.v[j], activation);
            store(d + row * columns, unit, v);
        }
#pragma unroll
        for (int j = 0; j < N; j++) sum->v[j] += v.v[j];
    });
}

// Without y: sums (gridDim.y, columns) of g, of each block's rows.
// With y, the result of an activation: d = g · activation'(y), and its sums.
KERNEL bias_gradient(
    const real* g, const real* y, real* d, wide* sums, Size activation, Size rows, Size columns
) {
    if (columns % PACK == 0 && aligned(g, y, d, sums))
        derive_and_sum<PACK>(g, y, d, sums, activation, rows, columns);
    else
        derive_and_sum<1>(g, y, d, sums, activation, rows, columns);
}

template <int N>
__device__ void add_up(
    const wide* parts, wide* first, wide* second, Size split, Size rows, Size columns
) {
    column_sums<N, 1>(
        rows, columns,
        [=](Size row, Size unit, Vector<N>* sum) {
            Vector<N> v = load<N>(parts + row * columns, unit);
#pragma unroll
            for (int j = 0; j < N; j++) sum->v[j] += v.v[j];
        },
        [=](Size unit, int, const Vector<N>& sum) {
#pragma unroll
            for (int j = 0; j < N; j++) {
                Size column = unit * N + j;
                if (column < split && first) first[column] = sum.v[j];
                if (column >= split && second) second[column - split] = sum.v[j];
            }
        }
    );
}

// parts (rows, columns) -> their sums: first (split,), second (columns − split,), or null
KERNEL two_sums(
    const wide* parts, wide* first, wide* second, Size split, Size rows, Size columns
) {
    if (columns % PACK == 0 && aligned(parts))
        add_up<PACK>(parts, first, second, split, rows, columns);
    else
        add_up<1>(parts, first, second, split, rows, columns);
}
