// Layer norm and RMS norm.  RMS norm is layer norm with a mean of zero: its `mean` is null.
#include "columns.cuh"
#include "rows.cuh"

// (rows, columns) -> y (rows, columns), mean (rows,), scale (rows,).  weight and bias may be null.
template <bool BLOCK>
__device__ void forward(
    const real* x, const wide* weight, const wide* bias, real* y, wide* mean, wide* scale,
    double eps, Size rows, Size columns
) {
    wide share = wide(1) / wide(columns);
    bool packs = columns % PACK == 0 && aligned(x, weight, bias, y);
    Team<BLOCK>::for_rows(rows, [=](Size row) {
        const real* p = x + row * columns;
        wide centre = 0;
        if (mean) {
            wide sum = 0;
            Team<BLOCK>::for_columns(columns, packs, [&](auto size, Size i) {
                constexpr int N = decltype(size)::value;
                Vector<N> v = load<N>(p, i);
#pragma unroll
                for (int j = 0; j < N; j++) sum += v.v[j];
            });
            centre = Team<BLOCK>::sum(sum) * share;
        }
        // a second pass, in cache, because E[x²] − E[x]² loses digits where the mean is large
        wide square = 0;
        Team<BLOCK>::for_columns(columns, packs, [&](auto size, Size i) {
            constexpr int N = decltype(size)::value;
            Vector<N> v = load<N>(p, i);
#pragma unroll
            for (int j = 0; j < N; j++) square += (v.v[j] - centre) * (v.v[j] - centre);
        });
        wide factor = rsqrt(Team<BLOCK>::sum(square) * share + wide(eps));
        Team<BLOCK>::for_columns(columns, packs, [&](auto size, Size i) {
            constexpr int N = decltype(size)::value;
            Vector<N> v = load<N>(p, i), shift = filled<N>(0), gain = filled<N>(1);
            if (weight) gain = load<N>(weight, i);
            if (bias) shift = load<N>(bias, i);
#pragma unroll
            for (int j = 0; j < N; j++)
                v.v[j] = (v.v[j] - centre) * factor * gain.v[j] + shift.v[j];
            store(y + row * columns, i, v);
        });
        if (threadIdx.x % Team<BLOCK>::SIZE == 0) {
            if (mean) mean[row] = centre;
            scale[row] = factor;
        }
    });
}

// dx = (h − mean(h) − normal · mean(h · normal)) · scale, with h = g · weight
template <bool BLOCK>
__device__ void backward(
    const real* g, const real* x, const wide* weight, const wide* mean, const wide* scale,
    real* dx, Size rows, Size columns
) {
    wide share = wide(1) / wide(columns);
    bool packs = columns % PACK == 0 && aligned(g, x, weight, dx);
    Team<BLOCK>::for_rows(rows, [=](Size row) {
        const real *gradient = g + row * columns, *p = x + row * columns;
        wide centre = mean ? mean[row] : wide(0), factor = scale[row], sum = 0, product = 0;
        Team<BLOCK>::for_columns(columns, packs, [&](auto size, Size i) {
            constexpr int N = decltype(size)::value;
            Vector<N> h = load<N>(gradient, i), v = load<N>(p, i), gain = filled<N>(1);
            if (weight) gain = load<N>(weight, i);
#pragma unroll
            for (int j = 0; j < N; j++) {
                wide u = h.v[j] * gain.v[j];
                sum += u;
                product += u * ((v.v[j] - centre) * factor);
            }
        });
        sum = mean ? Team<BLOCK>::sum(sum) * share : wide(0);
        product = Team<BLOCK>::sum(product) * share;
        Team<BLOCK>::for_columns(columns, packs, [&](auto size, Size i) {
            constexpr int N = decltype(size)::value;
            Vector<N> h = load<N>(gradient, i), v = load<N>(p, i), gain = filled<N>(1);
            if (weight) gain = load<N>(weight, i);
#pragma unroll
            for (int j = 0; j < N; j++) {
                wide normal = (v.v[j] - centre) * factor;
                v.v[j] = (h.v[j] * gain.v[j] - sum - normal * product) * factor;
            }
            store(dx + row * columns, i, v);
        });
    });
}

#define ENTRIES(NAME, BLOCK)                                                                      \
    KERNEL row_norm_forward_##NAME(                                                               \
        In<real> x, In<wide> weight, In<wide> bias, Out<real> y, Out<wide> mean, Out<wide> scale, \
        double eps, Size rows, Size columns                                                       \
    ) {                                                                                           \
        forward<BLOCK>(x, weight, bias, y, mean, scale, eps, rows, columns);                      \
    }                                                                                             \
    KERNEL row_norm_backward_##NAME(                                                              \
        In<real> g, In<real> x, In<wide> weight, In<wide> mean, In<wide> scale,                   \
        Out<real> dx, Size rows, Size columns                                                     \
    ) {                                                                                           \
        backward<BLOCK>(g, x, weight, mean, scale, dx, rows, columns);                            \
    }

ENTRIES(warp, false)
ENTRIES(block, true)

template <int N>
__device__ void weight_gradient(
    const real* g, const real* x, const wide* mean, const wide* scale, wide* sums, Size rows,
    Size columns
) {
    column_sums<N, 2>(rows, columns, sums, [=](Size row, Size unit, Vector<N>* sum) {
        Vector<N> h = load<N>(g + row * columns, unit), v = load<N>(x + row * columns, unit);
        wide centre = mean ? mean[row] : wide(0), factor = scale[row];
#pragma unroll
        for (int j = 0; j < N; j++) {
            sum[0].v[j] += h.v[j] * ((v.v[j] - centre) * factor);
            sum[1].v[j] += h.v[j];
        }
    });
}

// sums (gridDim.y, 2, columns) of g · normal and of g, of each block's rows
KERNEL row_norm_weight_gradient(
    In<real> g, In<real> x, In<wide> mean, In<wide> scale, Out<wide> sums, Size rows,
    Size columns
) {
    if (columns % PACK == 0 && aligned(g, x, sums))
        weight_gradient<PACK>(g, x, mean, scale, sums, rows, columns);
    else
        weight_gradient<1>(g, x, mean, scale, sums, rows, columns);
}
