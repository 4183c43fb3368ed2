// Loops over a matrix's columns.
//
// A block takes a tile of up to 32 neighbouring vectors.  Its threads form lanes, each as wide as the
// tile; the lanes of the gridDim.y blocks of a tile take the rows in turn.
#pragma once
#include "common.cuh"

constexpr int SOME = 64;  // terms of a partial sum, which is then added to the sum

template <int N>
struct Tile {
    Size units;       // vectors in a row
    int width, lanes; // of a tile
    int place, lane;  // of this thread
    Size first, step, rows;

    __device__ Tile(Size all_rows, Size columns) {
        units = columns / N;
        width = units < WARP ? (int)units : WARP;
        lanes = THREADS / width;
        place = threadIdx.x % width;
        lane = threadIdx.x / width;
        first = (Size)blockIdx.y * lanes + lane;
        step = (Size)gridDim.y * lanes;
        rows = all_rows;
    }

    // Calls body(unit, active) once for each tile of this block.
    template <class Body>
    __device__ void for_units(Body body) const {
        for (Size start = (Size)blockIdx.x * width; start < units; start += (Size)gridDim.x * width)
            body(start + place, lane < lanes && start + place < units);
    }

    // Calls body(row) for the rows of this lane.
    template <class Body>
    __device__ void for_rows(Body body) const {
#pragma unroll 1
        for (Size row = first; row < rows; row += step) body(row);
    }
};

// Adds a partial sum to a sum, and clears the partial sum.
template <int N>
__device__ inline void take(Vector<N>& sum, Vector<N>& some) {
#pragma unroll
    for (int j = 0; j < N; j++) sum.v[j] += some.v[j];
    some = filled<N>(0);
}

// Computes K sums over the rows of each of gridDim.y blocks.
// term(row, unit, sum) adds to sum[0] … sum[K - 1], and put(unit, k, sum) gets each sum.
template <int N, int K, class Term, class Put>
__device__ void column_sums(Size rows, Size columns, Term term, Put put) {
    __shared__ Vector<N> parts[THREADS];
    Tile<N> tile(rows, columns);
    tile.for_units([&](Size unit, bool active) {
        Vector<N> sum[K], some[K];
        int count = 0;
#pragma unroll
        for (int k = 0; k < K; k++) sum[k] = some[k] = filled<N>(0);
        if (active)
            tile.for_rows([&](Size row) {
                term(row, unit, some);
                if (++count < SOME) return;
                count = 0;
#pragma unroll
                for (int k = 0; k < K; k++) take(sum[k], some[k]);
            });
#pragma unroll
        for (int k = 0; k < K; k++) {
            take(sum[k], some[k]);
            __syncthreads();  // all threads have read the previous parts
            parts[threadIdx.x] = sum[k];
            __syncthreads();
            if (!active || tile.lane > 0) continue;
#pragma unroll 2
            for (int lane = 1; lane < tile.lanes; lane++) {
                Vector<N> part = parts[lane * tile.width + tile.place];
#pragma unroll
                for (int j = 0; j < N; j++) sum[k].v[j] += part.v[j];
            }
            put(unit, k, sum[k]);
        }
    });
}

// The same, into out (gridDim.y, K, columns).
template <int N, int K, class Term>
__device__ void column_sums(Size rows, Size columns, wide* out, Term term) {
    column_sums<N, K>(rows, columns, term, [=](Size unit, int k, const Vector<N>& sum) {
        store(out + ((Size)blockIdx.y * K + k) * columns, unit, sum);
    });
}
