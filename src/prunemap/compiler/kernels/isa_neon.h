/* What simd.h needs of ARMv8-A: a table look-up of bytes is expand and pick, a weight is a lane of a register. */
#define HAVE_EXPAND 1
#include <arm_neon.h>

/* Four weights are one load, and FMLA takes any lane of it. */
#define WEIGHT(w, f, filters) ((filters) % 4 ? (w)[f] : (*(const quad *)((w) + ((f) & ~3)))[(f) & 3])

#define LINEAR_SUMS 8 /* two multiply-adds per cycle, four cycles each */
#if defined(__has_builtin)
#if __has_builtin(__builtin_elementwise_maximum)
#define V_AT_LEAST(y, low) __builtin_elementwise_maximum(y, low) /* FMAX: one instruction instead of two */
#define V_AT_MOST(y, high) __builtin_elementwise_minimum(y, high)
#endif
#endif

EXPAND_VECTORS(8)
/* The bytes that make up each float of a vector, from the float's number; numbers past the table give zeros. */
INLINE uint8x16_t neon_bytes(int32x4_t number) {
  return vreinterpretq_u8_s32(vmlaq_n_s32(vdupq_n_s32(0x03020100), number, 0x04040404));
}
INLINE lanes8 to_lanes8(uint16_t kept) {
  /* A byte per lane: 1 where it is kept; times 0x01..01 they add up to how many are kept so far. */
  uint64_t set = (kept * 0x0101010101010101u) & 0x8040201008040201u;
  uint8x8_t one = vtst_u8(vcreate_u8(set), vcreate_u8(set));
  uint64_t before = (vget_lane_u64(vreinterpret_u64_u8(vshr_n_u8(one, 7)), 0) * 0x0101010101010101u) << 8;
  int16x8_t number = vmovl_s8(vreinterpret_s8_u8(vorr_u8(vcreate_u8(before), vmvn_u8(one)))); /* -1: not kept */
  lanes8 to = {0};
  uint8x16_t low = neon_bytes(vmovl_s16(vget_low_s16(number))), high = neon_bytes(vmovl_s16(vget_high_s16(number)));
  memcpy(&to.from, &low, sizeof low);
  memcpy((char *)&to.from + sizeof low, &high, sizeof high);
  return to;
}
INLINE floats8 expand8(const lanes8 *to, const float *w) {
  uint8x16x2_t from, weights = {{vld1q_u8((const uint8_t *)w), vld1q_u8((const uint8_t *)(w + 4))}};
  memcpy(&from, &to->from, sizeof from);
  uint8x16_t y[2] = {vqtbl1q_u8(weights.val[0], from.val[0]), vqtbl2q_u8(weights, from.val[1])};
  floats8 expanded;
  memcpy(&expanded, y, sizeof y);
  return expanded;
}
WIDEN_BYTES(8)
INLINE floats8 pick8(floats8 a, floats8 b, ints8 from) {
  uint8x16x4_t table;
  int32x4_t numbers[2];
  memcpy(table.val, &a, sizeof a);
  memcpy(table.val + 2, &b, sizeof b);
  memcpy(numbers, &from, sizeof from);
  uint8x16_t y[2] = {vqtbl4q_u8(table, neon_bytes(numbers[0])), vqtbl4q_u8(table, neon_bytes(numbers[1]))};
  floats8 picked;
  memcpy(&picked, y, sizeof y);
  return picked;
}

typedef uint64_t fp_mode;
INLINE fp_mode fp_flush_denormals(void) {
  uint64_t old;
  __asm__ volatile("mrs %0, fpcr" : "=r"(old));
  __asm__ volatile("msr fpcr, %0" : : "r"(old | 1u << 24));
  return old;
}
INLINE void fp_restore(fp_mode mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
INLINE void cpu_relax(void) { __asm__ volatile("yield"); }
