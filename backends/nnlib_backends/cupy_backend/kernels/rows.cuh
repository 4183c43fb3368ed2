// Loops over a matrix's rows: one warp for a short row, one block for a long one.
#pragma once
#include "common.cuh"

struct Add {
    __device__ wide operator()(wide a, wide b) const { return a + b; }
};

struct Larger {
    __device__ wide operator()(wide a, wide b) const { return a < b ? b : a; }
};

// The threads that share a row.
template <bool BLOCK>
struct Team {
    static constexpr int SIZE = BLOCK ? THREADS : WARP;
    static constexpr int COUNT = THREADS / SIZE;  // teams in a block

    // All threads get the result; the order of computation is fixed.
    template <class Operator>
    __device__ static wide reduce(wide x, Operator combine) {
#pragma unroll
        for (int distance = WARP / 2; distance > 0; distance /= 2)
            x = combine(x, __shfl_xor_sync(0xffffffffu, x, distance));
        if (!BLOCK) return x;
        __shared__ wide parts[THREADS / WARP];
        __syncthreads();  // all threads have read the parts of an earlier call
        if (threadIdx.x % WARP == 0) parts[threadIdx.x / WARP] = x;
        __syncthreads();
        x = parts[0];
#pragma unroll
        for (int i = 1; i < THREADS / WARP; i++) x = combine(x, parts[i]);
        return x;
    }

    __device__ static wide sum(wide x) { return reduce(x, Add()); }
    __device__ static wide max(wide x) { return reduce(x, Larger()); }

    // Calls body(row) for the rows of this team.
    template <class Body>
    __device__ static void for_rows(Size rows, Body body) {
        Size first = (Size)blockIdx.x * COUNT + threadIdx.x / SIZE;
        for (Size row = first; row < rows; row += (Size)gridDim.x * COUNT) body(row);
    }

    // Calls body(Constant<N>(), i) for the vectors i of a row; packs need aligned rows.
    template <class Body>
    __device__ static void for_columns(Size columns, bool packs, Body body) {
        for_vectors(columns, packs, threadIdx.x % SIZE, SIZE, body);
    }
};
