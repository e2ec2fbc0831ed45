/* Copies where neighbours in memory change: blocks of 4 x 4, transposed in registers, a cache line of the result at a
 * time; two rows that become pairs, in whole vectors. The last two axes of the space: A, along which `in` is dense, and
 * B, along which `out` is. */
#ifndef PMAP_TRANSPOSE_H
#define PMAP_TRANSPOSE_H

#include "strided.h"

#define BLOCK 16

typedef struct {
  space space;
  operand out, in;
} transpose_step;

/* 4 rows along A x up to BLOCK columns along B. */
INLINE void transpose_strip(const float *in, int64_t in_row, float *out, int64_t out_row, int columns) {
  for (int j = 0; j + 4 <= columns; j += 4) {
    quad q[4];
    UNROLL for (int k = 0; k < 4; k++) q[k] = *(const quad *)(in + (j + k) * in_row);
    transpose_quads(q);
    UNROLL for (int k = 0; k < 4; k++) *(quad *)(out + k * out_row + j) = q[k];
  }
}

/* x[0], y[0], x[1], y[1], ... */
INLINE void pair_rows(const float *x, const float *y, float *out, int n) {
  int i = 0;
  for (; i + LANES <= n; i += LANES) {
    vfloat a = v_load(x + i), b = v_load(y + i);
    v_store(out + 2 * i, v_pairs_low(a, b));
    v_store(out + 2 * i + LANES, v_pairs_high(a, b));
  }
  for (; i < n; i++) out[2 * i] = x[i], out[2 * i + 1] = y[i];
}

static void f32_transpose(const context *c, const void *step, int thread, int threads) {
  const transpose_step *s = step;
  int outer = s->space.axes - 2, a = s->space.sizes[outer], b = s->space.sizes[outer + 1];
  int64_t in_row = s->in.strides[outer + 1], out_row = s->out.strides[outer];
  int whole_a = a / 4 * 4, blocks = (b + BLOCK - 1) / BLOCK;
  range work = share_of(count_places(&s->space, outer) * blocks, thread, threads);
  for (int64_t w = work.begin; w < work.end; w++) {
    place p = place_at(&s->space, outer, w / blocks);
    int first = (int)(w % blocks) * BLOCK, columns = b - first < BLOCK ? b - first : BLOCK, whole = columns / 4 * 4;
    const float *in = start_of(c, &s->in) + offset_of(&p, outer, s->in.strides) + first * in_row;
    float *out = start_of(c, &s->out) + offset_of(&p, outer, s->out.strides) + first;
    if (b == 2 && out_row == 2) {
      pair_rows(in, in + in_row, out, a);
      continue;
    }
    for (int i = 0; i < whole_a; i += 4) transpose_strip(in + i, in_row, out + i * out_row, out_row, columns);
    for (int i = 0; i < a; i++)
      for (int j = i < whole_a ? whole : 0; j < columns; j++) out[i * out_row + j] = in[j * in_row + i];
  }
}

#endif
