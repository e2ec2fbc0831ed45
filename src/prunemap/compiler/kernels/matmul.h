/* Products of two computed matrices, batched:  y[b][m][n] = sum_k x[b][m][k] * w[b][k][n],  n in the lanes. */
#ifndef PMAP_MATMUL_H
#define PMAP_MATMUL_H

#include "strided.h"

#define MATMUL_ROWS 4
#define MATMUL_VECTORS 4

typedef struct {
  space batch;
  operand out, left, right; /* their strides: of the batch axes */
  int32_t m, k, n;
  int64_t out_row, left_row, left_step, right_row; /* strides; rows of `out` and `right` are dense */
} matmul_step;

#define MATMUL_TILE(ROWS, VECTORS)                                                                                     \
  static void matmul_##ROWS##x##VECTORS(const matmul_step *s, float *y, const float *a, const float *b, int columns) { \
    vfloat acc[ROWS][VECTORS] = {{{0}}};                                                                               \
    for (int k = 0; k < s->k; k++) {                                                                                   \
      const float *row = b + k * s->right_row;                                                                         \
      vfloat w[VECTORS];                                                                                               \
      UNROLL for (int v = 0; v < VECTORS; v++) w[v] = v_load(row + v * LANES);                                         \
      UNROLL for (int r = 0; r < ROWS; r++) {                                                                          \
        float x = a[r * s->left_row + k * s->left_step];                                                               \
        UNROLL for (int v = 0; v < VECTORS; v++) acc[r][v] += w[v] * x;                                                \
      }                                                                                                                \
    }                                                                                                                  \
    UNROLL for (int r = 0; r < ROWS; r++)                                                                              \
      UNROLL for (int v = 0; v < VECTORS; v++) {                                                                       \
        int count = columns - v * LANES;                                                                               \
        if (count >= LANES) v_store(y + r * s->out_row + v * LANES, acc[r][v]);                                        \
        else v_store_some(y + r * s->out_row + v * LANES, acc[r][v], 1, count);                                        \
      }                                                                                                                \
  }
MATMUL_TILE(4, 4)
MATMUL_TILE(4, 1)
MATMUL_TILE(1, 4)
MATMUL_TILE(1, 1)

/* A share is some blocks of rows of some batches; within, columns go outermost so that a strip of `right` stays in L1. */
static void f32_matmul(const context *c, const void *step, int thread, int threads) {
  const matmul_step *s = step;
  int64_t batches = count_places(&s->batch, s->batch.axes), blocks = (s->m + MATMUL_ROWS - 1) / MATMUL_ROWS;
  range work = share_of(batches * blocks, thread, threads);
  for (int64_t w = work.begin; w < work.end;) {
    place p = place_at(&s->batch, s->batch.axes, w / blocks);
    int64_t first = w % blocks, end = work.end - w < blocks - first ? first + work.end - w : blocks;
    float *y = start_of(c, &s->out) + offset_of(&p, s->batch.axes, s->out.strides);
    const float *a = start_of(c, &s->left) + offset_of(&p, s->batch.axes, s->left.strides);
    const float *b = start_of(c, &s->right) + offset_of(&p, s->batch.axes, s->right.strides);
    for (int n = 0; n < s->n;) {
      int wide = s->n - n > (MATMUL_VECTORS - 1) * LANES;
      for (int64_t block = first; block < end; block++) {
        int row = (int)block * MATMUL_ROWS, last = row + MATMUL_ROWS <= s->m ? row + 1 : s->m;
        for (; row < last; row++) {
          float *to = y + row * s->out_row + n;
          const float *from = a + row * s->left_row;
          int all = row + MATMUL_ROWS <= s->m;
          if (all && wide) matmul_4x4(s, to, from, b + n, s->n - n);
          else if (all) matmul_4x1(s, to, from, b + n, s->n - n);
          else if (wide) matmul_1x4(s, to, from, b + n, s->n - n);
          else matmul_1x1(s, to, from, b + n, s->n - n);
        }
      }
      n += wide ? MATMUL_VECTORS * LANES : LANES;
    }
    w += end - first;
  }
}

#endif
