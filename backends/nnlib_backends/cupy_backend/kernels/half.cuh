// 16-bit floating-point types for storage: conversion to float is implicit, conversion from float
// explicit, to the nearest, ties to even.
#pragma once

#ifdef __CUDA_ARCH__  // on the CPU, where tests run, tests/doubles/emulation/emulation.h has these two
__device__ inline unsigned short to_half(float x) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

__device__ inline float from_half(unsigned short bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
#endif

__device__ inline unsigned short to_bfloat16(float x) {
#if __CUDA_ARCH__ >= 800
    unsigned short bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
#else
    unsigned word = __float_as_uint(x);
    if (x != x) return word >> 16 | 0x40;  // NaN, which rounding could make infinite
    return (word + 0x7fff + (word >> 16 & 1)) >> 16;
#endif
}

struct half {
    unsigned short bits;
    half() = default;
    __device__ explicit half(float x) : bits(to_half(x)) {}
    __device__ operator float() const { return from_half(bits); }
};

struct bfloat16 {
    unsigned short bits;
    bfloat16() = default;
    __device__ explicit bfloat16(float x) : bits(to_bfloat16(x)) {}
    __device__ operator float() const { return __uint_as_float((unsigned)bits << 16); }
};
