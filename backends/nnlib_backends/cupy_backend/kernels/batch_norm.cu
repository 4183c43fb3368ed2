// Batch norm: each column is normalised over all rows.
#include "columns.cuh"

// Merges mean and sum of squared deviations of two sets of numbers (Chan, Golub & LeVeque, 1979).
__device__ inline void merge(
    Size& n, wide& mean, wide& square, Size other_n, wide other_mean, wide other_square
) {
    if (other_n == 0) return;
    Size total = n + other_n;
    wide share = wide(other_n) / wide(total), delta = other_mean - mean;
    square += other_square + delta * delta * (wide(n) * share);
    mean += delta * share;
    n = total;
}

// Merges the moments of a block's lanes into those of lane 0.
template <int N>
__device__ void merge_lanes(
    const Tile<N>& tile, bool active, Size& count, Vector<N>& mean, Vector<N>& square
) {
    __shared__ Vector<N> means[THREADS], squares[THREADS];
    __shared__ Size counts[THREADS];
    __syncthreads();  // all threads have read those of an earlier tile
    means[threadIdx.x] = mean;
    squares[threadIdx.x] = square;
    counts[threadIdx.x] = count;
    __syncthreads();
    if (!active || tile.lane > 0) return;
    Size n = 0;
#pragma unroll
    for (int j = 0; j < N; j++) {
        n = counts[threadIdx.x];
        for (int lane = 1; lane < tile.lanes; lane++) {
            int thread = lane * tile.width + tile.place;
            merge(
                n, mean.v[j], square.v[j], counts[thread], means[thread].v[j], squares[thread].v[j]
            );
        }
    }
    count = n;
}

template <int N>
__device__ void moments(const real* x, wide* parts, Size rows, Size columns) {
    Tile<N> tile(rows, columns);
    tile.for_units([&](Size unit, bool active) {
        Vector<N> mean = filled<N>(0), square = filled<N>(0);
        Size count = 0;
        if (active)
            tile.for_rows([&](Size row) {  // Welford's algorithm
                Vector<N> v = load<N>(x + row * columns, unit);
                wide share = wide(1) / wide(++count);
#pragma unroll
                for (int j = 0; j < N; j++) {
                    wide delta = v.v[j] - mean.v[j];
                    mean.v[j] += delta * share;
                    square.v[j] += delta * (v.v[j] - mean.v[j]);
                }
            });
        merge_lanes(tile, active, count, mean, square);
        if (!active || tile.lane > 0) return;
        wide* part = parts + (Size)blockIdx.y * 3 * columns;
        store(part, unit, mean);
        store(part + columns, unit, square);
        store(part + 2 * columns, unit, filled<N>(wide(count)));
    });
}

// parts (gridDim.y, 3, columns): mean, sum of squared deviations and number of rows of each block
KERNEL batch_norm_moments(const real* x, wide* parts, Size rows, Size columns) {
    if (columns % PACK == 0 && aligned(x, parts))
        moments<PACK>(x, parts, rows, columns);
    else
        moments<1>(x, parts, rows, columns);
}

// parts (blocks, 3, columns) -> mean (columns,), scale (columns,)
KERNEL batch_norm_statistics(
    const wide* parts, wide* mean, wide* scale, double eps, Size blocks, Size columns
) {
    Tile<1> tile(blocks, columns);
    tile.for_units([&](Size column, bool active) {
        Vector<1> centre = filled<1>(0), square = filled<1>(0);
        Size n = 0;
        if (active)
            tile.for_rows([&](Size block) {
                const wide* part = parts + block * 3 * columns + column;
                merge(n, centre.v[0], square.v[0], part[2 * columns], part[0], part[columns]);
            });
        merge_lanes(tile, active, n, centre, square);
        if (!active || tile.lane > 0) return;
        mean[column] = centre.v[0];
        scale[column] = rsqrt(square.v[0] / wide(n) + wide(eps));
    });
}

template <int N>
__device__ void forward(
    const real* x, const wide* mean, const wide* scale, const wide* weight, const wide* bias,
    real* y, Size rows, Size columns
) {
    Tile<N> tile(rows, columns);
    tile.for_units([&](Size unit, bool active) {
        if (!active) return;
        Vector<N> centre = load<N>(mean, unit), factor = load<N>(scale, unit);
        Vector<N> gain = filled<N>(1), shift = filled<N>(0);
        if (weight) gain = load<N>(weight, unit);
        if (bias) shift = load<N>(bias, unit);
#pragma unroll
        for (int j = 0; j < N; j++) factor.v[j] *= gain.v[j];
        tile.for_rows([&](Size row) {
            Vector<N> v = load<N>(x + row * columns, unit);
#pragma unroll
            for (int j = 0; j < N; j++)
                v.v[j] = (v.v[j] - centre.v[j]) * factor.v[j] + shift.v[j];
            store(y + row * columns, unit, v);
        });
    });
}

KERNEL batch_norm_forward(
    const real* x, const wide* mean, const wide* scale, const wide* weight, const wide* bias,
    real* y, Size rows, Size columns
) {
    if (columns % PACK == 0 && aligned(x, mean, scale, weight, bias, y))
        forward<PACK>(x, mean, scale, weight, bias, y, rows, columns);
    else
        forward<1>(x, mean, scale, weight, bias, y, rows, columns);
}

template <int N>
__device__ void gradient_sums(
    const real* g, const real* x, const wide* mean, const wide* scale, wide* sums, Size rows,
    Size columns
) {
    column_sums<N, 2>(rows, columns, sums, [=](Size row, Size unit, Vector<N>* sum) {
        Vector<N> h = load<N>(g + row * columns, unit), v = load<N>(x + row * columns, unit);
        Vector<N> centre = load<N>(mean, unit), factor = load<N>(scale, unit);
#pragma unroll
        for (int j = 0; j < N; j++) {
            sum[0].v[j] += h.v[j] * ((v.v[j] - centre.v[j]) * factor.v[j]);
            sum[1].v[j] += h.v[j];
        }
    });
}

// sums (gridDim.y, 2, columns) of g · normal and of g, of each block's rows
KERNEL batch_norm_gradient_sums(
    const real* g, const real* x, const wide* mean, const wide* scale, wide* sums, Size rows,
    Size columns
) {
    if (columns % PACK == 0 && aligned(g, x, mean, scale, sums))
        gradient_sums<PACK>(g, x, mean, scale, sums, rows, columns);
    else
        gradient_sums<1>(g, x, mean, scale, sums, rows, columns);
}

template <int N>
__device__ void backward(
    const real* g, const real* x, const wide* mean, const wide* scale, const wide* weight,
    const wide* products, const wide* sums, real* dx, Size rows, Size columns
) {
    wide share = wide(1) / wide(rows);
    Tile<N> tile(rows, columns);
    tile.for_units([&](Size unit, bool active) {
        if (!active) return;
        Vector<N> centre = load<N>(mean, unit), factor = load<N>(scale, unit);
        Vector<N> product = load<N>(products, unit), sum = load<N>(sums, unit);
        Vector<N> gain = factor;
#pragma unroll
        for (int j = 0; j < N; j++) {
            product.v[j] *= share;
            sum.v[j] *= share;
        }
        if (weight) {
            gain = load<N>(weight, unit);
#pragma unroll
            for (int j = 0; j < N; j++) gain.v[j] *= factor.v[j];
        }
        tile.for_rows([&](Size row) {
            Vector<N> h = load<N>(g + row * columns, unit), v = load<N>(x + row * columns, unit);
#pragma unroll
            for (int j = 0; j < N; j++) {
                wide normal = (v.v[j] - centre.v[j]) * factor.v[j];
                v.v[j] = (h.v[j] - sum.v[j] - normal * product.v[j]) * gain.v[j];
            }
            store(dx + row * columns, unit, v);
        });
    });
}

// dx from the sums of g · normal, `products`, and of g over all rows
KERNEL batch_norm_backward(
    const real* g, const real* x, const wide* mean, const wide* scale, const wide* weight,
    const wide* products, const wide* sums, real* dx, Size rows, Size columns
) {
    if (columns % PACK == 0 && aligned(g, x, mean, scale, weight, products, sums, dx))
        backward<PACK>(g, x, mean, scale, weight, products, sums, dx, rows, columns);
    else
        backward<1>(g, x, mean, scale, weight, products, sums, dx, rows, columns);
}
