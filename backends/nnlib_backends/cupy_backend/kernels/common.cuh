// Types, vectors and loops of all kernels.
//
// A file is compiled once for each dtype, with -DREAL=float, double, half or bfloat16.  Every block
// has THREADS threads.  Loops are grid-stride, so any number of blocks is correct.
#pragma once
#include "half.cuh"

typedef REAL real;                         // type of stored data
typedef decltype(real() + 0.0f) wide;      // type of computation, parameters and statistics
typedef long long Size;

constexpr int THREADS = 256;
constexpr int WARP = 32;
constexpr int PACK = 16 / sizeof(real);  // numbers in the widest access

// Blocks on a multiprocessor at a time: the most that leave each thread the registers it needs (64 for
// float32, 80 for 16 bits, 128 for float64).  More blocks have more loads under way.
constexpr int BLOCKS = sizeof(real) == 4 ? 4 : sizeof(real) == 2 ? 3 : 2;

#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)

// Arrays that a kernel reads and writes; none of them overlaps another.
template <class T>
using In = const T* __restrict__;
template <class T>
using Out = T* __restrict__;

// N neighbouring numbers, read and written at most 16 bytes at a time.
template <class T, int N>
struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Pack {
    T v[N];
};

// N numbers to compute with.
template <int N>
using Vector = Pack<wide, N>;

// A compile-time constant as an argument, so that one lambda serves vectors and single numbers.
template <int N>
struct Constant {
    static constexpr int value = N;
};

template <int N, class T>
__device__ Vector<N> load(const T* p, Size i) {
    Pack<T, N> pack = reinterpret_cast<const Pack<T, N>*>(p)[i];
    Vector<N> x;
#pragma unroll
    for (int j = 0; j < N; j++) x.v[j] = pack.v[j];
    return x;
}

template <int N, class T>
__device__ void store(T* p, Size i, const Pack<wide, N>& x) {
    Pack<T, N> pack;
#pragma unroll
    for (int j = 0; j < N; j++) pack.v[j] = T(x.v[j]);
    reinterpret_cast<Pack<T, N>*>(p)[i] = pack;
}

template <int N>
__device__ Vector<N> filled(wide x) {
    Vector<N> result;
#pragma unroll
    for (int j = 0; j < N; j++) result.v[j] = x;
    return result;
}

// Whether all addresses are aligned for packs (or null).
template <class... Pointers>
__device__ bool aligned(Pointers... pointers) {
    return ((reinterpret_cast<unsigned long long>(pointers) | ...) & 15) == 0;
}

// Calls body(Constant<N>(), i) for all vectors i of n numbers: packs, then the rest one by one.
template <class Body>
__device__ void for_vectors(Size n, bool packs, int rank, int step, Body body) {
    Size whole = packs ? n / PACK : 0;
#pragma unroll 2
    for (Size i = rank; i < whole; i += step) body(Constant<PACK>(), i);
#pragma unroll 1
    for (Size i = whole * PACK + rank; i < n; i += step) body(Constant<1>(), i);
}

// The same, by all threads of the grid.
template <class Body>
__device__ void for_each(Size n, bool packs, Body body) {
    int rank = blockIdx.x * THREADS + threadIdx.x;
    for_vectors(n, packs, rank, gridDim.x * THREADS, body);
}
