"""Building blocks of CPU kernels: arguments, SIMD, elementary functions, a GEMM micro-kernel."""

WORDS = 8  #: of a kernel's table of arguments, for each argument
AXES = WORDS - 2  #: of an array whose shape fits into its row
