/* Linear layers, filters in the lanes: the step and the share of a thread; linear_tile.h and linear_masked_tile.h have
 * the kernels.
 *
 *   y[n][rows[g][f]] = clamp(bias[g][f] + sum_u weight[u][f] * x[n][index[u]]  (+ residual[n][rows[g][f]])) */
#ifndef PMAP_LINEAR_H
#define PMAP_LINEAR_H

#include "conv.h"

#define QUAD 4         /* columns that linear_masked_tile.h takes at a time: */
#define BUNDLE_SIZES 3 /* one bundle of 4, two of 2, or four of 1 */

typedef struct linear_step linear_step;
/* One row group for the items of a tile from `item` on. */
typedef void (*linear_group)(const linear_step *s, const conv_pointers *p, int group, int item);

struct linear_step {
  const tensor *in, *out, *residual;
  linear_group full, tail; /* for tiles of tile_items, and for the items left over */
  int32_t groups, tile_items;
  int64_t rows, starts, weight_starts, indices, weights, bias;
  float low, high;
};

/* The first row of a row group whose rows lie one after another in the output, so that vectors can be stored; else -1. */
INLINE int first_row(const linear_step *s, const conv_pointers *p, int group, int filters) {
  const int32_t *rows = p->rows + group * filters;
  int differ = s->out->plane != 1 || (p->residual && s->residual->plane != 1);
  for (int f = 0; f < filters; f++) differ |= rows[f] - f - rows[0];
  return differ ? -1 : rows[0];
}

/* Store the sums of one item row by row. */
INLINE void linear_store(const linear_step *s, const conv_pointers *p, int group, int item, const float *sums,
                         int filters) {
  float *out = p->out + item * s->out->image;
  const float *residual = p->residual ? p->residual + item * s->residual->image : 0, *bias = p->bias + group * filters;
  const int32_t *rows = p->rows + group * filters;
  for (int f = 0; f < filters; f++) {
    int row = rows[f];
    if (row < 0) continue;
    float y = sums[f] + bias[f];
    if (residual) y += residual[(int64_t)row * s->residual->plane];
    out[(int64_t)row * s->out->plane] = f_clamp(y, s->low, s->high);
  }
}

/* A thread's share of the rows of some items; the pointers of p that depend on the items are set. */
INLINE void linear_share(const context *c, const linear_step *s, conv_pointers p, range items, int thread, int threads) {
  p.rows = in_blob(c, s->rows), p.starts = in_blob(c, s->starts), p.weight_starts = in_blob(c, s->weight_starts);
  p.indices = in_blob(c, s->indices), p.weights = in_blob(c, s->weights), p.bias = in_blob(c, s->bias);
  range groups = groups_of(p.weight_starts ? p.weight_starts : p.starts, s->groups, thread, threads);
  for (int g = groups.begin; g < groups.end; g++) {
    int n = items.begin;
    for (; n + s->tile_items <= items.end; n += s->tile_items) s->full(s, &p, g, n);
    if (n < items.end) s->tail(s, &p, g, n);
  }
}

static void f32_linear(const context *c, const void *step, int thread, int threads) {
  const linear_step *s = step;
  zero_around_all_rows(c, s->out, thread, threads);
  conv_pointers p = {.in = row_of(c, s->in, 0, 0, 0), .out = row_of(c, s->out, 0, 0, 0),
                     .residual = s->residual ? row_of(c, s->residual, 0, 0, 0) : 0};
  linear_share(c, s, p, c->images, thread, threads);
}

#endif
