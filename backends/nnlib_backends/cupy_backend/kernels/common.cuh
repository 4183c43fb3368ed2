// What all kernels share.
//
// A file is compiled once for each dtype, with -DREAL=float or -DREAL=double.  Every block has
// THREADS threads.  Loops run in strides of the grid, so any number of blocks is right.
#pragma once

typedef REAL real;
typedef long long Size;

constexpr int THREADS = 256;
constexpr int WARP = 32;
constexpr int PACK = 16 / sizeof(real);  // numbers in the widest access

#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 1)

// N neighbouring numbers, read and written at once.
template <int N>
struct alignas(N * sizeof(real)) Vector {
    real v[N];
};

// A number that the compiler knows: lets a lambda be written once for vectors and single numbers.
template <int N>
struct Constant {
    static constexpr int value = N;
};

template <int N>
__device__ Vector<N> load(const real* p, Size i) {
    return reinterpret_cast<const Vector<N>*>(p)[i];
}

template <int N>
__device__ void store(real* p, Size i, const Vector<N>& x) {
    reinterpret_cast<Vector<N>*>(p)[i] = x;
}

template <int N>
__device__ Vector<N> filled(real x) {
    Vector<N> result;
#pragma unroll
    for (int j = 0; j < N; j++) result.v[j] = x;
    return result;
}

// Whether packs can be read from all these addresses (null is fine: nothing is read there).
template <class... Pointers>
__device__ bool aligned(Pointers... pointers) {
    return ((reinterpret_cast<unsigned long long>(pointers) | ...) & 15) == 0;
}

// Calls body(Constant<N>(), i) for all vectors i of n numbers: packs, and what is left one by one.
template <class Body>
__device__ void for_vectors(Size n, bool packs, int rank, int step, Body body) {
    Size whole = packs ? n / PACK : 0;
    for (Size i = rank; i < whole; i += step) body(Constant<PACK>(), i);
    for (Size i = whole * PACK + rank; i < n; i += step) body(Constant<1>(), i);
}

// The same, by all threads of the grid.
template <class Body>
__device__ void for_each(Size n, bool packs, Body body) {
    int rank = blockIdx.x * THREADS + threadIdx.x;
    for_vectors(n, packs, rank, gridDim.x * THREADS, body);
}
