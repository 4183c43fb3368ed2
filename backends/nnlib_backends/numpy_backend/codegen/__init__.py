"""What CPU kernels are made of: arguments, SIMD, elementary functions, a GEMM micro-kernel."""
