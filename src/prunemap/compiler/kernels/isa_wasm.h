/* What simd.h needs of WebAssembly with vectors: swizzles of bytes are expand and pick. Denormals cannot be flushed. */
#define HAVE_EXPAND 1
#include <wasm_simd128.h>

EXPAND_VECTORS(8)
/* The bytes that make up each float of a vector, from the float's number; numbers past the vector give zeros. */
INLINE v128_t wasm_bytes(v128_t number) {
  return wasm_i32x4_add(wasm_i32x4_mul(number, wasm_i32x4_const_splat(0x04040404)), wasm_i32x4_const_splat(0x03020100));
}
/* Floats of the two vectors at w, by the bytes that make them up. */
INLINE v128_t wasm_pick(v128_t low, v128_t high, v128_t from) {
  v128_t behind = wasm_i8x16_sub(from, wasm_i8x16_const_splat(16)); /* wraps around to past the vector */
  return wasm_v128_or(wasm_i8x16_swizzle(low, from), wasm_i8x16_swizzle(high, behind));
}
INLINE lanes8 to_lanes8(uint16_t kept) {
  uint64_t ones = (kept * 0x0101010101010101u) & 0x8040201008040201u;
  v128_t one = wasm_i8x16_ne(wasm_i64x2_make((int64_t)ones, 0), wasm_i64x2_const_splat(0));
  uint64_t flags = (uint64_t)wasm_i64x2_extract_lane(one, 0) & 0x0101010101010101u;
  int64_t before = (int64_t)((flags * 0x0101010101010101u) << 8); /* how many are kept before each */
  v128_t number = wasm_i16x8_extend_low_i8x16(wasm_v128_or(wasm_i64x2_make(before, 0), wasm_v128_not(one)));
  v128_t from[2] = {wasm_bytes(wasm_i32x4_extend_low_i16x8(number)), wasm_bytes(wasm_i32x4_extend_high_i16x8(number))};
  lanes8 to = {0};
  memcpy(&to.from, from, sizeof from);
  return to;
}
INLINE floats8 expand8(const lanes8 *to, const float *w) {
  v128_t from[2], low = wasm_v128_load(w);
  memcpy(from, &to->from, sizeof from);
  v128_t y[2] = {wasm_i8x16_swizzle(low, from[0]), wasm_pick(low, wasm_v128_load(w + 4), from[1])};
  floats8 expanded;
  memcpy(&expanded, y, sizeof y);
  return expanded;
}
WIDEN_BYTES(8)
INLINE floats8 pick8(floats8 a, floats8 b, ints8 from) {
  v128_t x[4], numbers[2], y[2];
  memcpy(x, &a, sizeof a);
  memcpy(x + 2, &b, sizeof b);
  memcpy(numbers, &from, sizeof from);
  for (int i = 0; i < 2; i++) {
    v128_t bytes = wasm_bytes(numbers[i]), behind = wasm_i8x16_sub(bytes, wasm_i8x16_const_splat(32));
    y[i] = wasm_v128_or(wasm_pick(x[0], x[1], bytes), wasm_pick(x[2], x[3], behind));
  }
  floats8 picked;
  memcpy(&picked, y, sizeof y);
  return picked;
}

typedef unsigned fp_mode;
INLINE fp_mode fp_flush_denormals(void) { return 0; }
INLINE void fp_restore(fp_mode mode) { (void)mode; }
INLINE void cpu_relax(void) {}
