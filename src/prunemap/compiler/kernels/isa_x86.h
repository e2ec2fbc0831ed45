/* What simd.h needs of x86-64. */
#if defined(__AVX512VL__)
#define HAVE_EXPAND 1
/* The builtins for these differ between compilers, and both let an expand wait for its own register's last use. */
#define EXPAND(N)                                                                                                      \
  EXPAND_VECTORS(N)                                                                                                    \
  INLINE lanes##N to_lanes##N(uint16_t kept) {                                                                         \
    lanes##N to = {.from = {0, 1, 2, 3, 4, 5, 6, 7, EXPAND_TO_##N}, .bits = kept};                                     \
    __asm__("vpexpandd %0, %0%{%1%}%{z%}" : "+v"(to.from) : "Yk"(to.bits));                                            \
    return to;                                                                                                         \
  }                                                                                                                    \
  INLINE floats##N expand##N(const lanes##N *to, const float *w) {                                                     \
    floats##N y;                                                                                                       \
    __asm__("vpermps %1, %2, %0%{%3%}%{z%}" : "=v"(y) : "m"(*(const floats##N *)w), "v"(to->from), "Yk"(to->bits));    \
    return y;                                                                                                          \
  }
#define PICK(N)                                                                                                        \
  WIDEN_BYTES(N)                                                                                                       \
  INLINE floats##N pick##N(floats##N a, floats##N b, ints##N from) {                                                   \
    __asm__("vpermi2ps %2, %1, %0" : "+v"(from) : "v"(a), "v"(b));                                                     \
    return (floats##N)from;                                                                                            \
  }
#define EXPAND_TO_8
#define EXPAND_TO_16 8, 9, 10, 11, 12, 13, 14, 15
EXPAND(8)
EXPAND(16)
PICK(8)
PICK(16)
#elif defined(__AVX2__) && defined(__BMI2__)
#define HAVE_EXPAND 1
EXPAND_VECTORS(8)
INLINE lanes8 to_lanes8(uint16_t kept) {
  typedef int8_t bytes __attribute__((vector_size(8)));
  uint64_t mask = 255 * __builtin_ia32_pdep_di(kept, 0x0101010101010101);
  lanes8 to = {.kept = __builtin_convertvector((bytes)mask, ints8)};
  to.from = __builtin_convertvector((bytes)__builtin_ia32_pdep_di(0x0706050403020100, mask), ints8);
  return to;
}
INLINE floats8 expand8(const lanes8 *to, const float *w) {
  return (floats8)((ints8)__builtin_ia32_permvarsf256(*(const floats8 *)w, to->from) & to->kept);
}
WIDEN_BYTES(8)
INLINE floats8 pick8(floats8 a, floats8 b, ints8 from) { /* the permutation looks at the lower three bits */
  return V_SELECT(from > 7, __builtin_ia32_permvarsf256(b, from), __builtin_ia32_permvarsf256(a, from));
}
#else
#define HAVE_EXPAND 0
#endif

typedef unsigned fp_mode;
INLINE fp_mode fp_flush_denormals(void) {
  unsigned old = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(old | 0x8040u);
  return old;
}
INLINE void fp_restore(fp_mode mode) { __builtin_ia32_ldmxcsr(mode); }
INLINE void cpu_relax(void) { __builtin_ia32_pause(); }
