/* Vectors of LANES floats in GNU vector extensions, and the few places where a machine needs a builtin (isa_*.h).
 * LANES is set by the target. What takes builtins is in isa_*.h: expand, pick, the mode of floating point (denormals are
 * flushed to zero while a program runs, where the machine can; the caller's mode is put back after it), cpu_relax. */
#ifndef PMAP_SIMD_H
#define PMAP_SIMD_H

#include <stdint.h>
#include <string.h>

typedef float vfloat __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t vint __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif
#define INLINE static inline __attribute__((always_inline))

INLINE vfloat v_load(const float *p) { return *(const vfloat *)p; }
INLINE void v_store(float *p, vfloat x) { *(vfloat *)p = x; }
INLINE vfloat v_splat(float x) { return x - (vfloat){0}; }
/* a where the mask, of any vector of floats, is set, else b. */
#define V_SELECT(mask, a, b)                                                                                           \
  ((__typeof__(a))(((mask) & (__typeof__(mask))(a)) | (~(mask) & (__typeof__(mask))(b))))
INLINE vfloat v_select(vint mask, vfloat a, vfloat b) { return V_SELECT(mask, a, b); }
/* The first `lanes` (4, 8 or 16) of the even, or of the odd, elements of a then b. */
#define V_PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define V_PASTE(a, b) V_PASTE_(a, b)
#define V_PASTE_(a, b) a##b
#define V_EVEN(lanes, a, b) V_PICK(a, b, V_PASTE(EVEN_, lanes))
#define V_ODD(lanes, a, b) V_PICK(a, b, V_PASTE(ODD_, lanes))
#define EVEN_4 0, 2, 4, 6
#define EVEN_8 EVEN_4, 8, 10, 12, 14
#define EVEN_16 EVEN_8, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD_4 1, 3, 5, 7
#define ODD_8 ODD_4, 9, 11, 13, 15
#define ODD_16 ODD_8, 17, 19, 21, 23, 25, 27, 29, 31
INLINE vfloat v_even(vfloat a, vfloat b) { return V_EVEN(LANES, a, b); }
/* a[0], b[0], a[1], b[1], ...: of the first half of both, and of the second. */
#define LOW_4 0, 4, 1, 5
#define HIGH_4 2, 6, 3, 7
#define LOW_8 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_8 4, 12, 5, 13, 6, 14, 7, 15
#define LOW_16 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_16 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
INLINE vfloat v_pairs_low(vfloat a, vfloat b) { return V_PICK(a, b, V_PASTE(LOW_, LANES)); }
INLINE vfloat v_pairs_high(vfloat a, vfloat b) { return V_PICK(a, b, V_PASTE(HIGH_, LANES)); }
/* Four floats of any machine, and 4 x 4 of them mirrored along the diagonal. */
typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));
INLINE void transpose_quads(quad q[4]) {
  quad a = __builtin_shufflevector(q[0], q[1], 0, 4, 1, 5), b = __builtin_shufflevector(q[0], q[1], 2, 6, 3, 7);
  quad c = __builtin_shufflevector(q[2], q[3], 0, 4, 1, 5), d = __builtin_shufflevector(q[2], q[3], 2, 6, 3, 7);
  q[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5), q[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
  q[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5), q[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}
/* The first `count` elements of a, then zeros. */
INLINE vfloat v_first(vfloat a, int count) {
  vint lane;
  UNROLL for (int i = 0; i < LANES; i++) lane[i] = i;
  return (vfloat)((lane < count - (vint){0}) & (vint)a);
}
INLINE int count_bits(unsigned x) { return __builtin_popcount(x); }
/* Bring what lies at p into the L2 cache; p may lie outside of any memory. */
INLINE void prefetch(const void *p) { __builtin_prefetch(p, 0, 2); }
/* Expand: the lanes whose bits are set in `kept` get the floats at w one after another, the others 0. N floats may be
 * read. Where the lanes come from is worked out once for all weights with the same `kept`. */
#define EXPAND_VECTORS(N)                                                                                              \
  typedef float floats##N __attribute__((vector_size(4 * N), aligned(4), may_alias));                                  \
  typedef int32_t ints##N __attribute__((vector_size(4 * N), aligned(4), may_alias));                                  \
  typedef struct { ints##N from, kept; uint16_t bits; } lanes##N;
/* Pick: of two vectors, the element that each lane asks for, 0 to 2N - 1; widen: N bytes as such numbers. */
#define WIDEN_BYTES(N)                                                                                                 \
  INLINE ints##N widen##N(const uint8_t *p) {                                                                          \
    typedef uint8_t bytes __attribute__((vector_size(N), aligned(1), may_alias));                                      \
    return __builtin_convertvector(*(const bytes *)p, ints##N);                                                        \
  }
#if defined(__x86_64__)
#include "isa_x86.h"
#elif defined(__aarch64__)
#include "isa_neon.h"
#elif defined(__wasm_simd128__)
#include "isa_wasm.h"
#else
#include "isa_any.h"
#endif
/* What a machine has no instructions for. */
#if !HAVE_EXPAND
EXPAND_VECTORS(8)
INLINE lanes8 to_lanes8(uint16_t kept) { return (lanes8){.bits = kept}; }
INLINE floats8 expand8(const lanes8 *to, const float *w) {
  floats8 y;
  for (int i = 0; i < 8; i++) y[i] = to->bits >> i & 1 ? *w++ : 0;
  return y;
}
WIDEN_BYTES(8)
INLINE floats8 pick8(floats8 a, floats8 b, ints8 from) {
  floats8 y;
  for (int i = 0; i < 8; i++) y[i] = from[i] < 8 ? a[from[i]] : b[from[i] - 8];
  return y;
}
#endif
#ifndef WEIGHT
#define WEIGHT(w, f, filters) ((w)[f]) /* of `filters` weights at w the one of filter f, for all lanes */
#endif
#ifndef LINEAR_SUMS
#define LINEAR_SUMS 4 /* that a linear kernel keeps side by side at least */
#endif
/* The larger, the smaller of a vector and a bound, and both; a NaN in y stays a NaN. */
#ifdef V_AT_LEAST
INLINE vfloat v_clamp(vfloat y, float low, float high) {
  return V_AT_MOST(V_AT_LEAST(y, v_splat(low)), v_splat(high));
}
#else
#define V_AT_LEAST(y, low) V_SELECT(low > y, low, y)
#define V_AT_MOST(y, high) V_SELECT(high < y, high, y)
INLINE vfloat v_clamp(vfloat y, float low, float high) {
  vfloat l = v_splat(low), h = v_splat(high);
  y = v_select(l > y, l, y);
  return v_select(h < y, h, y);
}
#endif
INLINE float f_clamp(float y, float low, float high) {
  y = low > y ? low : y;
  return high < y ? high : y;
}

#endif
