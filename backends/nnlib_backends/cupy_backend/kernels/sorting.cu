// Stable radix sort of indices with their order, eight bits a pass.
//
// CuPy's sort waits for the GPU, which is an error during capture.  A pass counts the digits of every
// chunk, adds the counts up, and moves every index to its position.  Block c has chunk c.
#include "common.cuh"

constexpr int DIGITS = 256;
static_assert(DIGITS == THREADS, "a thread for each digit");

// An index out of range counts as `entries` and comes last.
__device__ inline Size checked(Size index, Size entries) {
    return index < 0 || index > entries ? entries : index;
}

__device__ inline int digit_of(Size index, Size shift) { return (index >> shift) & (DIGITS - 1); }

// Calls body(digits, i) for the tiles of a chunk, with the digits of the tile in shared memory (−1
// beyond the end) and the position of this thread's index.
template <class Body>
__device__ void for_tiles(
    const Size* indices, Size shift, Size entries, Size n, Size chunk, Body body
) {
    __shared__ int digits[THREADS];
    Size start = blockIdx.x * chunk, stop = start + chunk < n ? start + chunk : n;
    for (Size first = start; first < stop; first += THREADS) {
        Size i = first + threadIdx.x;
        __syncthreads();  // all threads have read the previous tile
        digits[threadIdx.x] = i < stop ? digit_of(checked(indices[i], entries), shift) : -1;
        __syncthreads();
        body(digits, i);
    }
}

// counts (DIGITS, chunks)
KERNEL sort_counts(
    const Size* indices, Size* counts, Size shift, Size entries, Size n, Size chunk
) {
    Size count = 0;
    for_tiles(indices, shift, entries, n, chunk, [&](const int* digits, Size) {
        for (int j = 0; j < THREADS; j++) count += digits[j] == (int)threadIdx.x;
    });
    counts[(Size)threadIdx.x * gridDim.x + blockIdx.x] = count;
}

// Replaces each count by the sum of those before it; one block.
KERNEL sort_offsets(Size* counts, Size n) {
    __shared__ Size totals[THREADS];
    Size part = (n + THREADS - 1) / THREADS, first = threadIdx.x * part;
    Size last = first + part < n ? first + part : n, sum = 0;
    for (Size i = first; i < last; i++) sum += counts[i];
    totals[threadIdx.x] = sum;
    __syncthreads();
    sum = 0;
    for (unsigned j = 0; j < threadIdx.x; j++) sum += totals[j];
    for (Size i = first; i < last; i++) {
        Size count = counts[i];
        counts[i] = sum;
        sum += count;
    }
}

// order: of an earlier pass, or null in the first one.
KERNEL sort_move(
    const Size* indices, const Size* order, const Size* offsets, Size* sorted, Size* new_order,
    Size shift, Size entries, Size n, Size chunk
) {
    Size end = offsets[(Size)threadIdx.x * gridDim.x + blockIdx.x];  // of this thread's digit
    __shared__ Size ends[DIGITS];
    for_tiles(indices, shift, entries, n, chunk, [&](const int* digits, Size i) {
        ends[threadIdx.x] = end;
        __syncthreads();
        int mine = digits[threadIdx.x];
        Size rank = 0;
        for (int j = 0; j < THREADS; j++) {
            rank += j < (int)threadIdx.x && digits[j] == mine;
            end += digits[j] == (int)threadIdx.x;
        }
        if (mine < 0) return;
        Size place = ends[mine] + rank;
        sorted[place] = checked(indices[i], entries);
        new_order[place] = order ? order[i] : i;
    });
}
