// Gradient of an embedding: the sum of the rows with the same index.
#include "columns.cuh"

// Lanes as in columns.cuh: lane l adds rows l, l + lanes, … of a run of equal indices.  The sort is
// stable, so the order of a sum is fixed.
template <int N>
__device__ void gradient(
    const real* g, const Size* order, const Size* sorted, wide* d, Size count, Size entries,
    Size columns
) {
    __shared__ Vector<N> parts[THREADS];
    Size units = columns / N;
    int width = units < WARP ? (int)units : WARP, lanes = THREADS / width;
    int place = threadIdx.x % width, lane = threadIdx.x / width;
    for (Size first = blockIdx.x; first < count; first += gridDim.x) {
        Size entry = sorted[first];
        if (entry >= entries) continue;  // an index out of range, see sorting.cu
        if (first > 0 && sorted[first - 1] == entry) continue;  // not the beginning of a run
        for (Size start = (Size)blockIdx.y * width; start < units;
             start += (Size)gridDim.y * width) {
            Size unit = start + place;
            bool active = lane < lanes && unit < units;
            Vector<N> sum = filled<N>(0), some = filled<N>(0);
            int added = 0;
            if (active)
                for (Size k = first + lane; k < count && sorted[k] == entry; k += lanes) {
                    Vector<N> v = load<N>(g + order[k] * columns, unit);
#pragma unroll
                    for (int j = 0; j < N; j++) some.v[j] += v.v[j];
                    if (++added % SOME == 0) take(sum, some);
                }
            take(sum, some);
            __syncthreads();  // all threads have read the previous parts
            parts[threadIdx.x] = sum;
            __syncthreads();
            if (!active || lane > 0) continue;
            for (int other = 1; other < lanes; other++) {
                Vector<N> v = parts[other * width + place];
#pragma unroll
                for (int j = 0; j < N; j++) sum.v[j] += v.v[j];
            }
            store(d + entry * columns, unit, sum);
        }
    }
}

// g (count, columns), order and sorted indices (count,) -> d, which must be zeros before
KERNEL embedding_gradient(
    const real* g, const Size* order, const Size* sorted, wide* d, Size count, Size entries,
    Size columns
) {
    if (columns % PACK == 0 && aligned(g, d))
        gradient<PACK>(g, order, sorted, d, count, entries, columns);
    else
        gradient<1>(g, order, sorted, d, count, entries, columns);
}
