// The part of CUDA's language that nnlib's kernels use, for a C++ compiler on the CPU.
//
// The threads of a block are fibers: one runs until it waits at a barrier or is done, then the next.
// Threads and blocks can run in the opposite order; results that then differ show a missing barrier.
#pragma once
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <utility>

#define __global__
#define __device__
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("emulated_shared")))

struct Index3 {
    unsigned x, y, z;
};

static Index3 threadIdx, blockIdx, blockDim, gridDim;

extern char __start_emulated_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_emulated_shared[] __attribute__((weak, visibility("hidden")));

namespace emulation {

constexpr int MOST_THREADS = 1024, WARP_SIZE = 32;
constexpr size_t STACK = 64 << 10;

enum State { READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE };

struct Fiber {
    jmp_buf context;
    ucontext_t birth;
    bool born;
    State state;
    int turn;                // index of `exchange` for the next shuffle
    double exchange[2];
};

static Fiber fibers[MOST_THREADS];
static jmp_buf scheduler;
static void (*kernel)();  // calls it with the arguments of this launch

static void yield() {
    if (!_setjmp(fibers[threadIdx.x].context)) _longjmp(scheduler, 1);
}

// A fiber runs in all blocks, so that stacks are allocated once.
static void live() {
    for (;;) {
        kernel();
        fibers[threadIdx.x].state = DONE;
        yield();
    }
}

static void run_until_it_waits(unsigned thread) {
    Fiber& fiber = fibers[thread];
    threadIdx.x = thread;
    if (_setjmp(scheduler)) return;
    if (fiber.born) _longjmp(fiber.context, 1);
    fiber.born = true;
    if (!fiber.birth.uc_stack.ss_sp) {
        getcontext(&fiber.birth);
        fiber.birth.uc_stack.ss_sp = malloc(STACK);
        fiber.birth.uc_stack.ss_size = STACK;
    }
    makecontext(&fiber.birth, live, 0);
    setcontext(&fiber.birth);
}

// Waits until all threads first … last - 1 are at the same barrier.
static void barrier(State kind, unsigned first, unsigned last) {
    fibers[threadIdx.x].state = kind;
    for (unsigned i = first; i < last; i++)
        if (fibers[i].state != kind) return yield();
    for (unsigned i = first; i < last; i++) fibers[i].state = READY;
}

static void warp_barrier() {
    unsigned first = threadIdx.x / WARP_SIZE * WARP_SIZE;
    barrier(AT_WARP_BARRIER, first, first + WARP_SIZE);
}

// Returns false in a deadlock: threads wait for others that are done or at another barrier.
static bool run_block(bool backwards) {
    if (__start_emulated_shared)  // shared memory is not initialised: NaN
        memset(__start_emulated_shared, 0xff, __stop_emulated_shared - __start_emulated_shared);
    for (unsigned i = 0; i < blockDim.x; i++) fibers[i].state = READY;
    for (unsigned done = 0; done < blockDim.x;) {
        bool progress = false;
        // a warp runs as long as possible, so that a missing barrier shows
        for (unsigned first = 0; first < blockDim.x; first += WARP_SIZE)
            for (bool again = true; again; progress |= again) {
                again = false;
                for (unsigned i = first; i < first + WARP_SIZE; i++) {
                    unsigned thread = backwards ? blockDim.x - 1 - i : i;
                    if (fibers[thread].state != READY) continue;
                    run_until_it_waits(thread);
                    again = true;
                    done += fibers[thread].state == DONE;
                }
            }
        if (progress) continue;
        for (Fiber& fiber : fibers) fiber.born = false;  // to start with new stacks
        return false;
    }
    return true;
}

static bool run_grid(unsigned columns, unsigned rows, unsigned threads, bool backwards) {
    gridDim = {columns, rows, 1};
    blockDim = {threads, 1, 1};
    for (unsigned i = 0; i < columns * rows; i++) {
        unsigned block = backwards ? columns * rows - 1 - i : i;
        blockIdx = {block % columns, block / columns, 0};
        if (!run_block(backwards)) return false;
    }
    return true;
}

static void** arguments;

template <class... A, size_t... I>
void call(void (*function)(A...), std::index_sequence<I...>) {
    function(*static_cast<A*>(arguments[I])...);
}

template <class... A>
void call(void (*function)(A...)) {
    call(function, std::index_sequence_for<A...>());
}

template <class... A>
constexpr int count(void (*)(A...)) {
    return sizeof...(A);
}

}  // namespace emulation

inline void __syncthreads() { emulation::barrier(emulation::AT_BLOCK_BARRIER, 0, blockDim.x); }

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int distance) {
    static_assert(sizeof(T) <= sizeof(double), "");
    if (mask != 0xffffffffu) abort();
    emulation::Fiber& mine = emulation::fibers[threadIdx.x];
    int turn = mine.turn;
    mine.turn = !turn;  // a lane is at most one shuffle ahead of another
    memcpy(&mine.exchange[turn], &value, sizeof value);
    emulation::warp_barrier();
    memcpy(&value, &emulation::fibers[threadIdx.x ^ distance].exchange[turn], sizeof value);
    return value;
}

inline float rsqrt(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }

inline float __uint_as_float(unsigned word) {
    float x;
    memcpy(&x, &word, sizeof x);
    return x;
}
inline unsigned __float_as_uint(float x) {
    unsigned word;
    memcpy(&word, &x, sizeof word);
    return word;
}

// IEEE 754 binary16 by integers: not every compiler has _Float16.
inline float from_half(unsigned short bits) {
    unsigned sign = (unsigned)(bits & 0x8000) << 16, exponent = bits >> 10 & 31, mantissa = bits & 1023;
    if (exponent == 0) return (sign ? -1.0f : 1.0f) * ldexpf(mantissa, -24);
    if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | mantissa << 13);
    return __uint_as_float(sign | (exponent + 112) << 23 | mantissa << 13);
}
inline unsigned short to_half(float x) {
    unsigned sign = __float_as_uint(x) >> 16 & 0x8000;
    float size = fabsf(x);
    if (!(size <= 65520)) return sign | (size == size ? 0x7c00 : 0x7e00);
    int exponent = size < 6.103515625e-05f ? -14 : ilogbf(size);
    // in units of the last bit; rint rounds ties to even, and a carry goes on into the exponent
    unsigned units = (unsigned)rintf(ldexpf(size, 10 - exponent));
    return sign | ((unsigned)(exponent + 14) * 1024 + units);
}

inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }

// Makes a kernel callable like cuLaunchKernel, by the addresses of its arguments.
#define EMULATE(NAME)                                                                            \
    extern "C" __attribute__((visibility("default"))) int emulate_##NAME(                        \
        unsigned columns, unsigned rows, unsigned threads, int backwards, void** arguments       \
    ) {                                                                                          \
        emulation::arguments = arguments;                                                        \
        emulation::kernel = [] { emulation::call(NAME); };                                       \
        return emulation::run_grid(columns, rows, threads, backwards);                           \
    }                                                                                            \
    extern "C" __attribute__((visibility("default"))) int count_##NAME() {                       \
        return emulation::count(NAME);                                                           \
    }
